/* cmd_auth.c: AUTH (RFC 4954); the exchange itself is auth's business. */
#include <errno.h>

#include "base/encode.h"
#include "base/error.h"
#include "base/log.h"
#include "smtpd/session.h"

enum { AUTH_TIMEOUT_MS = 60000 };

/* True when the command may not begin; a reply was given. */
static bool is_refused(struct session *s)
{
    const struct server *server = s->server;

    if (s->server->helo_required && s->helo.n == 0)
        session_reply(s, "503 5.5.1 Error: send HELO/EHLO first");
    else if (!server->auth_enabled || (server->discarded_keywords & EHLO_AUTH))
        session_reply(s, "503 5.5.1 Error: authentication not enabled");
    else if (s->tx.is_open)
        session_reply(s, "503 5.5.1 Error: MAIL transaction in progress");
    else if (server->tls_auth_only && !session_is_secured(s))
        session_reply(s, "538 5.7.11 Encryption required for requested authentication mechanism");
    else if (s->login.n > 0)
        session_reply(s, "503 5.5.1 Error: already authenticated");
    else
        return false;
    return true;
}

/* Send a challenge and read the response into *response. 0, or ERR_SYNTAX, ERR_DENIED
 * (the client gave up with "*"), or an error of the stream. */
static int exchange(struct session *s, struct span challenge, struct str *response)
{
    struct str text;
    struct span line;
    int rc;

    str_init(&text, s->budget);
    str_append(&text, SPAN_LIT("334 "));
    rc = base64_encode(&text, challenge);
    if (rc == 0)
        session_reply_text(s, str_span(&text));
    str_fini(&text);
    if (rc != 0)
        return rc;
    rc = stream_read_line(s->stream, s->server->response_limit, &line, session_deadline(s));
    if (rc == ERR_TOO_LONG)
        (void)stream_skip_line(s->stream, session_deadline(s));
    if (rc < 0)
        return rc;
    line = span_trim(line);
    if (span_eq(line, SPAN_LIT("*")))
        return ERR_DENIED;
    str_clear(response);
    return base64_decode(response, line);
}

static void log_failure(struct session *s, struct span mechanism, const struct auth_answer *answer,
                        const char *text)
{
    struct str line = {0};

    str_printf(&line, "%.*s: SASL %.*s authentication failed: %s", SPAN_ARG(s->name_address),
               SPAN_ARG(mechanism), text);
    if (answer != NULL && answer->reason.n > 0)
        str_printf(&line, "%.*s", SPAN_ARG(answer->reason));
    if (answer != NULL && answer->user.n > 0)
        str_printf(&line, ", sasl_username=%.*s", SPAN_ARG(answer->user));
    log_warn("%s", str_cstr(&line));
    str_fini(&line);
}

static enum command_result accept_login(struct session *s, struct span mechanism,
                                        const struct auth_answer *answer)
{
    size_t split = answer->user.n;

    str_clear(&s->login_text);
    str_append(&s->login_text, answer->user);
    str_append(&s->login_text, mechanism);
    if (str_error(&s->login_text) != 0) {
        session_reply(s, "454 4.3.0 Temporary authentication failure");
        return COMMAND_REFUSED;
    }
    for (size_t i = split; i < s->login_text.len; i++)
        s->login_text.data[i] = ascii_upper(s->login_text.data[i]);
    s->login = span_take(str_span(&s->login_text), split);
    s->login_method = span_drop(str_span(&s->login_text), split);
    session_reply(s, "235 2.7.0 Authentication successful");
    return COMMAND_OK;
}

/* Whether the mechanism is one of auth_mechanisms. */
static bool is_configured(struct session *s, struct span mechanism)
{
    struct span rest = span_cstr(s->server->auth_mechanisms), item;

    while (span_token(&rest, ", \t", &item))
        if (span_ieq(item, mechanism))
            return true;
    return false;
}

/* The reply to the last word of auth. */
static enum command_result conclude(struct session *s, struct span mechanism,
                                    const struct auth_answer *answer)
{
    bool is_known = is_configured(s, mechanism);

    switch (answer->outcome) {
    case AUTH_DONE:
        return accept_login(s, mechanism, answer);
    case AUTH_UNAVAILABLE:
        log_failure(s, mechanism, answer, "Temporary authentication failure: ");
        session_reply(s, "454 4.7.0 Temporary authentication failure: %s",
                      "Connection lost to authentication server");
        return COMMAND_REFUSED;
    case AUTH_FAILED:
    case AUTH_BAD:
    case AUTH_CONTINUE:
        break;
    }
    log_failure(s, mechanism, answer, "");
    /* One text for a wrong name and a wrong password. */
    session_reply(s, "535 5.7.8 Error: authentication failed: %s",
                  is_known ? "(reason unavailable)" : "Invalid authentication mechanism");
    return COMMAND_ERROR;
}

