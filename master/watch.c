/*
 * watch.c: tables and certificates that have changed need new processes, as those
 * that run have read theirs and can open no file any more.
 *
 * Looked at by stat(2) and not by inotify(7): links to links, replaced directories and
 * network file systems are all the same to it, and two dozen calls every few seconds
 * are nothing. A change counts when the next look finds the same, so that a certificate
 * and its key, or a file that is being written, are taken when complete; what was only
 * written again with the same text (resolv.conf, by DHCP) is none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/files.h"
#include "master/master.h"

enum { TEXT_MAX = 16 * 1024 * 1024 }; /* larger files count as changed when they are touched */

/* Of a database only the identity: its text changes in place. */
struct look {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
    uint64_t text; /* a hash; 0: not read */
    bool exists;
};

struct watched {
    struct look known; /* by the processes of this generation */
    struct look last;
    struct look now;
};

struct watcher {
    struct task *task;
    struct conf_files files;
    struct watched *states; /* one for each file */
    int64_t interval_ms;
};

static struct watcher *present;

static bool is_untouched(const struct look *a, const struct look *b)
{
    return a->exists == b->exists && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool is_same(const struct look *a, const struct look *b)
{
    return is_untouched(a, b) || (a->exists && b->exists && a->text != 0 && a->text == b->text);
}

static uint64_t hash_text(const struct conf_file *file)
{
    struct str text = {0};
    uint64_t hash = file_read(file->path, &text, TEXT_MAX) == 0 ? span_hash(str_span(&text)) : 0;

    str_fini(&text);
    return hash;
}

static void look_at(const struct conf_file *file, struct look *look)
{
    struct look before = *look;
    struct stat st;

    memset(look, 0, sizeof(*look));
    if (stat(file->path, &st) < 0)
        return;
    look->exists = true;
    look->device = st.st_dev;
    look->inode = st.st_ino;
    if (file->is_database)
        return;
    look->size = st.st_size;
    look->changed = st.st_mtim;
    if (!file->is_secret)
        look->text = is_untouched(look, &before) ? before.text : hash_text(file);
}

static void look_at_all(void *arg)
{
    struct watcher *w = arg;

    for (size_t i = 0; i < w->files.list.len; i++) {
        w->states[i].last = w->states[i].now;
        look_at(&w->files.list.items[i], &w->states[i].now);
    }
}

/* What has changed and is at rest; NULL when nothing has, or more is to come. A file
 * that is missing is not news: the processes go on with what they have read. */
static const char *find_change(const struct watcher *w)
{
    const char *path = NULL;

    for (size_t i = 0; i < w->files.list.len; i++) {
        const struct watched *state = &w->states[i];

        if (!is_untouched(&state->now, &state->last))
            return NULL;
        if (state->now.exists && !is_same(&state->now, &state->known))
            path = w->files.list.items[i].path;
    }
    return path;
}

static void free_watcher(struct watcher *w)
{
    if (present == w)
        present = NULL;
    conf_files_fini(&w->files);
    free(w->states);
    free(w);
}

static void watch(void *arg)
{
    struct watcher *w = arg;
    const char *path;

    while (task_sleep(deadline_in(w->interval_ms)) == 0) {
        if (task_offload(TASK_POOL_STORE, look_at_all, w) < 0 || present != w)
            continue;
        path = find_change(w);
        if (path == NULL)
            continue;
        log_info("%s has changed: reload", path);
        /* Once, also when the reload is refused. */
        for (size_t i = 0; i < w->files.list.len; i++)
            w->states[i].known = w->states[i].now;
        master_reload();
    }
    free_watcher(w);
}

static int begin(struct watcher *w)
{
    int code = conf_files_find(master.conf, master.master_cf, &w->files);

    if (code < 0)
        return code;
    w->interval_ms = conf_ms(master.conf, "file_check_interval");
    w->states = mem_new((w->files.list.len + 1) * sizeof(*w->states));
    if (w->states == NULL)
        return -ENOMEM;
    look_at_all(w);
    for (size_t i = 0; i < w->files.list.len; i++)
        w->states[i].known = w->states[i].now;
    w->task = task_spawn("watch", watch, w);
    return w->task != NULL ? 0 : -ENOMEM;
}

void watch_files(void)
{
    struct watcher *w;

    if (present != NULL)
        task_cancel(present->task);
    present = NULL;
    if (conf_seconds(master.conf, "file_check_interval") == 0)
        return;
    w = NEW(struct watcher);
    if (w == NULL || begin(w) < 0) {
        log_error("out of memory: changed tables and certificates are not noticed until the "
                  "next reload");
        if (w != NULL)
            free_watcher(w);
        return;
    }
    present = w;
}
