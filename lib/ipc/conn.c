/* Connections: life, sending at the end of the turn, receiving. */
#include "ipc/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"

enum {
    SEND_BUFFER = 512 * 1024,
    BUSY_RETRY_MS = 10,
    BUSY_TRIES = 500,
    CLOSE_FLUSH_MS = 1000,
};

static void turn_flush(struct task_turn_hook *hook);

int ipc_conn_new(struct ipc_conn **out, int fd)
{
    struct ipc_conn *c = NEW(struct ipc_conn);
    struct ucred peer;
    socklen_t n = sizeof(peer);
    int size = SEND_BUFFER, rc = -ENOMEM;

    *out = NULL;
    if (c == NULL)
        goto fail;
    rc = fd_set_nonblock(fd);
    if (rc < 0)
        goto fail;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0) {
        rc = -errno;
        goto fail;
    }
    fd_set_cloexec(fd, 1);
    /* As much as the kernel allows; its default still holds one packet. */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    rc = task_fd_init(&c->poll, fd);
    if (rc < 0)
        goto fail;
    c->fd = fd;
    c->refs = 1;
    c->peer_uid = peer.uid;
    c->peer_pid = peer.pid;
    c->turn.flush = turn_flush;
    outbox_init(&c->outbox);
    task_cond_init(&c->drained);
    *out = c;
    return 0;

fail:
    free(c);
    fd_close(&fd);
    return rc;
}

void ipc_conn_hold(struct ipc_conn *c)
{
    c->refs++;
}

static void inbox_fini(struct inbox *in)
{
    for (; in->fd_next < in->fd_count; in->fd_next++)
        fd_close(&in->fds[in->fd_next]);
    free(in->data);
    *in = (struct inbox){0};
}

void ipc_conn_drop(struct ipc_conn *c)
{
    if (--c->refs > 0)
        return;
    task_fd_fini(&c->poll);
    fd_close(&c->fd);
    inbox_fini(&c->inbox);
    outbox_fini(&c->outbox);
    hash_fini(&c->calls);
    free(c);
}

void ipc_conn_fail(struct ipc_conn *c, int error)
{
    if (c->error != 0)
        return;
    c->error = error;
    outbox_fini(&c->outbox);
    /* Wakes a reader and a writer that wait for the descriptor; the peer reads
     * what was sent before, then the end. */
    shutdown(c->fd, SHUT_RDWR);
    task_cond_broadcast(&c->drained);
    ipc_call_fail_all(c, error == ERR_CLOSED ? ERR_CLOSED : ERR_TRUNCATED);
}

void ipc_close(struct ipc_conn *c)
{
    if (c == NULL)
        return;
    if (c->error == 0)
        outbox_send(&c->outbox, c->fd);
    ipc_conn_fail(c, ERR_CLOSED);
    ipc_conn_drop(c);
}

void ipc_close_flushed(struct ipc_conn *c)
{
    bool shield = task_shield(true);

    (void)ipc_flush(c, deadline_in(CLOSE_FLUSH_MS));
    task_shield(shield);
    ipc_close(c);
}

uid_t ipc_peer_uid(const struct ipc_conn *c)
{
    return c->peer_uid;
}

pid_t ipc_peer_pid(const struct ipc_conn *c)
{
    return c->peer_pid;
}

uint32_t ipc_version(const struct ipc_conn *c)
{
    return c->peer_version;
}

int ipc_error(const struct ipc_conn *c)
{
    return c->error;
}

/* --- sending --- */

/* Nothing can be sent any more. When the peer has closed, what it sent before may still
 * be there to read: the reader comes to the end by itself. */
static void sending_failed(struct ipc_conn *c, int error)
{
    if (c->has_reader && (error == -EPIPE || error == -ECONNRESET)) {
        outbox_fini(&c->outbox);
        task_cond_broadcast(&c->drained);
    } else {
        ipc_conn_fail(c, error);
    }
}

