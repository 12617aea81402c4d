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
    pid_t pid;
    int words; /* what the child says */
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

static void run_start(void *arg)
{
    struct run *r = arg;
    int message = memfd_create("message", MFD_CLOEXEC), words[2] = {-1, -1};

    r->rc = message < 0 ? -errno : write_message(r->child, message);
    if (r->rc == 0 && pipe2(words, O_CLOEXEC) < 0)
        r->rc = -errno;
    if (r->rc == 0)
        r->rc = spawn(r->child, message, words[1], &r->pid);
    if (r->rc < 0)
        fd_close(&words[0]);
    r->words = words[0];
    fd_close(&words[1]);
    fd_close(&message);
}

/* The child's words, until it ended. */
static int read_words(struct run *r)
{
    struct task_fd watched;
    char piece[512];
    ssize_t n;
    int rc = fcntl(r->words, F_SETFL, O_NONBLOCK) < 0 ? -errno : task_fd_init(&watched, r->words);

    if (rc < 0)
        return rc;
    while ((n = read(r->words, piece, sizeof(piece))) != 0) {
        if (n > 0 && r->why->len < WORDS_MAX)
            str_append(r->why, span_make(piece, (size_t)n));
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
        if (n < 0 && task_fd_wait(&watched, TASK_READABLE, DEADLINE_NONE) < 0)
            break;
    }
    task_fd_fini(&watched);
    return 0;
}

static void run_wait(void *arg)
{
    struct run *r = arg;
    int status, rc;

    while ((rc = waitpid(r->pid, &status, 0)) < 0 && errno == EINTR)
        ;
    r->rc = rc < 0 ? -errno : WIFEXITED(status) ? WEXITSTATUS(status) : DEPOSIT_TRY_AGAIN;
}

int mailbox_child_run(const struct mailbox_child *child, struct str *why)
{
    struct run r = {.child = child, .why = why, .words = -1};
    /* A child that writes is waited for whatever happens, and it may wait for a lock: not
     * on a thread, of which there are few. */
    bool shield = task_shield(true);
    int rc = task_offload(TASK_POOL_SYNC, run_start, &r);

    if (rc == 0)
        rc = r.rc;
    if (rc == 0) {
        (void)read_words(&r);
        rc = task_offload(TASK_POOL_SYNC, run_wait, &r);
        fd_close(&r.words);
    }
    task_shield(shield);
    return rc < 0 ? rc : r.rc;
}
