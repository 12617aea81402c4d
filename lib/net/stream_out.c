/* Streams: output. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"
#include "net/stream_internal.h"

enum { OUTPUT_FIRST = 1024 };

size_t stream_unsent(const struct stream *s)
{
    return s->out.len - s->out_sent;
}

/* The turn to send: tasks that write to one stream do so one after the other. */
static int begin_sending(struct stream *s, deadline_t deadline)
{
    while (s->is_sending) {
        int rc = task_cond_wait(&s->sending_ended, deadline);

        if (rc < 0)
            return rc;
    }
    if (s->out_error != 0)
        return s->out_error;
    s->is_sending = true;
    return 0;
}

static void end_sending(struct stream *s)
{
    s->is_sending = false;
    task_cond_signal(&s->sending_ended);
}

/* One write of some octets; waits until the transport takes any. */
static ssize_t send_some(struct stream *s, const char *data, size_t n, deadline_t deadline)
{
    int events, rc;
    ssize_t put = stream_raw_write(s, data, n, &events);

    if (put >= 0) {
        s->bytes_out += (size_t)put;
        return put;
    }
    if (put != -EAGAIN) {
        s->out_error = (int)put;
        return put;
    }
    rc = stream_wait(s, events, deadline);
    return rc < 0 ? rc : 0;
}

/* The collected output. Others may append to it while this waits. */
static int send_collected(struct stream *s, deadline_t deadline)
{
    while (stream_unsent(s) > 0) {
        ssize_t put = send_some(s, s->out.data + s->out_sent, stream_unsent(s), deadline);

        if (put < 0)
            return (int)put;
        s->out_sent += (size_t)put;
    }
    str_clear(&s->out);
    s->out_sent = 0;
    return 0;
}

int stream_flush(struct stream *s, deadline_t deadline)
{
    int rc;

    if (stream_unsent(s) == 0 && !s->is_sending)
        return s->out_error;
    rc = begin_sending(s, deadline);
    if (rc < 0)
        return rc;
    rc = send_collected(s, deadline);
    end_sending(s);
    return rc;
}

/* What was collected and more behind it in one call; what does not fit is left. */
static int send_joined(struct stream *s, struct span *data)
{
    size_t collected = stream_unsent(s), sent;
    struct iovec parts[2] = {{s->out.data + s->out_sent, collected}, {(void *)data->p, data->n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t put = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (put < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (put < 0)
        return s->out_error = -errno;
    s->bytes_out += (size_t)put;
    sent = (size_t)put < collected ? (size_t)put : collected;
    s->out_sent += sent;
    *data = span_drop(*data, (size_t)put - sent);
    return 0;
}

/* Octets that are not worth a copy. When only a part left, the output is spoilt. */
static int send_direct(struct stream *s, struct span data, deadline_t deadline)
{
    size_t total = data.n;
    int rc = begin_sending(s, deadline);

    if (rc < 0)
        return rc;
    if (stream_unsent(s) > 0 && s->fd >= 0 && s->tls == NULL)
        rc = send_joined(s, &data);
    if (rc == 0)
        rc = send_collected(s, deadline);
    while (rc == 0 && data.n > 0) {
        ssize_t put = send_some(s, data.p, data.n, deadline);

        if (put < 0)
            rc = (int)put;
        else
            data = span_drop(data, (size_t)put);
    }
    /* Under TLS even octets of which none left may be part of a record. */
    if (rc < 0 && s->out_error == 0 && (data.n < total || s->tls != NULL))
        s->out_error = rc;
    end_sending(s);
    return rc;
}

static int collect(struct stream *s, struct span data)
{
    int rc;

    if (s->out.data == NULL)
        str_reserve(&s->out, OUTPUT_FIRST);
    rc = str_append(&s->out, data);
    s->out.error = 0;
    return rc;
}

int stream_write(struct stream *s, struct span data, deadline_t deadline)
{
    int rc;

    if (s->out_error != 0)
        return s->out_error;
    if (data.n >= STREAM_OUTPUT_HIGH)
        return send_direct(s, data, deadline);
    rc = collect(s, data);
    if (rc == 0 && stream_unsent(s) > STREAM_OUTPUT_HIGH)
        rc = stream_flush(s, deadline);
    return rc;
}

int stream_printf(struct stream *s, deadline_t deadline, const char *fmt, ...)
{
    va_list ap;
    int rc;

    if (s->out_error != 0)
        return s->out_error;
    if (s->out.data == NULL)
        str_reserve(&s->out, OUTPUT_FIRST);
    va_start(ap, fmt);
    rc = str_vprintf(&s->out, fmt, ap);
    va_end(ap);
    s->out.error = 0;
    if (rc == 0 && stream_unsent(s) > STREAM_OUTPUT_HIGH)
        rc = stream_flush(s, deadline);
    return rc;
}

int stream_shutdown(struct stream *s, deadline_t deadline)
{
    int rc = stream_flush(s, deadline);

    if (rc == 0 && s->tls != NULL)
        rc = stream_tls_shutdown(s, deadline);
    if (rc == 0 && s->fd >= 0 && shutdown(s->fd, SHUT_WR) < 0 && errno != ENOTCONN)
        rc = -errno;
    return rc;
}
