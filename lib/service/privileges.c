#include "service/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

/* More would cost memory for tables without use. */
#define DESCRIPTORS_MAX 262144

int identity_find(struct identity *out, const char *user, const char *shared_group, struct str *why)
{
    const struct passwd *pw;
    const struct group *group;

    *out = (struct identity){0};
    pw = getpwnam(user);
    if (pw == NULL) {
        str_printf(why,
                   "user %s does not exist: install the suite's users with "
                   "systemd-sysusers conf/waypost.sysusers (or tools/install-users)",
                   user);
        return ERR_NOT_FOUND;
    }
    out->uid = pw->pw_uid;
    out->gid = pw->pw_gid;
    group = getgrnam(shared_group);
    if (group != NULL) {
        out->shared_gid = group->gr_gid;
        out->has_shared_gid = true;
    }
    return 0;
}

int identity_become(const struct identity *identity, struct str *why)
{
    /* Only the one group that opens the suite's sockets: what else the user is
     * a member of must not widen the wall. */
    if (setgroups(identity->has_shared_gid ? 1 : 0, &identity->shared_gid) < 0 ||
        setresgid(identity->gid, identity->gid, identity->gid) < 0 ||
        setresuid(identity->uid, identity->uid, identity->uid) < 0) {
        int code = -errno;

        str_printf(why, "cannot become uid %d: %s", (int)identity->uid, error_text(code));
        return code;
    }
    if (identity->uid != 0 && setuid(0) == 0) {
        str_printf(why, "uid 0 could be taken again");
        return -EPERM;
    }
    return 0;
}

int privileges_chroot(struct str *why)
{
    int code;

    if (chroot(".") == 0 && chdir("/") == 0)
        return 0;
    code = -errno;
    str_printf(why, "chroot: %s", error_text(code));
    return code;
}

uint64_t privileges_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    if (geteuid() == 0 && limit.rlim_max < DESCRIPTORS_MAX) {
        struct rlimit more = {DESCRIPTORS_MAX, DESCRIPTORS_MAX};

        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return DESCRIPTORS_MAX;
    }
    if (limit.rlim_max > DESCRIPTORS_MAX)
        limit.rlim_max = DESCRIPTORS_MAX;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

int privileges_limit(struct str *why)
{
    struct rlimit no_core = {0, 0};

    umask(077);
    privileges_raise_descriptors();
    if (setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
        int code = -errno;

        str_printf(why, "cannot switch memory dumps off: %s", error_text(code));
        return code;
    }
    return 0;
}
