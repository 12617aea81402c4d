/* stream_internal.h: the inside of a stream; for lib/net itself. */
#ifndef NET_STREAM_INTERNAL_H
#define NET_STREAM_INTERNAL_H

#include "net/stream.h"

enum {
    STREAM_INPUT_FIRST = 4096,
    STREAM_INPUT_MAX = 65536,
    STREAM_OUTPUT_HIGH = 16384, /* above this much a write flushes */
};

/* Input that was read: data[start..end). */
struct stream_input {
    char *data; /* NULL while the stream idles */
    size_t start, end, cap;
    size_t scanned;     /* octets from start on that hold no LF */
    size_t next_cap;    /* size of the next buffer: follows the traffic */
    bool may_have_more; /* the transport may hold octets: read before waiting */
};

struct tls_session;

struct stream {
    int fd; /* -1 over a scripted transport */
    struct task_fd poll;
    const struct stream_transport *transport;
    void *transport_arg;
    struct tls_session *tls; /* NULL while plain */
    struct budget *budget;

    struct stream_input in;
    int in_error; /* sticky, as is the next one */

    struct str out; /* out_sent octets of it have left */
    size_t out_sent;
    int out_error;
    bool is_sending; /* one task at a time */
    struct task_cond sending_ended;

    char *error_detail;
    uint64_t bytes_in, bytes_out;
};

/* What a read or write that returned -EAGAIN waits for goes to *events. */
ssize_t stream_raw_write(struct stream *s, const void *buf, size_t n, int *events);
TASK_WAITS int stream_wait(struct stream *s, int events, deadline_t deadline);
/* Remember words for stream_error_text(); text may be NULL. */
void stream_set_detail(struct stream *s, const char *text);
void stream_release_input(struct stream *s);

/* --- the TLS side (stream_tls.c) --- */

/* As the raw functions; -EAGAIN with *events, 0 at close_notify, ERR_TRUNCATED at an
 * end without it, ERR_TLS. */
ssize_t stream_tls_read(struct stream *s, void *buf, size_t n, int *events);
ssize_t stream_tls_write(struct stream *s, const void *buf, size_t n, int *events);
/* Octets inside the TLS layer: read before waiting. */
bool stream_tls_has_pending(const struct stream *s);
TASK_WAITS int stream_tls_shutdown(struct stream *s, deadline_t deadline);
/* One try to send close_notify, without waiting. */
int stream_tls_notify_close(struct stream *s);
void stream_tls_free(struct stream *s);

#endif
