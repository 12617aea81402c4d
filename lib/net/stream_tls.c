/*
 * TLS under a stream. OpenSSL's error queue is per thread, so it is emptied before
 * every call, and nothing waits between a call and SSL_get_error().
 */
#include <errno.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "net/address.h"
#include "net/stream_internal.h"
#include "net/tls_internal.h"

/* What an SSL call returned, as our codes. saved_errno is that of the call. */
static int map_result(struct stream *s, int result, int saved_errno, int *events)
{
    struct str text = {0};
    int error = SSL_get_error(s->tls->ssl, result), rc = ERR_TLS;

    switch (error) {
    case SSL_ERROR_WANT_READ:
        *events = TASK_READABLE;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *events = TASK_WRITABLE;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_EOF;
    case SSL_ERROR_SYSCALL:
        rc = saved_errno != 0 ? -saved_errno : ERR_TRUNCATED;
        break;
    default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            rc = ERR_TRUNCATED;
    }
    tls_take_errors(&text);
    stream_set_detail(s, rc == ERR_TLS && text.len > 0 ? str_cstr(&text) : NULL);
    str_fini(&text);
    return rc;
}

ssize_t stream_tls_read(struct stream *s, void *buf, size_t n, int *events)
{
    size_t got;
    int result, rc;

    ERR_clear_error();
    errno = 0;
    result = SSL_read_ex(s->tls->ssl, buf, n, &got);
    if (result == 1)
        return (ssize_t)got;
    rc = map_result(s, result, errno, events);
    if (rc == ERR_TLS)
        s->out_error = rc;
    return rc == ERR_EOF ? 0 : rc;
}

/* A ticket that leaves with the first reply costs no packet of its own, and a client that goes
 * away before needs none: 5 % of a handshake's CPU. What does not leave now leaves with the
 * next write, which also finds the errors. */
static void give_ticket(struct tls_session *t)
{
    t->owes_ticket = false;
    if (SSL_new_session_ticket(t->ssl) != 1)
        return;
    t->wire.has_more = true;
    (void)SSL_do_handshake(t->ssl);
    t->wire.has_more = false;
}

ssize_t stream_tls_write(struct stream *s, const void *buf, size_t n, int *events)
{
    size_t put;
    int result, rc;

    ERR_clear_error();
    if (s->tls->owes_ticket) {
        give_ticket(s->tls);
        ERR_clear_error();
    }
    errno = 0;
    result = SSL_write_ex(s->tls->ssl, buf, n, &put);
    if (result == 1)
        return (ssize_t)put;
    rc = map_result(s, result, errno, events);
    return rc == ERR_EOF ? -EPIPE : rc;
}

bool stream_tls_has_pending(const struct stream *s)
{
    return SSL_has_pending(s->tls->ssl) == 1 || tls_wire_has_ahead(&s->tls->wire);
}

/* 0 when close_notify is out, -EAGAIN with *events, or another negative code. */
static int send_close(struct stream *s, int *events)
{
    int result, rc = 0;

    if (s->tls->is_close_sent)
        return 0;
    ERR_clear_error();
    errno = 0;
    result = SSL_shutdown(s->tls->ssl);
    if (result < 0)
        rc = map_result(s, result, errno, events);
    s->tls->is_close_sent = rc == 0;
    return rc;
}

int stream_tls_notify_close(struct stream *s)
{
    int events;

    return send_close(s, &events);
}

int stream_tls_shutdown(struct stream *s, deadline_t deadline)
{
    int events, rc;

    while ((rc = send_close(s, &events)) == -EAGAIN) {
        rc = stream_wait(s, events, deadline);
        if (rc < 0)
            break;
    }
    return rc;
}

void stream_tls_free(struct stream *s)
{
    if (s->tls == NULL)
        return;
    SSL_free(s->tls->ssl);
    tls_wire_fini(&s->tls->wire);
    tls_facts_fini(&s->tls->facts);
    tls_context_free(s->tls->context);
    free(s->tls);
    s->tls = NULL;
}

const struct tls_facts *stream_tls(const struct stream *s)
{
    return s->tls == NULL || s->tls->facts.summary == NULL ? NULL : &s->tls->facts;
}

/* --- handshake --- */

/* A step, mostly on a worker; the error queue read there is that thread's. */
struct handshake_job {
    struct stream *s;
    int rc;
    int events;
};

static void handshake_step(void *arg)
{
    struct handshake_job *job = arg;
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_do_handshake(job->s->tls->ssl);
    job->rc = result == 1 ? 0 : map_result(job->s, result, errno, &job->events);
}

/* With our Finished on its way, what is left are the peer's and tickets: hashes and no public
 * keys, 40 us, unless the client's certificate comes only now (TLS 1.3). A worker and its two
 * wake-ups for that cost up to 12 % of an SMTP handshake's CPU, on a busy machine. */