/* A response that did not come or did not parse. */
static enum command_result broken(struct session *s, struct span mechanism, const char *where,
                                  int rc)
{
    switch (rc) {
    case ERR_DENIED:
        log_warn("%.*s: SASL %.*s authentication aborted", SPAN_ARG(s->name_address),
                 SPAN_ARG(mechanism));
        session_reply(s, "501 5.7.0 Authentication aborted");
        return COMMAND_ERROR;
    case ERR_TOO_LONG:
        session_reply(s, "500 5.5.6 SASL response limit exceeded");
        return COMMAND_ERROR;
    case ERR_SYNTAX:
        log_failure(s, mechanism, NULL, where);
        session_reply(s, "535 5.7.8 Error: authentication failed: %s", where);
        return COMMAND_ERROR;
    case -ENOMEM:
        session_reply(s, "454 4.3.0 Temporary authentication failure");
        return COMMAND_REFUSED;
    default:
        s->io_error = rc; /* gone or silent in mid-exchange: its answer is no command */
        return COMMAND_REFUSED;
    }
}

static enum command_result run_exchange(struct session *s, const struct auth_request *request)
{
    struct auth_exchange *e = NULL;
    struct auth_answer answer = {0};
    struct str response;
    enum command_result result;
    int rc = auth_begin(s->server->auth, request, &e, &answer, deadline_in(AUTH_TIMEOUT_MS));

    str_init(&response, s->budget);
    while (rc == 0 && answer.outcome == AUTH_CONTINUE) {
        rc = exchange(s, answer.challenge, &response);
        if (rc == 0)
            rc = auth_step(e, str_span(&response), &answer, deadline_in(AUTH_TIMEOUT_MS));
    }
    /* SMTP has no room for the server's last word beside 235, so it goes as a
     * challenge with an empty response (RFC 4954 4). */
    if (rc == 0 && answer.outcome == AUTH_DONE && answer.challenge.n > 0) {
        rc = exchange(s, answer.challenge, &response);
        if (rc == 0 && response.len > 0)
            rc = ERR_SYNTAX;
    }
    result = rc == 0
                 ? conclude(s, request->mechanism, &answer)
                 : broken(s, request->mechanism, "Invalid base64 data in continued response", rc);
    auth_exchange_free(e);
    str_fini_secret(&response);
    return result;
}

static bool shows_password(struct span mechanism)
{
    return span_ieq(mechanism, SPAN_LIT("PLAIN")) || span_ieq(mechanism, SPAN_LIT("LOGIN"));
}

enum command_result cmd_auth(struct session *s, struct span argument)
{
    struct span mechanism, initial, rest = argument;
    struct str decoded, local = {0};
    struct auth_request request = {.service = "smtp"};
    enum command_result result;
    int rc = 0;

    if (is_refused(s))
        return COMMAND_ERROR;
    if (!span_token(&rest, " \t", &mechanism)) {
        session_reply(s, "501 5.5.4 Syntax: AUTH mechanism");
        return COMMAND_ERROR;
    }
    str_init(&decoded, s->budget);
    request.has_initial = span_token(&rest, " \t", &initial);
    if (span_trim(rest).n > 0) {
        session_reply(s, "501 5.5.4 Syntax: AUTH mechanism");
        return COMMAND_ERROR;
    }
    /* "=" is an initial response that is empty (RFC 4954 4). */
    if (request.has_initial && !span_eq(initial, SPAN_LIT("=")))
        rc = base64_decode(&decoded, initial);
    if (rc != 0) {
        str_fini_secret(&decoded);
        return broken(s, mechanism, "Invalid base64 data in initial response", rc);
    }
    net_address_print(&local, &s->local);
    request.mechanism = mechanism;
    request.initial = str_span(&decoded);
    request.client_address = s->address;
    request.local_address = str_span(&local);
    request.is_secured = session_is_secured(s) ? s->server->auth_plain_tls : s->server->auth_plain;
    if (request.is_secured || !shows_password(mechanism)) {
        result = run_exchange(s, &request);
    } else {
        /* smtpd_sasl_security_options = noplaintext holds for what was not offered, too. */
        log_failure(s, mechanism, NULL, "Invalid authentication mechanism");
        session_reply(s,
                      "535 5.7.8 Error: authentication failed: Invalid authentication mechanism");
        result = COMMAND_ERROR;
    }
    str_fini_secret(&decoded);
    str_fini(&local);
    return result;
}
