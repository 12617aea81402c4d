/* cmd_mail.c: MAIL and RCPT: the envelope. */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtpd/session.h"

/* "FROM:" or "TO:" in front of a path; a blank behind the colon is tolerated. */
static bool take_prefix(struct span *argument, struct span prefix)
{
    if (!span_istarts(*argument, prefix))
        return false;
    *argument = span_drop(*argument, prefix.n);
    while (argument->n > 0 && ascii_is_blank(argument->p[0]))
        *argument = span_drop(*argument, 1);
    return argument->n > 0;
}

/* Parse a path: internal form, rewritten to what the queue gets, and the text form
 * for replies and log lines. 0, ERR_SYNTAX or -ENOMEM. */
static int take_path(struct session *s, struct span *argument, bool is_sender,
                     struct span *internal, struct span *text)
{
    unsigned flags =
        (s->server->strict_envelopes ? ADDRESS_STRICT : 0) | (is_sender ? ADDRESS_ALLOW_NULL : 0);
    struct address address;
    struct str plain, rewritten;
    const char *printed;
    int rc = address_parse_path(&s->tx.arena, argument, flags, &address);

    if (rc != 0)
        return rc == -ENOMEM ? rc : ERR_SYNTAX;
    if (argument->n > 0 && !ascii_is_blank(argument->p[0]))
        return ERR_SYNTAX;
    str_init(&plain, s->budget);
    str_init(&rewritten, s->budget);
    rc = address_print_internal(&plain, &address);
    if (rc == 0)
        rc = route_rewrite(s->server->route, ROUTE_CONTEXT_LOCAL, str_span(&plain), &rewritten);
    if (rc == 0)
        rc = arena_copy(&s->tx.arena, str_span(&rewritten), internal);
    str_fini(&plain);
    str_fini(&rewritten);
    printed = address_text(&s->tx.arena, &address);
    *text = span_cstr(printed != NULL ? printed : "");
    return printed == NULL ? -ENOMEM : rc;
}

static enum command_result out_of_memory(struct session *s)
{
    session_reply(s, "452 4.3.1 Insufficient memory");
    return COMMAND_ERROR;
}

static enum command_result bad_parameter(struct session *s, struct span keyword, struct span value)
{
    if (value.p != NULL)
        session_reply(s, "555 5.5.4 Unsupported option: %.*s=%.*s", SPAN_ARG(keyword),
                      SPAN_ARG(value));
    else
        session_reply(s, "555 5.5.4 Unsupported option: %.*s", SPAN_ARG(keyword));
    return COMMAND_ERROR;
}

/* RFC 4954 5: who submitted it first; logged, not otherwise used. */
static enum command_result take_auth_sender(struct session *s, struct span value)
{
    struct str sender;
    int rc;

    if (s->tx.auth_sender.n > 0) {
        session_reply(s, "503 5.5.4 Error: multiple AUTH= options");
        return COMMAND_ERROR;
    }
    if (span_eq(value, SPAN_LIT("<>")))
        return COMMAND_OK;
    str_init(&sender, s->budget);
    rc = xtext_decode(&sender, value);
    if (rc == 0)
        rc = arena_copy(&s->tx.arena, str_span(&sender), &s->tx.auth_sender);
    str_fini(&sender);
    if (rc == -ENOMEM)
        return out_of_memory(s);
    if (rc != 0) {
        session_reply(s, "501 5.5.4 Bad AUTH parameter syntax");
        return COMMAND_ERROR;
    }
    return COMMAND_OK;
}

static enum command_result bad_size(struct session *s)
{
    session_reply(s, "501 5.5.4 Bad message size syntax");
    return COMMAND_ERROR;
}

/* RFC 1870 6.1 */
static enum command_result take_size(struct session *s, struct span value)
{
    for (size_t i = 0; i < value.n; i++)
        if (!ascii_is_digit(value.p[i]))
            return bad_size(s);
    if (value.n == 0)
        return bad_size(s);
    if (value.n > 20 || span_to_u64(value, &s->tx.announced_size) != 0) {
        session_reply(s, "552 5.3.4 Message size exceeds file system imposed limit");
        return COMMAND_ERROR;
    }
    return COMMAND_OK;
}

static enum command_result take_mail_parameter(struct session *s, struct span keyword,
                                               struct span value)
{
    struct transaction *tx = &s->tx;

    if (span_ieq(keyword, SPAN_LIT("SIZE")) && value.p != NULL)
        return take_size(s, value);
    if (span_ieq(keyword, SPAN_LIT("BODY")) && span_ieq(value, SPAN_LIT("8BITMIME")))
        tx->body = QUEUE_BODY_8BITMIME;
    else if (span_ieq(keyword, SPAN_LIT("BODY")) && span_ieq(value, SPAN_LIT("7BIT")))
        tx->body = QUEUE_BODY_7BIT;
    else if (span_ieq(keyword, SPAN_LIT("AUTH")) && value.p != NULL)
        return take_auth_sender(s, value);
    else
        return bad_parameter(s, keyword, value);
    return COMMAND_OK;
}

static enum command_result take_mail_parameters(struct session *s, struct span rest)
{
    struct span keyword, value;

