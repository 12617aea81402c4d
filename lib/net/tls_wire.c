/*
 * The descriptor under a TLS session, as a BIO of our own. It differs from OpenSSL's in
 * what happens while a worker has the session: octets were read on the loop thread before,
 * so that a readable descriptor does not wake the loop again and again meanwhile. And a
 * peer that has gone raises no SIGPIPE.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/tls_internal.h"

enum { AHEAD_OCTETS = 4096 }; /* of a handshake: mostly all that there is */

static ssize_t receive(int fd, void *buf, size_t n)
{
    ssize_t got;

    do
        got = recv(fd, buf, n, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got;
}

static void drop_ahead(struct tls_wire *w)
{
    free(w->ahead);
    w->ahead = NULL;
    w->ahead_at = w->ahead_end = 0;
}

static int take_ahead(struct tls_wire *w, char *buf, size_t n)
{
    size_t there = w->ahead_end - w->ahead_at;

    if (n > there)
        n = there;
    memcpy(buf, w->ahead + w->ahead_at, n);
    w->ahead_at += n;
    if (n == there)
        drop_ahead(w);
    return (int)n;
}

static int wire_read(BIO *bio, char *buf, int n)
{
    struct tls_wire *w = BIO_get_data(bio);
    ssize_t got;

    BIO_clear_retry_flags(bio);
    if (tls_wire_has_ahead(w))
        return take_ahead(w, buf, (size_t)n);
    if (w->is_lent) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (w->error != 0) {
        errno = w->error;
        return -1;
    }
    got = receive(w->fd, buf, (size_t)n);
    w->is_over = got == 0;
    if (got < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    return (int)got;
}

static int wire_write(BIO *bio, const char *data, int n)
{
    struct tls_wire *w = BIO_get_data(bio);
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (w->has_more ? MSG_MORE : 0);
    ssize_t put;

    BIO_clear_retry_flags(bio);
    do
        put = send(w->fd, data, (size_t)n, flags);
    while (put < 0 && errno == EINTR);
    if (put < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    return (int)put;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
    const struct tls_wire *w = BIO_get_data(bio);

    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF: /* tells an end without close_notify from an error */
        return w->is_over;
    default:
        return 0;
    }
}

/* Made once, on the loop thread. */
static BIO_METHOD *wire_method(void)
{
    static BIO_METHOD *method;

    if (method != NULL)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "waypost wire");
    if (method != NULL) {
        BIO_meth_set_read(method, wire_read);
        BIO_meth_set_write(method, wire_write);
        BIO_meth_set_ctrl(method, wire_control);
    }
    return method;
}

int tls_wire_attach(struct tls_wire *w, SSL *ssl, int fd)
{
    BIO_METHOD *method = wire_method();
    BIO *bio = method != NULL ? BIO_new(method) : NULL;

    if (bio == NULL)
        return -ENOMEM;
    *w = (struct tls_wire){.fd = fd};
    BIO_set_data(bio, w);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return 0;
}

void tls_wire_fini(struct tls_wire *w)
{
    drop_ahead(w);
}

bool tls_wire_has_ahead(const struct tls_wire *w)
{
    return w->ahead_at < w->ahead_end;
}

void tls_wire_read_ahead(struct tls_wire *w)
{
    ssize_t got = -1;

    if (tls_wire_has_ahead(w))
        return;
    w->ahead = malloc(AHEAD_OCTETS);
    if (w->ahead != NULL)
        got = receive(w->fd, w->ahead, AHEAD_OCTETS);
    if (got > 0) {
        w->ahead_end = (size_t)got;
        return;
    }
    if (got < 0 && w->ahead != NULL && errno != EAGAIN)
        w->error = errno;
    /* An end, or what memory did not suffice for, OpenSSL finds itself. */
    if (got == 0 || w->ahead == NULL || w->error != 0)
        w->is_lent = false;
    drop_ahead(w);
}

void tls_wire_lend(struct tls_wire *w)
{
    w->is_lent = true;
}

void tls_wire_return(struct tls_wire *w)
{
    w->is_lent = false;
}
