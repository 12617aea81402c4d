#include "local/mailbox_child.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

enum { WORDS_MAX = 4096, PIECE_OCTETS = 65536 };

struct run {
    const struct mailbox_child *child;
    struct str *why;
    int rc;
};

static int write_message(const struct mailbox_child *child, int fd)
{
    struct str piece = {0};
    uint64_t size = queue_content_size(child->content);
    int rc = fd_write_all(fd, child->prefix.p, child->prefix.n);

    for (uint64_t at = 0; rc == 0 && at < size; at += PIECE_OCTETS) {
        uint64_t n = size - at < PIECE_OCTETS ? size - at : PIECE_OCTETS;
        str_clear(&piece);
        rc = queue_content_copy(child->content, at, n, &piece);
        if (rc >= 0)
            rc = fd_write_all(fd, piece.data, piece.len);
    }
    str_fini(&piece);
    return rc;
}

static int spawn(const struct mailbox_child *child, int message, int words, pid_t *pid)
{
    static char path[] = "PATH=/usr/bin:/bin", locale[] = "LC_ALL=C";
    char *const environment[] = {path, locale, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int rc;

    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, message, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, words, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_setsigmask(&attributes, &none); /* worker threads block all */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    rc = posix_spawn(pid, child->program, &actions, &attributes, child->arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return -rc;
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : DEPOSIT_TRY_AGAIN;
}

static void run(void *arg)
{
    struct run *r = arg;
    int message = memfd_create("message", MFD_CLOEXEC), words[2] = {-1, -1};
    pid_t pid;

    r->rc = message < 0 ? -errno : write_message(r->child, message);
    if (r->rc == 0 && pipe2(words, O_CLOEXEC) < 0)
        r->rc = -errno;
    if (r->rc == 0)
        r->rc = spawn(r->child, message, words[1], &pid);
    fd_close(&words[1]);
    if (r->rc == 0) {
        (void)fd_read_file(words[0], r->why, WORDS_MAX);
        r->rc = wait_for(pid);
    }
    fd_close(&words[0]);
    fd_close(&message);
}

int mailbox_child_run(const struct mailbox_child *child, struct str *why)
{
    struct run r = {.child = child, .why = why};
    int rc = task_offload(TASK_POOL_SYNC, run, &r);

    return rc < 0 ? rc : r.rc;
}
