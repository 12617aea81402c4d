/* Streams: life, transport and input. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "net/stream_internal.h"

static struct stream *stream_alloc(struct budget *budget)
{
    struct stream *s = NEW(struct stream);

    if (s == NULL)
        return NULL;
    s->fd = -1;
    s->budget = budget;
    s->in.next_cap = STREAM_INPUT_FIRST;
    str_init(&s->out, budget);
    task_cond_init(&s->sending_ended);
    return s;
}

int stream_new(struct stream **out, int fd, struct budget *budget)
{
    struct stream *s = stream_alloc(budget);
    int on = 1, rc = s == NULL ? -ENOMEM : fd_set_nonblock(fd);

    *out = NULL;
    if (rc == 0)
        rc = task_fd_init(&s->poll, fd);
    if (rc < 0) {
        free(s);
        fd_close(&fd);
        return rc;
    }
    s->fd = fd;
    /* Fails on Unix sockets, where nothing is delayed. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *out = s;
    return 0;
}

int stream_new_transport(struct stream **out, const struct stream_transport *t, void *arg,
                         struct budget *budget)
{
    struct stream *s = stream_alloc(budget);

    *out = s;
    if (s == NULL)
        return -ENOMEM;
    s->transport = t;
    s->transport_arg = arg;
    s->in.may_have_more = true;
    return 0;
}

void stream_release_input(struct stream *s)
{
    free(s->in.data);
    budget_give(s->budget, s->in.cap);
    s->in.data = NULL;
    s->in.start = s->in.end = s->in.cap = s->in.scanned = 0;
}

/* Everything but the descriptor. */
static void dismantle(struct stream *s)
{
    stream_tls_free(s);
    if (s->fd >= 0)
        task_fd_fini(&s->poll);
    else if (s->transport != NULL && s->transport->close != NULL)
        s->transport->close(s->transport_arg);
    stream_release_input(s);
    str_fini(&s->out);
    free(s->error_detail);
}

void stream_free(struct stream *s)
{
    int fd;

    if (s == NULL)
        return;
    fd = s->fd;
    dismantle(s);
    fd_close(&fd);
    free(s);
}

int stream_detach(struct stream *s, int *fd, struct str *unread)
{
    int rc;

    if (s->tls != NULL || s->fd < 0)
        return ERR_NOT_SUPPORTED;
    rc = str_append(unread, span_make(s->in.data + s->in.start, s->in.end - s->in.start));
    if (rc < 0)
        return rc;
    *fd = s->fd;
    dismantle(s);
    free(s);
    return 0;
}

int stream_fd(const struct stream *s)
{
    return s->fd;
}

uint64_t stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}

uint64_t stream_bytes_out(const struct stream *s)
{
    return s->bytes_out;
}

void stream_set_detail(struct stream *s, const char *text)
{
    free(s->error_detail);
    s->error_detail = text == NULL ? NULL : mem_strdup(span_cstr(text));
}

const char *stream_error_text(const struct stream *s)
{
    if (s->error_detail != NULL)
        return s->error_detail;
    return error_text(s->in_error != 0 ? s->in_error : s->out_error);
}

/* --- transport --- */

