#include "net/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

enum {
    BACKLOG = 65535, /* the kernel cuts it to net.core.somaxconn */
    FULL_RETRY_MS = 10,
};

/* errno as a code, with the descriptor closed. */
static int give_up(int *fd)
{
    int rc = -errno;

    fd_close(fd);
    return rc;
}

static int new_socket(int family, int type, int *fd)
{
    *fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return *fd < 0 ? -errno : 0;
}

int net_listen_tcp(const struct net_address *address, int *fd)
{
    struct sockaddr_storage to;
    socklen_t n = net_address_to_sockaddr(address, &to);
    int on = 1, rc = n == 0 ? -EAFNOSUPPORT : new_socket(address->family, SOCK_STREAM, fd);

    if (rc < 0) {
        *fd = -1;
        return rc;
    }
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return give_up(fd);
    if (address->family == AF_INET6 &&
        setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
        return give_up(fd);
    if (bind(*fd, (struct sockaddr *)&to, n) < 0 || listen(*fd, BACKLOG) < 0)
        return give_up(fd);
    return 0;
}

static int unix_address(const char *path, struct sockaddr_un *to)
{
    size_t n = strlen(path);

    memset(to, 0, sizeof(*to));
    to->sun_family = AF_UNIX;
    if (n >= sizeof(to->sun_path))
        return -ENAMETOOLONG;
    memcpy(to->sun_path, path, n);
    return 0;
}

/* Bind under a temporary name, so that clients find either the old socket or one
 * with its final rights that already listens. */
int net_listen_unix(const char *path, int type, mode_t mode, uid_t owner, gid_t group, int *fd)
{
    struct sockaddr_un to;
    char temporary[sizeof(to.sun_path)];
    int rc, n;

    *fd = -1;
    rc = unix_address(path, &to);
    if (rc < 0)
        return rc;
    n = snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof(temporary))
        return -ENAMETOOLONG;
    rc = unix_address(temporary, &to);
    if (rc == 0)
        rc = new_socket(AF_UNIX, type, fd);
    if (rc < 0)
        return rc;
    unlink(temporary);
    if (bind(*fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return give_up(fd);
    if (((owner != (uid_t)-1 || group != (gid_t)-1) && chown(temporary, owner, group) < 0) ||
        chmod(temporary, mode) < 0 || listen(*fd, BACKLOG) < 0 || rename(temporary, path) < 0) {
        rc = give_up(fd);
        unlink(temporary);
    }
    return rc;
}

/* The connection itself failed, not the listener: accept(2). */
static bool is_lost_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

int net_accept(int listener, int *fd, struct net_address *peer, struct net_address *local)
{
    struct sockaddr_storage from = {0}, to = {0};
    socklen_t n = sizeof(from);

    *fd = -1;
    while (*fd < 0) {
        *fd = accept4(listener, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (*fd < 0 && !is_lost_connection(errno))
            return -errno;
        n = sizeof(from);
    }
    if (peer != NULL)
        net_address_from_sockaddr((struct sockaddr *)&from, peer);
    if (local != NULL && getsockname(*fd, (struct sockaddr *)&to, &n) < 0)
        to.ss_family = AF_UNSPEC;
    if (local != NULL)
        net_address_from_sockaddr((struct sockaddr *)&to, local);
    return 0;
}

/* --- connecting --- */

static int wait_connected(int fd, deadline_t deadline)
{
    struct task_fd poll;
    socklen_t n = sizeof(int);
    int error = 0, rc = task_fd_init(&poll, fd);

    if (rc < 0)
        return rc;
    rc = task_fd_wait(&poll, TASK_WRITABLE, deadline);
    task_fd_fini(&poll);
    if (rc < 0)
        return rc;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        return -errno;
    return -error;
}

static int bind_from(int fd, const struct net_address *from)
{
    struct sockaddr_storage address;
    socklen_t n = net_address_to_sockaddr(from, &address);

    if (n == 0)
        return 0;
    return bind(fd, (struct sockaddr *)&address, n) < 0 ? -errno : 0;
}

int net_connect(int *fd, const struct net_address *to, const struct net_address *from,
                deadline_t deadline)
{
    struct sockaddr_storage address;
    socklen_t n = net_address_to_sockaddr(to, &address);
    int rc = n == 0 ? -EAFNOSUPPORT : new_socket(to->family, SOCK_STREAM, fd);

    if (rc < 0) {
        *fd = -1;
        return rc;
    }
    if (from != NULL)
        rc = bind_from(*fd, from);
    if (rc == 0 && connect(*fd, (struct sockaddr *)&address, n) < 0)
        rc = errno == EINPROGRESS || errno == EINTR ? wait_connected(*fd, deadline) : -errno;
    if (rc < 0)
        fd_close(fd);
    return rc;
}
