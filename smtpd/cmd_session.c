/* cmd_session.c: HELO, EHLO, RSET, NOOP, VRFY, HELP and QUIT. */
#include "base/error.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtpd/session.h"

/* What the name is shown as: in Received: and the log it must not look like syntax. */
static int set_helo(struct session *s, struct span argument)
{
    static const char neutered[] = " <>()\\\";@";

    str_clear(&s->helo_text);
    str_append(&s->helo_text, span_take(argument, 255));
    for (size_t i = 0; i < s->helo_text.len; i++)
        if (!ascii_is_print(s->helo_text.data[i]) || strchr(neutered, s->helo_text.data[i]) != NULL)
            s->helo_text.data[i] = '?';
    s->helo = str_span(&s->helo_text);
    return str_error(&s->helo_text);
}

/* What both greetings share: true when the name was taken. */
static bool greet(struct session *s, struct span argument, const char *verb)
{
    session_reset(s);
    if (argument.n == 0) {
        session_reply(s, "501 Syntax: %s hostname", verb);
        return false;
    }
    if (set_helo(s, argument) != 0) {
        session_reply(s, "452 4.3.1 Insufficient memory");
        return false;
    }
    if (!s->server->delay_reject && restrict_run(s, RESTRICT_HELO) == RESTRICT_REJECT) {
        session_reply_text(s, str_span(&s->reply_text));
        s->helo = SPAN_NONE;
        return false;
    }
    return true;
}

enum command_result cmd_helo(struct session *s, struct span argument)
{
    if (!greet(s, argument, "HELO"))
        return COMMAND_ERROR;
    s->protocol = "SMTP";
    session_reply(s, "250 %.*s", SPAN_ARG(s->server->myhostname));
    return COMMAND_OK;
}

static bool offers_auth(struct session *s)
{
    const struct server *server = s->server;

    if (!server->auth_enabled || (server->tls_auth_only && !session_is_secured(s)))
        return false;
    return server->sasl_exceptions == NULL ||
           map_match_find(server->sasl_exceptions, s->address) != 0;
}

/* With "=" for clients that were written to a draft of RFC 2554. */
static void print_mechanisms(const struct server *server, const char *mechanisms, struct str *out)
{
    str_printf(out, "250-AUTH %s\r\n", mechanisms);
    if (server->auth_broken_clients)
        str_printf(out, "250-AUTH=%s\r\n", mechanisms);
}

static void print_keywords(struct session *s, struct str *out)
{
    const struct server *server = s->server;
    unsigned offered = ~server->discarded_keywords;
    struct str mechanisms = {0};

    if (offered & EHLO_PIPELINING)
        str_append(out, SPAN_LIT("250-PIPELINING\r\n"));
    if ((offered & EHLO_SIZE) && server->message_size_limit > 0)
        str_printf(out, "250-SIZE %llu\r\n", (unsigned long long)server->message_size_limit);
    else if (offered & EHLO_SIZE)
        str_append(out, SPAN_LIT("250-SIZE\r\n"));
    if ((offered & EHLO_VRFY) && !server->vrfy_disabled)
        str_append(out, SPAN_LIT("250-VRFY\r\n"));
    if ((offered & EHLO_STARTTLS) && server->tls != NULL && !session_is_secured(s) &&
        !server->tls_wrapper)
        str_append(out, SPAN_LIT("250-STARTTLS\r\n"));
    if ((offered & EHLO_AUTH) && offers_auth(s) &&
        auth_offer(&mechanisms, span_cstr(server->auth_mechanisms),
                   session_is_secured(s) ? server->auth_plain_tls : server->auth_plain) == 0 &&
        mechanisms.len > 0)
        print_mechanisms(server, str_cstr(&mechanisms), out);
    str_fini(&mechanisms);
    if (offered & EHLO_ENHANCEDSTATUSCODES)
        str_append(out, SPAN_LIT("250-ENHANCEDSTATUSCODES\r\n"));
    if (offered & EHLO_8BITMIME)
        str_append(out, SPAN_LIT("250-8BITMIME\r\n"));
    if (offered & EHLO_CHUNKING)
        str_append(out, SPAN_LIT("250-CHUNKING\r\n"));
}

enum command_result cmd_ehlo(struct session *s, struct span argument)
{
    struct str out = {0};
    size_t last;

    if (!greet(s, argument, "EHLO"))
        return COMMAND_ERROR;
    s->protocol = "ESMTP";
    str_printf(&out, "250-%.*s\r\n", SPAN_ARG(s->server->myhostname));
    print_keywords(s, &out);
    /* The last line has a blank where the others have a hyphen. */
    last = 0;
    for (size_t i = 0; i + 2 < out.len; i++)
        if (out.data[i] == '\n')
            last = i + 1;
    if (str_error(&out) == 0) {
        out.data[last + 3] = ' ';
        session_reply_text(s, span_take(str_span(&out), out.len - 2));
    }
    str_fini(&out);
    return COMMAND_OK;
}

enum command_result cmd_rset(struct session *s, struct span argument)
{
    if (argument.n > 0) {
        session_reply(s, "501 5.5.4 Syntax: RSET");
        return COMMAND_ERROR;
    }
    session_reset(s);
    session_reply(s, "250 2.0.0 Ok");
    return COMMAND_OK;
}

enum command_result cmd_noop(struct session *s, struct span argument)
{
    (void)argument;
    session_reply(s, "250 2.0.0 Ok");
    return COMMAND_OK;
}

enum command_result cmd_vrfy(struct session *s, struct span argument)
{
    struct address address;
    struct span rest = argument;
    struct str internal;
    enum restrict_verdict verdict = RESTRICT_DUNNO;
    int rc;

    if (s->server->vrfy_disabled) {
        session_reply(s, "502 5.5.1 VRFY command is disabled");
        return COMMAND_ERROR;
    }
    if (s->server->helo_required && s->helo.n == 0) {
        session_reply(s, "503 5.5.1 Error: send HELO/EHLO first");
        return COMMAND_ERROR;
    }
    if (argument.n == 0) {
        session_reply(s, "501 5.5.4 Syntax: VRFY address");
        return COMMAND_ERROR;
    }
    if (address_parse_path(&s->tx.arena, &rest, 0, &address) != 0 || rest.n > 0) {
        session_log_bad_address(s, argument);
        session_reply(s, "501 5.1.3 Bad recipient address syntax");
        return COMMAND_ERROR;
    }
    str_init(&internal, s->budget);
    rc = address_print_internal(&internal, &address);
    if (rc == 0)
        rc = arena_copy(&s->tx.arena, str_span(&internal), &s->recipient);
    str_fini(&internal);
    s->recipient_text = argument;
    if (rc == 0)
        verdict = restrict_check_recipient(s);
    s->recipient = s->recipient_text = SPAN_NONE;
    if (rc != 0) {
        session_reply(s, "452 4.3.1 Insufficient memory");
        return COMMAND_ERROR;
    }
    if (verdict == RESTRICT_REJECT) {
        session_reply_text(s, str_span(&s->reply_text));
        return COMMAND_ERROR;
    }
    session_reply(s, "252 2.0.0 %.*s", SPAN_ARG(argument));
    return COMMAND_OK;
}

enum command_result cmd_help(struct session *s, struct span argument)
{
    (void)argument;
    session_reply(s, "214 2.0.0 Commands: HELO EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP "
                     "VRFY HELP QUIT; see RFC 5321");
    return COMMAND_OK;
}

enum command_result cmd_quit(struct session *s, struct span argument)
{
    (void)argument;
    session_reply(s, "221 2.0.0 Bye");
    return COMMAND_CLOSE;
}
