#include "auth/bequest.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "service/service.h"

enum { TEXT_MAX = 1 << 28 };

/* What carries one descriptor and one octet. */
struct parcel {
    struct msghdr message;
    struct iovec iov;
    char octet;
    union {
        struct cmsghdr header; /* for its alignment */
        char space[CMSG_SPACE(sizeof(int))];
    } control;
};

static void parcel_init(struct parcel *p)
{
    *p = (struct parcel){.octet = '0'};
    p->iov = (struct iovec){&p->octet, 1};
    p->message.msg_iov = &p->iov;
    p->message.msg_iovlen = 1;
    p->message.msg_control = p->control.space;
    p->message.msg_controllen = sizeof(p->control.space);
}

/* Nothing here waits: who takes it has not started yet. */
static int leave(int file)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = BEQUEST_SOCKET};
    struct parcel p;
    struct cmsghdr *c;
    int rc = 0, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    parcel_init(&p);
    c = CMSG_FIRSTHDR(&p.message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &file, sizeof(int));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        sendmsg(fd, &p.message, MSG_NOSIGNAL) < 0)
        rc = -errno;
    fd_close(&fd);
    return rc;
}

void bequest_leave(struct tickets *t)
{
    struct str text = {.max = TEXT_MAX};
    int file = -1, rc = tickets_save(t, clock_mono_ms(), &text);

    if (rc == 0 && text.len > 0) {
        file = memfd_create("session-ids", MFD_CLOEXEC);
        rc = file < 0 ? -errno : fd_pwrite_all(file, text.data, text.len, 0);
        if (rc == 0)
            rc = leave(file);
    }
    if (rc < 0)
        log_warn("logins under way are lost: %s: %s", BEQUEST_SOCKET, error_text(rc));
    fd_close(&file);
    str_fini_secret(&text);
}

static bool is_own(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.uid == geteuid();
}

static int unpack(int fd, int *file)
{
    struct parcel p;
    struct cmsghdr *c;

    parcel_init(&p);
    if (recvmsg(fd, &p.message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
        return ERR_EOF;
    c = CMSG_FIRSTHDR(&p.message);
    if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(sizeof(int)))
        return ERR_PROTOCOL;
    memcpy(file, CMSG_DATA(c), sizeof(int));
    return 0;
}

static void take(struct tickets *t, int fd)
{
    struct str text = {0};
    int file = -1, rc = unpack(fd, &file);

    if (rc == 0 && lseek(file, 0, SEEK_SET) < 0)
        rc = -errno;
    if (rc == 0)
        rc = fd_read_file(file, &text, TEXT_MAX);
    if (rc == 0)
        rc = tickets_restore(t, str_span(&text), clock_mono_ms());
    if (rc < 0)
        log_warn("session ids of the process before: %s", error_text(rc));
    fd_close(&file);
    str_fini_secret(&text);
}

void bequest_take(struct tickets *t)
{
    int listener = service_listener(BEQUEST_SOCKET), fd;

    while (listener >= 0 &&
           (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (is_own(fd))
            take(t, fd);
        fd_close(&fd);
    }
}