/* Sends what the turn's end could not. */
static void writer_main(void *arg)
{
    struct ipc_conn *c = arg;
    int tries = 0;

    while (c->error == 0) {
        size_t before = c->outbox.unsent;
        int rc = outbox_send(&c->outbox, c->fd);

        if (c->outbox.unsent < before) {
            tries = 0;
            task_cond_broadcast(&c->drained);
        }
        if (rc == 0)
            break;
        if (rc == -EAGAIN)
            rc = task_fd_wait(&c->poll, TASK_WRITABLE, DEADLINE_NONE);
        else if (rc == -ETOOMANYREFS && ++tries < BUSY_TRIES)
            rc = task_sleep(deadline_in(BUSY_RETRY_MS));
        if (rc == -ECANCELED)
            break;
        if (rc < 0)
            sending_failed(c, rc);
    }
    c->has_writer = false;
    ipc_conn_drop(c);
}

static void start_writer(struct ipc_conn *c)
{
    ipc_conn_hold(c);
    c->has_writer = true;
    if (task_spawn("ipc-writer", writer_main, c) == NULL) {
        c->has_writer = false;
        ipc_conn_fail(c, -ENOMEM);
        ipc_conn_drop(c);
    }
}

static void turn_flush(struct task_turn_hook *hook)
{
    struct ipc_conn *c = CONTAINER_OF(hook, struct ipc_conn, turn);

    c->is_turn_asked = false;
    if (c->error == 0 && !c->has_writer) {
        int rc = outbox_send(&c->outbox, c->fd);

        if (rc == -EAGAIN || rc == -ETOOMANYREFS)
            start_writer(c);
        else if (rc < 0)
            sending_failed(c, rc);
    }
    ipc_conn_drop(c);
}

static void ask_flush(struct ipc_conn *c)
{
    if (c->is_turn_asked || c->has_writer)
        return;
    c->is_turn_asked = true;
    ipc_conn_hold(c);
    task_turn_end(&c->turn);
}

static int wait_below(struct ipc_conn *c, size_t unsent, deadline_t deadline)
{
    int rc = 0;

    ipc_conn_hold(c);
    while (rc == 0 && c->error == 0 && c->outbox.unsent > unsent) {
        if (!c->has_writer)
            start_writer(c);
        rc = c->error != 0 ? 0 : task_cond_wait(&c->drained, deadline);
    }
    if (rc == 0)
        rc = c->error;
    ipc_conn_drop(c);
    return rc;
}

int ipc_send(struct ipc_conn *c, struct ipc_out *m, deadline_t deadline)
{
    int rc = c->error;

    if (rc == 0 && c->outbox.unsent > IPC_WINDOW)
        rc = wait_below(c, IPC_WINDOW, deadline);
    if (rc == 0)
        rc = outbox_add(&c->outbox, m);
    if (rc == 0)
        ask_flush(c);
    return rc;
}

int ipc_post(struct ipc_conn *c, struct ipc_out *m)
{
    int rc = c->error;

    if (rc == 0 && c->outbox.unsent > IPC_WINDOW)
        rc = -EAGAIN;
    if (rc == 0)
        rc = outbox_add(&c->outbox, m);
    if (rc == 0)
        ask_flush(c);
    return rc;
}

int ipc_flush(struct ipc_conn *c, deadline_t deadline)
{
    return wait_below(c, 0, deadline);
}

/* --- receiving --- */

/* One for the process: nothing waits between recvmsg and the copies. */
static char *shared_buffer(void)
{
    static char *buffer;

    if (buffer == NULL)
        buffer = malloc(IPC_PACKET_MAX);
    return buffer;
}

/* Descriptors of a received packet; those over the limit were closed by the kernel
 * (MSG_CTRUNC). */
static void collect_fds(struct msghdr *msg, struct inbox *in)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        const char *from = (const char *)CMSG_DATA(c);
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, from + i * sizeof(int), sizeof(int));
            if (in->fd_count < IPC_FDS_MAX)
                in->fds[in->fd_count++] = fd;
            else
                fd_close(&fd);
        }
    }
}

