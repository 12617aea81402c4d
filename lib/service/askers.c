#include "service/askers.h"

#include <pwd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"

int askers_find(struct askers *a, const struct conf *conf, const char *const *parameters,
                struct str *why)
{
    *a = (struct askers){.is_checked = true};
    for (; *parameters != NULL; parameters++) {
        const char *name = conf_string(conf, *parameters);
        const struct passwd *entry = getpwnam(name);

        ENSURE(a->count < ASKERS_MAX);
        if (entry == NULL) {
            str_printf(why, "%s: user %s does not exist", *parameters, name);
            return ERR_NOT_FOUND;
        }
        a->uids[a->count++] = entry->pw_uid;
    }
    return 0;
}

bool askers_may_connect(const struct askers *a, uid_t uid)
{
    if (!a->is_checked || uid == 0 || uid == geteuid())
        return true;
    for (size_t i = 0; i < a->count; i++) {
        if (a->uids[i] == uid)
            return true;
    }
    return false;
}
