/* command.c: the command table. A command is one function and one row; what is
 * allowed when stands in the row. */
#include "base/error.h"
#include "base/log.h"
#include "smtpd/session.h"

enum command_flag {
    BEFORE_TLS = 1 << 0,  /* also while TLS is required and not there yet */
    JUNK = 1 << 1,        /* counts towards smtpd_junk_command_limit */
    LAST = 1 << 2,        /* what is pipelined behind it waits for the reply (RFC 2920 3.1) */
    DENIED = 1 << 3,      /* also for clients that were refused at connection time */
    ENDS_CHUNKS = 1 << 4, /* also between BDAT chunks */
};

struct command {
    const char *verb, *counter;
    command_fn *run;
    unsigned flags;
};

/* The order is that of the disconnect line. */
static const struct command commands[] = {
    {"HELO", "helo", cmd_helo, LAST | BEFORE_TLS | ENDS_CHUNKS},
    {"EHLO", "ehlo", cmd_ehlo, LAST | BEFORE_TLS | ENDS_CHUNKS},
    {"STARTTLS", "starttls", cmd_starttls, LAST | BEFORE_TLS},
    {"AUTH", "auth", cmd_auth, LAST},
    {"MAIL", "mail", cmd_mail, 0},
    {"RCPT", "rcpt", cmd_rcpt, 0},
    {"DATA", "data", cmd_data, LAST},
    {"BDAT", "bdat", cmd_bdat, ENDS_CHUNKS},
    {"RSET", "rset", cmd_rset, JUNK | ENDS_CHUNKS},
    {"NOOP", "noop", cmd_noop, JUNK | LAST | BEFORE_TLS | ENDS_CHUNKS},
    {"VRFY", "vrfy", cmd_vrfy, JUNK | LAST},
    {"HELP", "help", cmd_help, JUNK | BEFORE_TLS | ENDS_CHUNKS},
    {"QUIT", "quit", cmd_quit, BEFORE_TLS | DENIED | ENDS_CHUNKS},
};

enum { UNKNOWN = COUNT_OF(commands) };

_Static_assert(UNKNOWN < COUNT_OF(((struct session *)0)->ok), "a counter for every command");

static const struct command *find_command(struct span verb)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (span_ieq(verb, span_cstr(commands[i].verb)))
            return &commands[i];
    return NULL;
}

/* A word of a list parameter; typed members such as regexp: are not looked into. */
static bool list_has(const char *list, struct span word)
{
    struct span rest = span_cstr(list), item;

    while (span_token(&rest, ", \t", &item))
        if (span_ieq(item, word))
            return true;
    return false;
}

/* "Subject:" and the like: whoever sends it takes us for another kind of server, or
 * believes that its message has begun. */
static bool is_header(struct span verb)
{
    ptrdiff_t colon = span_find(verb, ':');

    for (ptrdiff_t i = 0; i < colon; i++)
        if (!ascii_is_print(verb.p[i]))
            return false;
    return colon > 0;
}

/* HTTP and the like: not a mail client, so no further word (RFC 5321 is not what it
 * speaks). */
static enum command_result forbidden(struct session *s, struct span line)
{
    log_warn("non-SMTP command from %.*s: %.*s", SPAN_ARG(s->name_address),
             SPAN_ARG(span_take(line, 100)));
    session_reply(s, "221 2.7.0 Error: I can break rules, too. Goodbye.");
    return COMMAND_CLOSE;
}

static enum command_result unknown(struct session *s, struct span verb, struct span line)
{
    s->total[UNKNOWN]++;
    s->command = "UNKNOWN";
    if (s->is_denied) {
        session_reply(s, "503 5.7.0 Error: access denied for %.*s", SPAN_ARG(s->name_address));
        return COMMAND_ERROR;
    }
    if (list_has(s->server->forbidden_commands, verb) || !ascii_is_alpha(verb.p[0]) ||
        is_header(verb))
        return forbidden(s, line);
    if (list_has(s->server->noop_commands, verb)) {
        session_reply(s, "250 2.0.0 Ok");
        if (s->junk++ > s->server->junk_command_limit)
            return COMMAND_ERROR;
        return COMMAND_OK;
    }
    session_reply(s, "500 5.5.2 Error: command not recognized");
    return COMMAND_ERROR;
}

/* The rows' flags against the session's state: true when a reply was given. */
static bool is_refused(struct session *s, const struct command *c)
{
    if (s->is_denied && !(c->flags & DENIED)) {
        session_reply(s, "503 5.7.0 Error: access denied for %.*s", SPAN_ARG(s->name_address));
        return true;
    }
    if (s->server->tls_required && !session_is_secured(s) && !(c->flags & BEFORE_TLS)) {
        session_reply(s, "530 5.7.0 Must issue a STARTTLS command first");
        return true;
    }
    if (s->tx.is_chunked && !(c->flags & ENDS_CHUNKS)) {
        session_reply(s, "503 5.5.1 Error: %s after BDAT", c->verb);
        return true;
    }
    return false;
}

enum command_result command_run(struct session *s, struct span line)
{
    struct span rest = line, verb = SPAN_NONE;
    const struct command *c;
    enum command_result result;
    size_t row;

    span_token(&rest, " \t", &verb);
    if (verb.n == 0) {
        session_reply(s, "500 5.5.2 Error: bad syntax");
        return COMMAND_ERROR;
    }
    c = memchr(line.p, '\0', line.n) == NULL ? find_command(verb) : NULL;
    if (c == NULL)
        return unknown(s, verb, line);
    row = (size_t)(c - commands);
    s->command = c->verb;
    s->total[row]++;
    if (is_refused(s, c)) {
        if (c->run == cmd_bdat)
            bdat_discard(s, rest);
        return COMMAND_ERROR;
    }
    if (s->server->forbid_pipelining && (c->flags & LAST) && s->was_pipelined &&
        c->run != cmd_data && !s->is_mynetworks && s->login.n == 0) {
        session_reply(s, "503 5.5.0 Error: improper use of SMTP command pipelining");
        log_info("disconnect: improper command pipelining after %s from %.*s", s->command,
                 SPAN_ARG(s->name_address));
        return COMMAND_CLOSE;
    }
    result = c->run(s, span_trim(rest));
    if (result == COMMAND_OK || (result == COMMAND_CLOSE && c->run == cmd_quit))
        s->ok[row]++;
    if ((c->flags & JUNK) && s->junk++ > s->server->junk_command_limit && result == COMMAND_OK)
        result = COMMAND_ERROR;
    return result;
}

static void print_count(struct str *out, const char *name, unsigned ok, unsigned total)
{
    if (ok == total && total > 0)
        str_printf(out, " %s=%u", name, total);
    else
        str_printf(out, " %s=%u/%u", name, ok, total);
}

void command_print_counts(const struct session *s, struct str *out)
{
    unsigned ok = 0, total = 0;

    for (size_t i = 0; i <= UNKNOWN; i++) {
        ok += s->ok[i];
        total += s->total[i];
        if (s->total[i] > 0)
            print_count(out, i == UNKNOWN ? "unknown" : commands[i].counter, s->ok[i], s->total[i]);
    }
    print_count(out, "commands", ok, total);
}