static bool is_rest_cheap(SSL *ssl)
{
    char octet;

    return SSL_get_finished(ssl, &octet, sizeof(octet)) > 0 &&
           !(SSL_is_server(ssl) && (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0);
}

static int take_step(struct handshake_job *job)
{
    if (!is_rest_cheap(job->s->tls->ssl))
        return task_offload(TASK_POOL_CPU, handshake_step, job);
    handshake_step(job);
    return 0;
}

static int wait_for_peer(struct stream *s, int events, deadline_t deadline)
{
    int rc = stream_wait(s, events, deadline);

    if (rc == 0 && (events & TASK_READABLE))
        tls_wire_read_ahead(&s->tls->wire);
    return rc;
}

static int handshake(struct stream *s, bool is_server, deadline_t deadline)
{
    struct handshake_job job = {.s = s};
    int rc = 0;

    tls_wire_lend(&s->tls->wire);
    /* A server has nothing to do before the client's hello. */
    if (is_server)
        rc = wait_for_peer(s, TASK_READABLE, deadline);
    while (rc == 0) {
        rc = take_step(&job);
        if (rc < 0 || job.rc != -EAGAIN)
            break;
        rc = wait_for_peer(s, job.events, deadline);
    }
    tls_wire_return(&s->tls->wire);
    if (rc == 0)
        rc = job.rc == ERR_EOF ? ERR_TRUNCATED : job.rc;
    return rc;
}

static int session_new(struct stream *s, struct tls_context *ctx)
{
    struct tls_session *t;

    if (s->tls != NULL || s->fd < 0 || stream_buffered(s) > 0 || stream_unsent(s) > 0)
        return ERR_NOT_SUPPORTED;
    t = NEW(struct tls_session);
    if (t == NULL)
        return -ENOMEM;
    ERR_clear_error();
    t->ssl = SSL_new(ctx->ssl);
    if (t->ssl == NULL || tls_wire_attach(&t->wire, t->ssl, s->fd) < 0) {
        SSL_free(t->ssl);
        free(t);
        return -ENOMEM;
    }
    SSL_set_app_data(t->ssl, ctx);
    t->context = tls_context_hold(ctx);
    s->tls = t;
    return 0;
}

/* The name to send as SNI and, by policy, to verify: a host name or an address. */
static int set_server_name(struct stream *s, const char *name, bool *is_checked)
{
    SSL *ssl = s->tls->ssl;
    struct net_address address;
    bool is_address = net_address_parse(span_cstr(name), &address) == 0;

    *is_checked = false;
    if (!is_address && *name != '\0' && SSL_set_tlsext_host_name(ssl, name) != 1)
        return -ENOMEM;
    if (s->tls->context->level != TLS_LEVEL_VERIFY)
        return 0;
    if (*name == '\0') {
        stream_set_detail(s, "no name to verify the server's certificate with");
        return ERR_TLS;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_address) {
        if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) != 1)
            return ERR_TLS;
    } else if (SSL_set1_host(ssl, name) != 1) {
        return -ENOMEM;
    }
    *is_checked = true;
    return 0;
}

/* A stream whose handshake failed cannot be used any more, not even in plain. */
static int spoil(struct stream *s, int rc)
{
    if (rc < 0 && s->tls != NULL)
        s->in_error = s->out_error = rc;
    return rc;
}

int stream_start_tls_server(struct stream *s, struct tls_context *ctx, deadline_t deadline)
{
    int rc = stream_flush(s, deadline);

    if (rc == 0)
        rc = session_new(s, ctx);
    if (rc < 0)
        return rc;
    stream_release_input(s);
    SSL_set_accept_state(s->tls->ssl);
    rc = handshake(s, true, deadline);
    if (rc == 0)
        rc = tls_facts_collect(&s->tls->facts, s->tls->ssl, true, false);
    s->tls->owes_ticket =
        rc == 0 && ctx->gives_tickets && SSL_version(s->tls->ssl) == TLS1_3_VERSION;
    s->in.may_have_more = rc == 0 && stream_tls_has_pending(s);
    return spoil(s, rc);
}

int stream_start_tls_client(struct stream *s, struct tls_context *ctx, const char *server_name,
                            deadline_t deadline)
{
    bool is_checked = false;
    int rc = stream_flush(s, deadline);

    if (rc == 0)
        rc = session_new(s, ctx);
    if (rc < 0)
        return rc;
    stream_release_input(s);
    SSL_set_connect_state(s->tls->ssl);
    rc = set_server_name(s, server_name, &is_checked);
    if (rc == 0)
        rc = handshake(s, false, deadline);
    if (rc == 0)
        rc = tls_facts_collect(&s->tls->facts, s->tls->ssl, false, is_checked);
    s->in.may_have_more = rc == 0 && stream_tls_has_pending(s);
    return spoil(s, rc);
}
