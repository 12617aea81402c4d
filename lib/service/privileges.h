/* privileges.h: what a service gives up before it meets a client. All before the
 * first thread. Negative codes come with a message. */
#ifndef SERVICE_PRIVILEGES_H
#define SERVICE_PRIVILEGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

struct identity {
    uid_t uid;
    gid_t gid;
    gid_t shared_gid; /* the group that may use the suite's private sockets */
    bool has_shared_gid;
};

/* Look the names up (blocking). shared_group may not exist: has_shared_gid is
 * false then. ERR_NOT_FOUND names the sysusers file to install. */
int identity_find(struct identity *out, const char *user, const char *shared_group,
                  struct str *why);
/* As root: groups, gid and uid, for good. */
int identity_become(const struct identity *identity, struct str *why);
/* As root: the working directory becomes the root directory. */
int privileges_chroot(struct str *why);
/* umask 077, as many descriptors as the hard limit allows, no core files, not
 * dumpable (nobody of the same uid may read the memory). */
int privileges_limit(struct str *why);
/* Raise the hard limit of descriptors as far as the kernel allows (root), and
 * the soft one to it; what it is afterwards. */
uint64_t privileges_raise_descriptors(void);

#endif
