/* unix.c: unix:passwd.byname and unix:group.byname, the system's own users and
 * groups. The values are lines of passwd(5) and group(5). */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "map/type.h"

enum { BUFFER_FIRST = 4096, BUFFER_MAX = 1 << 20 };

/* One look-up, on a worker: owns its data. */
struct lookup {
    const char *name;
    struct str *value;
    char *buffer;
    size_t size;
    int error; /* an errno; 0 with nothing in value: not found */
};

static void find_user(struct lookup *l)
{
    struct passwd entry, *found = NULL;

    l->error = getpwnam_r(l->name, &entry, l->buffer, l->size, &found);
    if (l->error == 0 && found != NULL)
        str_printf(l->value, "%s:%s:%lu:%lu:%s:%s:%s", entry.pw_name, entry.pw_passwd,
                   (unsigned long)entry.pw_uid, (unsigned long)entry.pw_gid, entry.pw_gecos,
                   entry.pw_dir, entry.pw_shell);
}

static void find_group(struct lookup *l)
{
    struct group entry, *found = NULL;

    l->error = getgrnam_r(l->name, &entry, l->buffer, l->size, &found);
    if (l->error != 0 || found == NULL)
        return;
    str_printf(l->value, "%s:%s:%lu:", entry.gr_name, entry.gr_passwd, (unsigned long)entry.gr_gid);
    for (char **member = entry.gr_mem; *member != NULL; member++)
        str_printf(l->value, "%s%s", member == entry.gr_mem ? "" : ",", *member);
}

struct job {
    void (*find)(struct lookup *l);
    struct str name, value;
    int error;
};

static void run_job(void *arg)
{
    struct job *j = arg;
    struct lookup l = {.name = str_cstr(&j->name), .value = &j->value};

    for (l.size = BUFFER_FIRST; l.size <= BUFFER_MAX; l.size *= 4) {
        l.buffer = malloc(l.size);
        l.error = ENOMEM;
        if (l.buffer != NULL)
            j->find(&l);
        free(l.buffer);
        if (l.error != ERANGE)
            break;
    }
    /* Some sources answer "no such name" with one of these. */
    if (l.error == ENOENT || l.error == ESRCH)
        l.error = 0;
    j->error = -l.error;
}

static int unix_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    static void (*const finds[])(struct lookup *) = {find_user, find_group};
    size_t which = span_eq(name, SPAN_LIT("passwd.byname")) ? 0 : 1;

    if (which == 1 && !span_eq(name, SPAN_LIT("group.byname"))) {
        str_printf(why, "table %s: need unix:passwd.byname or unix:group.byname", m->spec);
        return ERR_SYNTAX;
    }
    m->data = (void *)&finds[which];
    return 0;
}

static int unix_lookup(const struct map *m, struct span key, struct str *value)
{
    struct job j = {.find = *(void (*const *)(struct lookup *))m->data};
    int error = str_append(&j.name, key);

    if (error == 0)
        error = map_run_blocking(run_job, &j);
    if (error == 0)
        error = j.error;
    if (error < 0 && error != -ECANCELED)
        log_warn("table %s: lookup error: %s", m->spec, error_text(error));
    else if (error == 0)
        error = j.value.len == 0 ? ERR_NOT_FOUND : str_append(value, str_span(&j.value));
    str_fini(&j.name);
    str_fini(&j.value);
    return error;
}

const struct map_type map_type_unix = {"unix", false, true, unix_open, unix_lookup, NULL};
