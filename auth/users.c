#include "auth/users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/service.h"

enum {
    CHECK_INTERVAL_MS = 250,
    FILE_MAX = 1 << 28,
};

struct stamp {
    int64_t changed_s;
    long changed_ns;
    off_t size;
    ino_t inode;
};

struct users {
    char *path;       /* for messages */
    const char *name; /* below directory */
    int directory;
    struct stamp stamp;
    int64_t checked_ms;
    bool is_reading;
    struct passwd_table *table;
};

/* A reading of the file on a worker. */
struct reading {
    struct users *users;
    struct stamp stamp;
    struct passwd_table *table; /* NULL: unchanged or failed */
    struct str problems;
    int rc;
};

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){st->st_mtim.tv_sec, st->st_mtim.tv_nsec, st->st_size, st->st_ino};
}

static bool is_same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->changed_s == b->changed_s && a->changed_ns == b->changed_ns && a->size == b->size &&
           a->inode == b->inode;
}

static void read_if_changed(void *arg)
{
    struct reading *r = arg;
    struct str text = {0};
    struct stat st;
    int fd = openat(r->users->directory, r->users->name, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        r->rc = -errno;
        fd_close(&fd);
        return;
    }
    r->stamp = stamp_of(&st);
    if (r->users->table == NULL || !is_same_stamp(&r->stamp, &r->users->stamp)) {
        r->rc = fd_read_file(fd, &text, FILE_MAX);
        if (r->rc == 0)
            r->table = passwd_table_parse(str_span(&text), &r->problems);
        if (r->rc == 0 && r->table == NULL)
            r->rc = -ENOMEM;
        str_fini_secret(&text);
    }
    fd_close(&fd);
}

static void log_problems(const struct users *u, struct str *problems)
{
    struct span rest = str_span(problems), line;

    for (int shown = 0; shown < 20 && span_token(&rest, "\n", &line); shown++)
        log_warn("%s: %.*s; skipped", u->path, SPAN_ARG(line));
    str_fini(problems);
}

static void take_table(struct users *u, struct reading *r)
{
    u->stamp = r->stamp;
    passwd_table_unref(u->table);
    u->table = r->table;
    log_problems(u, &r->problems);
}

int users_open(struct users **out, const char *path, struct str *why)
{
    struct users *u = NEW_OR_DIE(struct users);
    struct reading r = {.users = u};
    const char *slash = strrchr(path, '/');
    char *folder;

    u->directory = -1;
    u->path = mem_strdup_or_die(span_cstr(path));
    u->name = slash != NULL ? strrchr(u->path, '/') + 1 : u->path;
    *out = u;
    if (path[0] == '\0') {
        u->table = passwd_table_parse(SPAN_NONE, &r.problems);
        return u->table != NULL ? 0 : -ENOMEM;
    }
    folder = slash != NULL ? mem_strdup_or_die(span_make(path, (size_t)(slash - path) + 1))
                           : mem_strdup_or_die(SPAN_LIT("."));
    u->directory = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (u->directory < 0) {
        r.rc = -errno;
    } else {
        service_allow_reading(u->directory);
        read_if_changed(&r);
    }
    if (r.rc < 0) {
        str_printf(why, "auth_passwd_file = %s: %s", path, error_text(r.rc));
        return r.rc;
    }
    take_table(u, &r);
    return 0;
}

struct passwd_table *users_table(struct users *u)
{
    int64_t now = clock_mono_ms();

    if (u->directory >= 0 && !u->is_reading && now - u->checked_ms >= CHECK_INTERVAL_MS) {
        struct reading r = {.users = u};
        u->checked_ms = now;
        u->is_reading = true;
        if (task_offload(TASK_POOL_STORE, read_if_changed, &r) == 0) {
            if (r.table != NULL)
                take_table(u, &r);
            else if (r.rc < 0)
                log_error("%s: %s; the users read before stay in force", u->path, error_text(r.rc));
        }
        u->is_reading = false;
    }
    return passwd_table_ref(u->table);
}
