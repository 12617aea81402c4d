/*
 * handover.c: a newer master takes over without a connection being refused.
 *
 * The running master writes what it holds (listeners, children, lock) into a
 * memory file, makes the descriptors inheritable and execs the new binary under
 * the same pid, so that children stay children. The new one adopts the
 * listeners by their keys, and the children as those of an earlier generation.
 * One line per thing:
 *
 *     waypost-handover 1
 *     lock FD
 *     control FD
 *     listener FD KEY LABEL
 *     child PID CONTROL_FD STATS_FD STATE KIND NAME TYPE PROGRAM
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master.h"

enum { STATE_MAX = 1024 * 1024 };

#define HEADER "waypost-handover 1"

static char executable[4096];
static struct stat running;

void handover_remember(void)
{
    ssize_t n = readlink("/proc/self/exe", executable, sizeof(executable) - 1);

    executable[n > 0 ? n : 0] = '\0';
    if (stat("/proc/self/exe", &running) < 0)
        executable[0] = '\0';
}

bool handover_is_due(void)
{
    struct stat now;

    if (executable[0] == '\0' || stat(executable, &now) < 0)
        return false;
    return now.st_ino != running.st_ino || now.st_dev != running.st_dev ||
           now.st_mtim.tv_sec != running.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != running.st_mtim.tv_nsec;
}

/* --- the old side --- */

static void put_child(struct str *out, const struct child *child, int inheritable)
{
    fd_set_cloexec(child->control_fd, !inheritable);
    fd_set_cloexec(child->stats_fd, !inheritable);
    str_printf(out, "child %ld %d %d %d %d %s %s %s\n", (long)child->pid, child->control_fd,
               child->stats_fd, (int)child->state, (int)child->kind, child->name, child->type,
               child->program);
}

static void put_state(struct str *out, bool inheritable)
{
    str_printf(out, HEADER "\nlock %d\ncontrol %d\n", master.lock_fd, master.control_fd);
    fd_set_cloexec(master.lock_fd, !inheritable);
    fd_set_cloexec(master.control_fd, !inheritable);
    LIST_FOR(item, &master.listeners)
    {
        const struct listener *l = LIST_ITEM(item, struct listener, link);

        fd_set_cloexec(l->fd, !inheritable);
        str_printf(out, "listener %d %s %s\n", l->fd, l->key, l->label);
    }
    LIST_FOR(item, &master.retired)
    put_child(out, LIST_ITEM(item, struct child, link), inheritable);
    LIST_FOR(item, &master.entries)
    {
        struct service_entry *entry = LIST_ITEM(item, struct service_entry, link);

        LIST_FOR(at, &entry->children)
        put_child(out, LIST_ITEM(at, struct child, link), inheritable);
    }
}

int handover_exec(struct str *why)
{
    struct str state = {0};
    char number[16];
    int fd = memfd_create("waypost-handover", 0), code = fd < 0 ? -errno : 0;

    put_state(&state, true);
    if (code == 0)
        code = str_error(&state);
    if (code == 0)
        code = fd_pwrite_all(fd, state.data, state.len, 0);
    if (code == 0) {
        snprintf(number, sizeof(number), "%d", fd);
        execl(executable, "master", "-c", master.config_directory, "-R", number, (char *)NULL);
        code = -errno;
    }
    str_clear(&state);
    put_state(&state, false);
    str_printf(why, "cannot start %s: %s", executable, error_text(code));
    str_fini(&state);
    fd_close(&fd);
    return code;
}

/* --- the new side --- */

static int take_number(struct span *line, int64_t *value)
{
    struct span word;

    return span_next(line, ' ', &word) ? span_to_i64(word, value) : ERR_SYNTAX;
}

static char *take_word(struct span *line)
{
    struct span word;

    return span_next(line, ' ', &word) ? mem_strdup(word) : NULL;
}

static int adopt_fd(int64_t number, int *fd)
{
    if (number < 3 || number > INT32_MAX)
        return ERR_SYNTAX;
    *fd = (int)number;
    return fd_set_cloexec(*fd, 1);
}

static int adopt_listener(struct span line)
{
    int64_t number;
    int fd = -1, code = take_number(&line, &number);
    char *key, *label;

    if (code == 0)
        code = adopt_fd(number, &fd);
    if (code < 0)
        return code;
    key = take_word(&line);
    label = take_word(&line);
    if (key != NULL && label != NULL)
        listener_adopt(key, label, fd);
    else
        code = ERR_SYNTAX;
    free(key);
    free(label);
    return code;
}

static int adopt_child(struct span line)
{
    struct child *child = NEW_OR_DIE(struct child);
    int64_t n[5];
    int code = 0;

    for (size_t i = 0; i < COUNT_OF(n) && code == 0; i++)
        code = take_number(&line, &n[i]);
    if (code == 0)
        code = adopt_fd(n[1], &child->control_fd);
    if (code == 0)
        code = adopt_fd(n[2], &child->stats_fd);
    child->page = code == 0 ? stats_map_readonly(child->stats_fd) : NULL;
    child->name = take_word(&line);
    child->type = take_word(&line);
    child->program = take_word(&line);
    if (child->page == NULL || child->program == NULL) {
        free(child->name);
        free(child->type);
        free(child);
        return ERR_SYNTAX;
    }
    child->pid = (pid_t)n[0];
    child->state = n[3] == CHILD_DRAINING ? CHILD_DRAINING : CHILD_READY;
    child->kind = (enum service_kind)n[4];
    child->started_ms = clock_mono_ms();
    task_cond_init(&child->reaped);
    list_init(&child->link);
    list_append(&master.retired, &child->link);
    master.child_count++;
    return 0;
}

static int adopt_line(struct span line)
{
    struct span word;
    int64_t number;

    if (!span_next(&line, ' ', &word))
        return 0;
    if (span_eq(word, SPAN_LIT("listener")))
        return adopt_listener(line);
    if (span_eq(word, SPAN_LIT("child")))
        return adopt_child(line);
    if (span_eq(word, SPAN_LIT("lock")))
        return take_number(&line, &number) < 0 ? ERR_SYNTAX : adopt_fd(number, &master.lock_fd);
    if (span_eq(word, SPAN_LIT("control")))
        return take_number(&line, &number) < 0 ? ERR_SYNTAX : adopt_fd(number, &master.control_fd);
    return ERR_SYNTAX;
}

int handover_adopt(int fd, struct str *why)
{
    struct str text = {0};
    struct span rest, line;
    int code = lseek(fd, 0, SEEK_SET) < 0 ? -errno : fd_read_file(fd, &text, STATE_MAX);

    rest = str_span(&text);
    if (code == 0 && (!span_next(&rest, '\n', &line) || !span_eq(line, SPAN_LIT(HEADER))))
        code = ERR_VERSION;
    while (code == 0 && span_next(&rest, '\n', &line)) {
        if (line.n > 0)
            code = adopt_line(line);
    }
    if (code < 0)
        str_printf(why, "taking over from the running master: %s", error_text(code));
    str_fini(&text);
    close(fd);
    return code;
}