/* Read a packet into in->rest, which then borrows the shared buffer. */
static int receive_packet(struct ipc_conn *c)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
    } control;
    struct iovec iov = {shared_buffer(), IPC_PACKET_MAX};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = sizeof(control),
    };
    ssize_t n;

    if (iov.iov_base == NULL)
        return -ENOMEM;
    /* A peer that closed with packets unread resets the connection, which is told once and
     * before what it had sent. */
    do
        n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0)
        return -errno;
    collect_fds(&msg, &c->inbox);
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        return ERR_PROTOCOL;
    /* Packets are never empty: this is the end. */
    if (n == 0)
        return c->inbox.fd_count > 0 ? ERR_PROTOCOL : ERR_EOF;
    c->inbox.rest = span_make(iov.iov_base, (size_t)n);
    return 0;
}

/* Take the next message off the packet in the inbox. */
static int next_message(struct inbox *in, struct ipc_in **m)
{
    struct ipc_frame frame;
    int rc = ipc_decode(in->rest, &frame);

    if (rc < 0)
        return rc;
    if (frame.descriptors > in->fd_count - in->fd_next)
        return ERR_PROTOCOL;
    in->rest = span_drop(in->rest, frame.size);
    /* Descriptors that no message claims. */
    if (in->rest.n == 0 && in->fd_next + frame.descriptors != in->fd_count)
        return ERR_PROTOCOL;
    *m = ipc_in_new(&frame, in->fds + in->fd_next);
    in->fd_next += frame.descriptors;
    return *m == NULL ? -ENOMEM : 0;
}

/* Own the rest of the packet before the shared buffer is used again. */
static int keep_rest(struct inbox *in)
{
    char *copy;

    if (in->data != NULL || in->rest.n == 0)
        return 0;
    copy = malloc(in->rest.n);
    if (copy == NULL)
        return -ENOMEM;
    in->data = memcpy(copy, in->rest.p, in->rest.n);
    in->rest.p = copy;
    return 0;
}

/* The next message that is no reply, out of the packet at hand; -EAGAIN when the
 * packet is used up. */
static int take_from_inbox(struct ipc_conn *c, struct ipc_in **m)
{
    struct inbox *in = &c->inbox;

    while (in->rest.n > 0) {
        struct ipc_in *got;
        int rc = next_message(in, &got);

        if (rc < 0)
            return rc;
        if (ipc_call_deliver(c, got))
            continue;
        rc = keep_rest(in);
        if (rc < 0) {
            ipc_in_free(got);
            return rc;
        }
        if (in->rest.n == 0)
            inbox_fini(in);
        *m = got;
        return 0;
    }
    inbox_fini(in);
    return -EAGAIN;
}

static int receive(struct ipc_conn *c, struct ipc_in **m, deadline_t deadline)
{
    for (;;) {
        int rc = c->error != 0 ? c->error : take_from_inbox(c, m);

        if (rc != -EAGAIN)
            return rc;
        /* Replies alone, packet after packet, never leave this loop. */
        rc = task_breathe();
        if (rc < 0)
            return rc;
        rc = c->error != 0 ? c->error : receive_packet(c);
        if (rc == 0)
            continue;
        if (rc != -EAGAIN)
            return rc;
        rc = task_fd_wait(&c->poll, TASK_READABLE, deadline);
        if (rc < 0)
            return rc;
    }
}

int ipc_receive(struct ipc_conn *c, struct ipc_in **m, deadline_t deadline)
{
    int rc;

    *m = NULL;
    if (c->has_reader)
        return -EBUSY;
    ipc_conn_hold(c);
    c->has_reader = true;
    /* A peer that never pauses must not starve the other tasks. */
    rc = task_breathe();
    if (rc == 0)
        rc = receive(c, m, deadline);
    c->has_reader = false;
    if (rc == ERR_PROTOCOL)
        log_warn("malformed message from process %ld (uid %ld): connection closed",
                 (long)c->peer_pid, (long)c->peer_uid);
    if (rc < 0 && rc != -ETIMEDOUT && rc != -ECANCELED) {
        ipc_conn_fail(c, rc);
        rc = c->error;
    }
    ipc_conn_drop(c);
    return rc;
}