    while (esmtp_param_next(&rest, &keyword, &value)) {
        enum command_result result = take_mail_parameter(s, keyword, value);

        if (result != COMMAND_OK)
            return result;
    }
    rest = span_trim(rest);
    if (span_ieq(rest, SPAN_LIT("SIZE=")))
        return bad_size(s);
    if (rest.n > 0)
        return bad_parameter(s, rest, SPAN_NONE);
    if (s->server->message_size_limit > 0 && s->tx.announced_size > s->server->message_size_limit) {
        session_reply(s, "552 5.3.4 Message size exceeds fixed limit");
        return COMMAND_ERROR;
    }
    return COMMAND_OK;
}

enum command_result cmd_mail(struct session *s, struct span argument)
{
    struct transaction *tx = &s->tx;
    enum command_result result;
    struct span path;
    int rc;

    if (s->server->helo_required && s->helo.n == 0) {
        session_reply(s, "503 5.5.1 Error: send HELO/EHLO first");
        return COMMAND_ERROR;
    }
    if (tx->is_open) {
        session_reply(s, "503 5.5.1 Error: nested MAIL command");
        return COMMAND_ERROR;
    }
    if (!take_prefix(&argument, SPAN_LIT("FROM:"))) {
        session_reply(s, "501 5.5.4 Syntax: MAIL FROM:<address>");
        return COMMAND_ERROR;
    }
    session_reset(s);
    path = argument;
    rc = take_path(s, &argument, true, &tx->sender, &tx->sender_text);
    if (rc == -ENOMEM)
        return out_of_memory(s);
    if (rc != 0) {
        session_log_bad_address(s, path);
        session_reply(s, "501 5.1.7 Bad sender address syntax");
        return COMMAND_ERROR;
    }
    result = take_mail_parameters(s, argument);
    if (result == COMMAND_OK && !submit_has_space(s)) {
        static const char full[] = "452 4.3.1 Insufficient system storage";

        tx->is_open = true; /* for the log line */
        session_log_reject(s, "reject", span_cstr(full));
        session_reply(s, "%s", full);
        result = COMMAND_ERROR;
    }
    if (result == COMMAND_OK && !s->server->delay_reject) {
        tx->is_open = true; /* for the log line */
        if (restrict_run(s, RESTRICT_SENDER) == RESTRICT_REJECT) {
            session_reply_text(s, str_span(&s->reply_text));
            result = COMMAND_ERROR;
        }
    }
    if (result != COMMAND_OK) {
        session_reset(s);
        return result;
    }
    tx->is_open = true;
    tx->arrival_us = clock_wall_us();
    session_reply(s, "250 2.1.0 Ok");
    return COMMAND_OK;
}

/* smtpd_recipient_limit: the rest goes into another transaction (RFC 5321
 * 4.5.3.1.10); only a client that does not listen is in error. */
static enum command_result too_many(struct session *s)
{
    session_reply(s, "452 4.5.3 Error: too many recipients");
    return s->tx.overshoot++ < s->server->recipient_overshoot_limit ? COMMAND_REFUSED
                                                                    : COMMAND_ERROR;
}

static enum command_result add_recipient(struct session *s)
{
    struct session_recipient *r;
    int rc = submit_take_id(s);

    if (rc < 0) {
        session_reply(s, "451 4.3.0 Error: queue file write error");
        return COMMAND_REFUSED;
    }
    r = array_push(&s->tx.recipients);
    if (r == NULL)
        return out_of_memory(s);
    r->address = s->recipient;
    session_reply(s, "250 2.1.5 Ok");
    return COMMAND_OK;
}

/* RFC 5321 4.5.1: <postmaster> is always somebody here. Where myorigin is not a local
 * domain, the host's own postmaster takes it. */
static int keep_postmaster(struct session *s)
{
    const struct server *server = s->server;
    const char *own;

    if (!span_ieq(s->recipient_text, SPAN_LIT("postmaster")) ||
        route_is_local_domain(server->route, route_domain(s->recipient)) != 0)
        return 0;
    own = arena_printf(&s->tx.arena, "postmaster@%.*s", SPAN_ARG(server->myhostname));
    s->recipient = span_cstr(own);
    return own == NULL ? -ENOMEM : 0;
}

enum command_result cmd_rcpt(struct session *s, struct span argument)
{
    struct span keyword, value, path;
    enum command_result result;
    int rc;

    if (!s->tx.is_open) {
        session_reply(s, "503 5.5.1 Error: need MAIL command");
        return COMMAND_ERROR;
    }
    if (!take_prefix(&argument, SPAN_LIT("TO:"))) {
        session_reply(s, "501 5.5.4 Syntax: RCPT TO:<address>");
        return COMMAND_ERROR;
    }
    path = argument;
    rc = take_path(s, &argument, false, &s->recipient, &s->recipient_text);
    if (rc == 0)
        rc = keep_postmaster(s);
    if (rc == -ENOMEM) {
        result = out_of_memory(s);
    } else if (rc != 0 || s->recipient.n == 0) {
        session_log_bad_address(s, path);
        session_reply(s, "501 5.1.3 Bad recipient address syntax");
        result = COMMAND_ERROR;
    } else if (esmtp_param_next(&argument, &keyword, &value)) {
        result = bad_parameter(s, keyword, value);
    } else if (span_trim(argument).n > 0) {
        result = bad_parameter(s, span_trim(argument), SPAN_NONE);
    } else if (s->tx.recipients.len >= s->server->recipient_limit) {
        result = too_many(s);
    } else if (restrict_check_recipient(s) == RESTRICT_REJECT) {
        session_reply_text(s, str_span(&s->reply_text));
        result = COMMAND_ERROR;
    } else {
        result = add_recipient(s);
    }
    s->recipient = s->recipient_text = SPAN_NONE;
    return result;
}