static ssize_t raw_read(struct stream *s, void *buf, size_t n, int *events)
{
    ssize_t got;

    *events = TASK_READABLE;
    if (s->tls != NULL)
        return stream_tls_read(s, buf, n, events);
    if (s->transport != NULL)
        return s->transport->read(s->transport_arg, buf, n);
    do
        got = recv(s->fd, buf, n, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

ssize_t stream_raw_write(struct stream *s, const void *buf, size_t n, int *events)
{
    ssize_t put;

    *events = TASK_WRITABLE;
    if (s->tls != NULL)
        return stream_tls_write(s, buf, n, events);
    if (s->transport != NULL)
        return s->transport->write(s->transport_arg, buf, n);
    do
        put = send(s->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

int stream_wait(struct stream *s, int events, deadline_t deadline)
{
    int rc;

    if (s->transport != NULL)
        return s->transport->wait(s->transport_arg, events, deadline);
    rc = task_fd_wait(&s->poll, events, deadline);
    return rc < 0 ? rc : 0;
}

/* --- input --- */

static int resize_input(struct stream *s, size_t cap)
{
    struct stream_input *in = &s->in;
    char *data;

    if (budget_take(s->budget, cap - in->cap) < 0)
        return -ENOMEM;
    data = realloc(in->data, cap);
    if (data == NULL) {
        budget_give(s->budget, cap - in->cap);
        return -ENOMEM;
    }
    in->data = data;
    in->cap = cap;
    return 0;
}

/* Room behind in.end. Octets move only when that makes half of the buffer free, or
 * at its full size: then once for a line, which the next read completes or breaks. */
static int make_room(struct stream *s)
{
    struct stream_input *in = &s->in;

    if (in->data == NULL)
        return resize_input(s, in->next_cap);
    if (in->end < in->cap)
        return 0;
    if (in->start >= in->cap / 2 || (in->start > 0 && in->cap == STREAM_INPUT_MAX)) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
        return 0;
    }
    if (in->cap >= STREAM_INPUT_MAX)
        return ERR_TOO_LONG;
    return resize_input(s, in->cap * 2);
}

/* Sends what waits to be sent, and gives back buffers that hold nothing. */
static int settle(struct stream *s, deadline_t deadline)
{
    if (stream_unsent(s) > 0 && s->out_error == 0) {
        int rc = stream_flush(s, deadline);

        /* A broken output does not spoil what the peer may still have said. */
        if (rc == -ETIMEDOUT || rc == -ECANCELED)
            return rc;
    }
    if (s->in.start == s->in.end)
        stream_release_input(s);
    if (s->out.data != NULL && stream_unsent(s) == 0 && !s->is_sending)
        str_fini(&s->out);
    return 0;
}

static int wait_for_input(struct stream *s, int events, deadline_t deadline)
{
    int rc = settle(s, deadline);

    return rc < 0 ? rc : stream_wait(s, events, deadline);
}

static void note_traffic(struct stream *s, size_t got, size_t room)
{
    struct stream_input *in = &s->in;

    in->end += got;
    s->bytes_in += got;
    in->may_have_more =
        s->tls != NULL ? stream_tls_has_pending(s) : s->transport != NULL || got == room;
    if (got == room && in->next_cap < STREAM_INPUT_MAX)
        in->next_cap *= 2;
    else if (got < in->next_cap / 4 && in->next_cap > STREAM_INPUT_FIRST)
        in->next_cap /= 2;
}

static int read_error(struct stream *s, int rc)
{
    if (rc == 0)
        rc = ERR_EOF;
    if (rc != -ENOMEM)
        s->in_error = rc;
    return rc;
}

/* At least one more octet in the buffer. ERR_TOO_LONG: it is full. */
static int fill(struct stream *s, deadline_t deadline)
{
    struct stream_input *in = &s->in;
    int events = TASK_READABLE;

    if (s->in_error != 0)
        return s->in_error;
    for (;;) {
        size_t room;
        ssize_t got;
        int rc;

        /* Who sends faster than it is answered must not hold the loop. */
        if (in->may_have_more)
            rc = s->transport != NULL ? 0 : task_breathe();
        else
            rc = wait_for_input(s, events, deadline);

        if (rc == 0)
            rc = make_room(s);
        if (rc < 0)
            return rc;
        room = in->cap - in->end;
        got = raw_read(s, in->data + in->end, room, &events);
        if (got > 0) {
            note_traffic(s, (size_t)got, room);
            return 0;
        }
        if (got != -EAGAIN)
            return read_error(s, (int)got);
        in->may_have_more = false;
    }
}

size_t stream_buffered(const struct stream *s)
{
    return s->in.end - s->in.start;
}

void stream_consume(struct stream *s, size_t n)
{
    struct stream_input *in = &s->in;

    if (n > in->end - in->start)
        n = in->end - in->start;
    in->start += n;
    in->scanned = in->scanned > n ? in->scanned - n : 0;
    if (in->start == in->end)
        in->start = in->end = 0;
}

void stream_expect(struct stream *s, uint64_t n)
{
    struct stream_input *in = &s->in;

    while (in->next_cap < n && in->next_cap < STREAM_INPUT_MAX)
        in->next_cap *= 2;
}

void stream_discard_input(struct stream *s)
{
    /* Only what was read: the client's hello may be in the kernel already, and what
     * stands before it there breaks the handshake, which is as good. */
    stream_consume(s, stream_buffered(s));
}

int stream_feed(struct stream *s, struct span data)
{
    struct stream_input *in = &s->in;
    size_t held = in->end - in->start, cap = in->next_cap;

    if (data.n == 0)
        return 0;
    if (data.n > STREAM_INPUT_MAX - held)
        return ERR_TOO_LONG;
    while (cap < data.n + held)
        cap *= 2;
    if (cap > in->cap && resize_input(s, cap) < 0)
        return -ENOMEM;
    memmove(in->data + data.n, in->data + in->start, held);
    memcpy(in->data, data.p, data.n);
    in->start = in->scanned = 0;
    in->end = data.n + held;
    return 0;
}

int stream_peek(struct stream *s, size_t min, struct span *avail, deadline_t deadline)
{
    int rc = 0;

    while (rc == 0 && stream_buffered(s) < min)
        rc = fill(s, deadline);
    if (rc == 0)
        *avail = span_make(s->in.data + s->in.start, stream_buffered(s));
    else if (rc == ERR_EOF && stream_buffered(s) > 0)
        rc = ERR_TRUNCATED;
    return rc;
}

int stream_wait_input(struct stream *s, struct task_cond *c, deadline_t deadline)
{
    int rc = settle(s, deadline);

    if (rc < 0 || stream_buffered(s) > 0 || s->in_error != 0)
        return rc;
    if (s->transport != NULL)
        return s->transport->wait(s->transport_arg, TASK_READABLE, deadline);
    if (s->in.may_have_more) { /* look without waiting */
        rc = fill(s, 0);
        if (rc != -ETIMEDOUT)
            return rc == -ECANCELED || rc == -ENOMEM ? rc : 0;
        stream_release_input(s);
    }
    rc = task_fd_rest(&s->poll, TASK_READABLE, c, deadline);
    s->in.may_have_more = rc > 0;
    return rc < 0 ? rc : rc == 0;
}

/* Octets up to and including the first LF, 0 without any. */
static size_t find_line(struct stream_input *in)
{
    char *from = in->data + in->start + in->scanned, *end;

    if (in->start + in->scanned == in->end)
        return 0;
    end = memchr(from, '\n', in->end - in->start - in->scanned);
    if (end == NULL) {
        in->scanned = in->end - in->start;
        return 0;
    }
    return (size_t)(end + 1 - (in->data + in->start));
}

int stream_read_line(struct stream *s, size_t max, struct span *line, deadline_t deadline)
{
    for (;;) {
        size_t n = find_line(&s->in);
        int rc;

        if (n > max || (n == 0 && stream_buffered(s) > max))
            return ERR_TOO_LONG;
        if (n > 0) {
            *line = span_make(s->in.data + s->in.start, n);
            stream_consume(s, n);
            return 0;
        }
        rc = fill(s, deadline);
        if (rc == ERR_EOF && stream_buffered(s) > 0)
            return ERR_TRUNCATED;
        if (rc < 0)
            return rc;
    }
}

int stream_finish(struct stream *s, deadline_t deadline)
{
    int rc = stream_shutdown(s, deadline);

    while (rc == 0) {
        stream_consume(s, stream_buffered(s));
        rc = fill(s, deadline);
    }
    return rc == ERR_EOF ? 0 : rc;
}

int stream_skip_line(struct stream *s, deadline_t deadline)
{
    for (;;) {
        size_t n = find_line(&s->in);
        int rc;

        stream_consume(s, n > 0 ? n : stream_buffered(s));
        if (n > 0)
            return 0;
        rc = fill(s, deadline);
        if (rc < 0)
            return rc;
    }
}
