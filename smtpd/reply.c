/* reply.c: replies, deadlines and log lines of a session. */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "smtpd/session.h"

deadline_t session_deadline(const struct session *s)
{
    return deadline_in(s->server->timeout_ms);
}

/* Clients that make too many errors are slowed down (smtpd_error_sleep_time). */
static void slow_down(struct session *s)
{
    if (s->errors >= s->server->soft_error_limit && s->server->error_sleep_ms > 0) {
        (void)stream_flush(s->stream, session_deadline(s));
        (void)task_sleep(deadline_in(s->server->error_sleep_ms));
    }
}

void session_soften(struct str *text)
{
    if (text->len == 0 || text->data[0] != '5')
        return;
    text->data[0] = '4';
    if (text->len > 5 && text->data[4] == '5' && text->data[5] == '.')
        text->data[4] = '4';
}

void session_reply_text(struct session *s, struct span text)
{
    struct str soft = {0};
    bool shield;

    if (s->server->soft_bounce && text.n > 0 && str_set(&soft, text) == 0) {
        session_soften(&soft);
        text = str_span(&soft);
    }

    slow_down(s);
    if (span_starts(text, SPAN_LIT("421")) || span_starts(text, SPAN_LIT("521")))
        s->is_hangup = true;
    /* A reply that is due is sent also while the process is stopping. */
    shield = task_shield(true);
    (void)stream_write(s->stream, text, session_deadline(s));
    (void)stream_write(s->stream, SPAN_LIT("\r\n"), session_deadline(s));
    (void)task_shield(shield);
    str_fini(&soft);
}

void session_reply(struct session *s, const char *fmt, ...)
{
    struct str text;
    va_list ap;

    str_init(&text, NULL); /* small and short-lived; replies go out over the budget too */
    text.max = 8192;
    va_start(ap, fmt);
    str_vprintf(&text, fmt, ap);
    va_end(ap);
    session_reply_text(s, str_span(&text));
    str_fini(&text);
}

const char *session_queue_id(const struct session *s)
{
    return s->tx.id.number != 0 ? s->tx.id_text : "NOQUEUE";
}

bool session_is_secured(const struct session *s)
{
    return stream_tls(s->stream) != NULL;
}

const char *session_protocol(const struct session *s)
{
    bool is_tls = session_is_secured(s), is_login = s->login.n > 0;

    if (strcmp(s->protocol, "ESMTP") != 0)
        return s->protocol;
    if (is_tls)
        return is_login ? "ESMTPSA" : "ESMTPS";
    return is_login ? "ESMTPA" : "ESMTP";
}

void session_log_reject(struct session *s, const char *what, struct span text)
{
    struct str line = {0};

    str_printf(&line, "%s: %s: %s from %.*s: %.*s;", session_queue_id(s), what, s->command,
               SPAN_ARG(s->name_address), SPAN_ARG(text));
    if (s->tx.is_open)
        str_printf(&line, " from=<%.*s>", SPAN_ARG(s->tx.sender_text));
    if (s->recipient_text.p != NULL)
        str_printf(&line, " to=<%.*s>", SPAN_ARG(s->recipient_text));
    str_printf(&line, " proto=%s", s->protocol);
    if (s->helo.n > 0)
        str_printf(&line, " helo=<%.*s>", SPAN_ARG(s->helo));
    log_info("%.*s", SPAN_ARG(str_span(&line)));
    str_fini(&line);
}

void session_log_bad_address(struct session *s, struct span text)
{
    log_warn("Illegal address syntax from %.*s in %s command: %.*s", SPAN_ARG(s->name_address),
             s->command, SPAN_ARG(text));
}

void session_log_client(struct session *s)
{
    struct str line = {0};

    str_printf(&line, "%s: client=%.*s", session_queue_id(s), SPAN_ARG(s->name_address));
    if (s->login.n > 0)
        str_printf(&line, ", sasl_method=%.*s, sasl_username=%.*s", SPAN_ARG(s->login_method),
                   SPAN_ARG(s->login));
    if (s->tx.auth_sender.n > 0)
        str_printf(&line, ", sasl_sender=%.*s", SPAN_ARG(s->tx.auth_sender));
    log_info("%.*s", SPAN_ARG(str_span(&line)));
    str_fini(&line);
}
