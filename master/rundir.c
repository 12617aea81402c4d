/* rundir.c: the directories at run time, and the lock that says "one master". */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master.h"
#include "service/privileges.h"

/* One directory: a parameter, a name below it, and to whom it belongs. */
static const struct directory {
    const char *base, *name;
    mode_t mode;
    const char *user_parameter;  /* NULL: root */
    const char *group_parameter; /* NULL: the user's group */
} directories[] = {
    {"queue_directory", "", 0755, NULL, NULL},
    {"queue_directory", "/run", 0711, NULL, "waypost_user"},
    {"queue_directory", "/pid", 0755, NULL, NULL},
    {"queue_directory", "/queue", 0700, "waypost_queue_user", NULL},
    {"queue_directory", "/maildrop", 01730, "waypost_queue_user", "setgid_group"},
    {"data_directory", "", 0750, "mail_owner", NULL},
    {"store_directory", "", 0700, "waypost_store_user", NULL},
};

static int make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        int made;

        *slash = '\0';
        made = mkdir(path, 0755);
        *slash = '/';
        if (made < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

static int find_owner(const struct directory *d, const struct conf *conf, uid_t *uid, gid_t *gid,
                      struct str *why)
{
    struct identity identity;
    const struct group *group;
    int code;

    *uid = 0;
    *gid = 0;
    if (d->user_parameter != NULL) {
        code = identity_find(&identity, conf_string(conf, d->user_parameter), "", why);
        if (code < 0)
            return code;
        *uid = identity.uid;
        *gid = identity.gid;
    }
    if (d->group_parameter == NULL)
        return 0;
    group = getgrnam(conf_string(conf, d->group_parameter));
    if (group == NULL) {
        str_printf(why,
                   "group %s does not exist: install the suite's users with "
                   "systemd-sysusers conf/waypost.sysusers (or tools/install-users)",
                   conf_string(conf, d->group_parameter));
        return ERR_NOT_FOUND;
    }
    *gid = group->gr_gid;
    return 0;
}

/* Owner and mode are set when the directory is made, and for the suite's own
 * directories below the queue directory always: their owners are the wall. */
static int make_directory(const struct directory *d, const struct conf *conf, struct str *why)
{
    struct str path = {0};
    bool is_new = false;
    uid_t uid;
    gid_t gid;
    int code = 0;

    str_printf(&path, "%s%s", conf_string(conf, d->base), d->name);
    if (str_error(&path) < 0 || path.len < 2) {
        code = -EINVAL;
        goto out;
    }
    code = make_parents(path.data);
    if (code < 0)
        goto out;
    if (mkdir(path.data, 0700) == 0)
        is_new = true;
    else if (errno != EEXIST)
        code = -errno;
    if (code < 0 || (!is_new && (!master.is_root || d->name[0] == '\0')))
        goto out;
    if (master.is_root) {
        code = find_owner(d, conf, &uid, &gid, why);
        if (code == 0 && chown(path.data, uid, gid) < 0)
            code = -errno;
    }
    if (code == 0 && chmod(path.data, d->mode) < 0)
        code = -errno;
out:
    if (code < 0 && why->len == 0)
        str_printf(why, "%s: %s", str_cstr(&path), error_text(code));
    str_fini(&path);
    return code;
}

int rundir_make(const struct conf *conf, struct str *why)
{
    for (size_t i = 0; i < COUNT_OF(directories); i++) {
        int code = make_directory(&directories[i], conf, why);

        if (code < 0)
            return code;
    }
    return 0;
}

int rundir_group(const struct conf *conf, gid_t *gid, struct str *why)
{
    const struct group *group;

    *gid = (gid_t)-1;
    if (!master.is_root)
        return 0;
    group = getgrnam(conf_string(conf, "waypost_user"));
    if (group == NULL) {
        str_printf(why, "group %s does not exist: see conf/waypost.sysusers",
                   conf_string(conf, "waypost_user"));
        return ERR_NOT_FOUND;
    }
    *gid = group->gr_gid;
    return 0;
}

int pidfile_lock(const char *queue_directory, int *fd, pid_t *other, struct str *why)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct str path = {0}, text = {0};
    int code = 0;

    *other = 0;
    str_printf(&path, "%s/pid/master.pid", queue_directory);
    *fd = open(str_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (*fd < 0) {
        code = -errno;
    } else if (fcntl(*fd, F_OFD_SETLK, &lock) < 0) {
        uint32_t pid = 0;

        code = -EAGAIN;
        fd_read_file(*fd, &text, 64);
        if (span_to_u32(span_trim(str_span(&text)), &pid) == 0)
            *other = (pid_t)pid;
        fd_close(fd);
    } else {
        str_printf(&text, "%ld\n", (long)getpid());
        /* In this order: who reads it meanwhile finds a number. */
        code = fd_pwrite_all(*fd, str_cstr(&text), text.len, 0);
        if (code == 0 && ftruncate(*fd, (off_t)text.len) < 0)
            code = -errno;
    }
    if (code < 0)
        str_printf(why, "%s: %s", str_cstr(&path),
                   code == -EAGAIN ? "the mail system is already running" : error_text(code));
    str_fini(&path);
    str_fini(&text);
    return code;
}
