/*
 * stream.h: a buffered byte stream over a socket, plain or TLS, for tasks.
 *
 * Output is collected and leaves before the stream waits for input, when
 * stream_flush() is called, or when it exceeds the high-water mark; so replies
 * to pipelined commands go out in one write. Buffers draw on the session's
 * budget and are given back while the stream idles. After an error every call
 * returns that error.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/span.h"
#include "base/str.h"
#include "net/tls.h"
#include "task/task.h"

struct stream;

/* Takes fd (a connected socket; made non-blocking, TCP_NODELAY set). -ENOMEM or
 * -errno; fd is closed then. */
int stream_new(struct stream **out, int fd, struct budget *budget);
/* Closes the descriptor; no waiting, unsent output is lost. NULL is allowed. */
void stream_free(struct stream *s);

/* The transport under a stream, for tests: a scripted peer without sockets. All
 * functions return a count, 0 at the end, or a negative code; -EAGAIN makes the
 * stream call wait(). */
struct stream_transport {
    ssize_t (*read)(void *arg, void *buf, size_t n);
    ssize_t (*write)(void *arg, const void *buf, size_t n);
    int (*wait)(void *arg, int events, deadline_t deadline);
    void (*close)(void *arg);
};
int stream_new_transport(struct stream **out, const struct stream_transport *t, void *arg,
                         struct budget *budget);

/* --- input --- */

/* One line, its LF included (so that CRLF and LF can be told apart), of at most
 * max octets. Borrowed until the next call. ERR_TOO_LONG: nothing was consumed
 * and more than max octets without LF are there (see stream_skip_line). ERR_EOF
 * at an orderly end between lines, ERR_TRUNCATED inside one or without
 * close_notify, -ETIMEDOUT, -ECANCELED. */
TASK_WAITS int stream_read_line(struct stream *s, size_t max, struct span *line,
                                deadline_t deadline);
/* Consume up to and including the next LF, whatever its distance. */
TASK_WAITS int stream_skip_line(struct stream *s, deadline_t deadline);
/* At least min octets (1 up to the buffer's bound of 64 KiB), as many as are
 * there. Borrowed until the next call; stream_consume() takes them off. */
TASK_WAITS int stream_peek(struct stream *s, size_t min, struct span *avail, deadline_t deadline);
void stream_consume(struct stream *s, size_t n);
/* About n octets follow: read them in larger pieces than commands are. A hint. */
void stream_expect(struct stream *s, uint64_t n);
/* Send what is collected and wait until there is input to read (or its end, or an
 * error: the next read tells), which is 0, or until c (may be NULL) is signalled, which is
 * 1. A wait that becomes long costs no stack: see task_fd_rest() for what it asks. */
TASK_WAITS int stream_wait_input(struct stream *s, struct task_cond *c, deadline_t deadline);
/* Octets that can be read without waiting (decrypted ones included). */
size_t stream_buffered(const struct stream *s);
/* Put octets in front of the input, such as what a login process had read ahead;
 * copied. -ENOMEM, ERR_TOO_LONG (above 64 KiB in all). */
int stream_feed(struct stream *s, struct span data);
/* Throw away what was received and not yet consumed: before STARTTLS. */
void stream_discard_input(struct stream *s);

/* --- output --- */

/* Collected; only over the high-water mark it waits. */
TASK_WAITS int stream_write(struct stream *s, struct span data, deadline_t deadline);
TASK_WAITS int stream_printf(struct stream *s, deadline_t deadline, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
TASK_WAITS int stream_flush(struct stream *s, deadline_t deadline);
/* Octets written but not yet sent. */
size_t stream_unsent(const struct stream *s);
/* Flush and end our direction: close_notify under TLS, shutdown(SHUT_WR). */
TASK_WAITS int stream_shutdown(struct stream *s, deadline_t deadline);
/* The orderly end of a session: the same, then wait for the peer's end and drop what
 * it still says. Closed any earlier, TCP may take back what the peer has not read,
 * and tlsproxy would take it for a crash (net/pump.h). Without an error, or 0, the
 * peer has all we said. */
enum { STREAM_FINISH_MS = 5000 }; /* enough for a peer that is there */
TASK_WAITS int stream_finish(struct stream *s, deadline_t deadline);

/* --- TLS (tls.h) --- */

/* SIGPIPE must be ignored (service_main does it): OpenSSL uses write(2).
 * Handshake on a worker. Input must be empty (stream_discard_input). */
TASK_WAITS int stream_start_tls_server(struct stream *s, struct tls_context *ctx,
                                       deadline_t deadline);
/* server_name: for SNI and verification by ctx's policy; may be empty. */
TASK_WAITS int stream_start_tls_client(struct stream *s, struct tls_context *ctx,
                                       const char *server_name, deadline_t deadline);
/* NULL on a plain stream. */
const struct tls_facts *stream_tls(const struct stream *s);
/* For the log, after a negative code of the given stream: OpenSSL's or the system's
 * words. Borrowed until the next call. */
const char *stream_error_text(const struct stream *s);

/* --- the rest --- */

/* Stays the stream's; -1 over a transport without one. */
int stream_fd(const struct stream *s);
/* Give the descriptor back (the caller owns it) and free the stream; leftover
 * unread input is appended to *unread. Not under TLS. */
int stream_detach(struct stream *s, int *fd, struct str *unread);
/* Octets read and sent so far, as they are inside TLS; for the log. */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);

#endif
