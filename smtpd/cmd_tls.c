/* cmd_tls.c: STARTTLS (RFC 3207) and the handshake. */
#include "base/error.h"
#include "base/log.h"
#include "smtpd/session.h"

int tls_start(struct session *s)
{
    const struct server *server = s->server;
    struct str line = {0}, peer = {0};
    int rc;

    if (server->tls == NULL) {
        log_info("TLS session for %s: no certificate is configured", server->listener);
        return ERR_NOT_SUPPORTED;
    }
    rc = stream_start_tls_server(s->stream, server->tls, deadline_in(server->starttls_timeout_ms));

    if (rc < 0) {
        if (rc == ERR_TLS)
            log_info("SSL_accept error from %.*s: %s", SPAN_ARG(s->name_address),
                     stream_error_text(s->stream));
        return rc;
    }
    if (server->tls_log_level > 0) {
        str_printf(&peer, "from %.*s", SPAN_ARG(s->name_address));
        if (tls_print_established(&line, stream_tls(s->stream), str_span(&peer)) == 0)
            log_info("%s", str_cstr(&line));
        str_fini(&peer);
        str_fini(&line);
    }
    return 0;
}

/* What the client said before is not trusted any more (RFC 3207 4.2). */
static void forget(struct session *s)
{
    session_reset(s);
    s->helo = SPAN_NONE;
    s->protocol = "SMTP";
    s->login = s->login_method = SPAN_NONE;
}

enum command_result cmd_starttls(struct session *s, struct span argument)
{
    int rc;

    if (argument.n > 0) {
        session_reply(s, "501 5.5.4 Syntax: STARTTLS");
        return COMMAND_ERROR;
    }
    if (session_is_secured(s)) {
        session_reply(s, "554 5.5.1 Error: TLS already active");
        return COMMAND_ERROR;
    }
    if (s->server->tls == NULL && s->server->tls_required) {
        session_reply(s, "454 4.7.0 TLS not available due to local problem");
        return COMMAND_ERROR;
    }
    if (s->server->tls == NULL || (s->server->discarded_keywords & EHLO_STARTTLS)) {
        session_reply(s, "502 5.5.1 Error: command not implemented");
        return COMMAND_ERROR;
    }
    session_reply(s, "220 2.0.0 Ready to start TLS");
    rc = stream_flush(s->stream, session_deadline(s));
    /* What came before the handshake came without protection: an attacker may have
     * put it there (CVE-2011-0411). */
    stream_discard_input(s->stream);
    if (rc == 0)
        rc = tls_start(s);
    if (rc < 0) {
        log_info("lost connection after STARTTLS from %.*s", SPAN_ARG(s->name_address));
        return COMMAND_CLOSE;
    }
    forget(s);
    return COMMAND_OK;
}
