/*
 * listen.h: listening and connecting sockets, as plain functions over
 * descriptors (usable without a loop, except where TASK_WAITS says so). All
 * descriptors are close-on-exec and non-blocking.
 */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <sys/stat.h>
#include <sys/types.h>

#include "base/clock.h"
#include "net/address.h"
#include "task/task.h"

/* Listen on TCP: SO_REUSEADDR, IPV6_V6ONLY, the deepest backlog the kernel allows.
 * -errno. */
int net_listen_tcp(const struct net_address *address, int *fd);
/* Listen on a Unix socket: type SOCK_STREAM or SOCK_SEQPACKET; a stale socket is
 * replaced atomically; mode always, owner and group when not -1. Paths longer
 * than sun_path are -ENAMETOOLONG. */
int net_listen_unix(const char *path, int type, mode_t mode, uid_t owner, gid_t group, int *fd);

/* The next connection; -EAGAIN when there is none. Connections that were reset
 * while they waited are skipped. peer and local may be NULL; both become "no
 * address" for Unix sockets. -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM: pause accepting. */
int net_accept(int listener, int *fd, struct net_address *peer, struct net_address *local);

/* Connect to an address; from (may be NULL) is the local address to bind. -errno,
 * -ETIMEDOUT at the deadline, -ECANCELED. */
TASK_WAITS int net_connect(int *fd, const struct net_address *to, const struct net_address *from,
                           deadline_t deadline);

#endif
