/* askers.h: whose processes may connect to a service's Unix sockets. */
#ifndef SERVICE_ASKERS_H
#define SERVICE_ASKERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf/conf.h"

enum { ASKERS_MAX = 8 };

struct askers {
    uid_t uids[ASKERS_MAX];
    size_t count;
    bool is_checked; /* false: whoever can open the socket may ask */
};

/* parameters: names of parameters that name users, NULL-terminated. Before chroot.
 * ERR_NOT_FOUND with a reason for a user that does not exist. */
int askers_find(struct askers *a, const struct conf *conf, const char *const *parameters,
                struct str *why);
/* Besides those found: root, and processes of the caller's own uid. */
bool askers_may_connect(const struct askers *a, uid_t uid);

#endif
