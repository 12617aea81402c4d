#include "ipc/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

struct packet {
    struct list link;
    struct str data;
    int fds[IPC_FDS_MAX];
    size_t fd_count;
};

void outbox_init(struct outbox *box)
{
    list_init(&box->packets);
    box->unsent = 0;
}

static void packet_free(struct outbox *box, struct packet *p)
{
    box->unsent -= p->data.len + p->fd_count * OUTBOX_FD_CHARGE;
    list_remove(&p->link);
    for (size_t i = 0; i < p->fd_count; i++)
        fd_close(&p->fds[i]);
    str_fini(&p->data);
    free(p);
}

void outbox_fini(struct outbox *box)
{
    LIST_FOR_SAFE(item, &box->packets)
    packet_free(box, LIST_ITEM(item, struct packet, link));
}

/* The packet that m goes into: the last one while there is room. */
static struct packet *packet_for(struct outbox *box, const struct ipc_out *m)
{
    struct packet *p;

    if (!list_is_empty(&box->packets)) {
        p = LIST_ITEM(box->packets.prev, struct packet, link);
        if (p->data.len + ipc_encoded_size(m) <= IPC_PACKET_SHARED &&
            p->fd_count + m->fd_count <= IPC_FDS_MAX)
            return p;
    }
    p = NEW(struct packet);
    if (p != NULL)
        list_append(&box->packets, &p->link);
    return p;
}

int outbox_add(struct outbox *box, struct ipc_out *m)
{
    struct packet *p;
    size_t before;
    int rc;

    if (m->error != 0)
        return m->error;
    p = packet_for(box, m);
    if (p == NULL)
        return -ENOMEM;
    before = p->data.len;
    rc = ipc_encode(&p->data, m);
    if (rc < 0) {
        /* The messages before this one are whole. */
        p->data.error = 0;
        if (before == 0)
            packet_free(box, p);
        return rc;
    }
    for (size_t i = 0; i < m->fd_count; i++)
        p->fds[p->fd_count++] = m->fds[i];
    box->unsent += p->data.len - before + m->fd_count * OUTBOX_FD_CHARGE;
    m->fd_count = 0;
    ipc_out_fini(m);
    return 0;
}

static int packet_send(const struct packet *p, int fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
    } control;
    struct iovec iov = {p->data.data, p->data.len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *c;

    if (p->fd_count > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * p->fd_count);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * p->fd_count);
        memcpy(CMSG_DATA(c), p->fds, sizeof(int) * p->fd_count);
    }
    while (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int outbox_send(struct outbox *box, int fd)
{
    while (!list_is_empty(&box->packets)) {
        struct packet *p = LIST_ITEM(box->packets.next, struct packet, link);
        int rc = packet_send(p, fd);

        if (rc == -ENOBUFS || rc == -ENOMEM)
            return -ETOOMANYREFS;
        if (rc < 0)
            return rc;
        packet_free(box, p);
    }
    return 0;
}
