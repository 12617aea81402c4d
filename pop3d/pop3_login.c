#include "pop3d/pop3_login.h"

#include <errno.h>

#include "base/encode.h"
#include "base/error.h"
#include "base/mem.h"

enum {
    LINE_MAX_OCTETS = 12288, /* RFC 2449 4 asks for 255, a SASL response for more */
    BAD_COMMANDS_MAX = 10,
};

struct session {
    struct login *login;
    struct str name; /* from USER */
    deadline_t deadline;
    unsigned bad_commands;
    bool is_over;
};

static void say(struct session *s, const char *line)
{
    if (stream_printf(s->login->stream, s->deadline, "%s\r\n", line) < 0)
        s->is_over = true;
}

/* --- commands --- */

static void conclude(struct session *s, enum login_verdict verdict, struct span id,
                     struct span method)
{
    switch (verdict) {
    case LOGIN_OK:
        /* pop3d says +OK when the mailbox is open, or -ERR [IN-USE]. */
        if (login_hand_over(s->login, id, method, SPAN_NONE) < 0)
            say(s, "-ERR [SYS/TEMP] The mailbox service is not available now.");
        else
            s->is_over = true;
        break;
    case LOGIN_FAILED:
        say(s, "-ERR [AUTH] Authentication failed.");
        if (login_is_too_often(s->login)) {
            s->login->disconnect = "Disconnected: Too many failed logins";
            s->is_over = true;
        }
        break;
    case LOGIN_ABORTED:
        say(s, "-ERR Authentication aborted.");
        break;
    case LOGIN_NO_MECHANISM:
        say(s, "-ERR Unsupported authentication mechanism.");
        break;
    case LOGIN_NEEDS_TLS:
        say(s,
            "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.");
        break;
    case LOGIN_UNAVAILABLE:
        say(s, "-ERR [SYS/TEMP] Temporary authentication failure.");
        break;
    case LOGIN_LOST:
        s->is_over = true;
        break;
    }
}

static void command_capa(struct session *s, struct span argument)
{
    struct str offer = {0};

    login_offer(s->login, &offer);
    say(s, "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING");
    if (s->login->may_start_tls)
        say(s, "STLS");
    if (!login_is_password_forbidden(s->login))
        say(s, "USER");
    if (offer.len > 0 && !s->is_over &&
        stream_printf(s->login->stream, s->deadline, "SASL %s\r\n", str_cstr(&offer)) < 0)
        s->is_over = true;
    say(s, ".");
    str_fini(&offer);
}

static void command_stls(struct session *s, struct span argument)
{
    if (!s->login->may_start_tls) {
        say(s, s->login->tls.len > 0 ? "-ERR TLS is already active."
                                     : "-ERR TLS support isn't enabled.");
        return;
    }
    if (!login_has_tlsproxy(s->login)) {
        say(s, "-ERR [SYS/TEMP] TLS is not available now.");
        return;
    }
    say(s, "+OK Begin TLS negotiation now.");
    str_fini(&s->name);
    if (s->is_over || login_start_tls(s->login) < 0)
        s->is_over = true;
}

static void command_user(struct session *s, struct span argument)
{
    if (login_is_password_forbidden(s->login))
        conclude(s, LOGIN_NEEDS_TLS, SPAN_NONE, SPAN_NONE);
    else if (argument.n == 0 || str_set(&s->name, argument) < 0)
        say(s, "-ERR No username given.");
    else
        say(s, "+OK");
}

static void command_pass(struct session *s, struct span argument)
{
    struct str id = {0};
    enum login_verdict verdict;

    if (s->name.len == 0) {
        say(s, "-ERR No username given.");
        return;
    }
    verdict = login_password(s->login, str_span(&s->name), argument, &id);
    str_fini(&s->name);
    conclude(s, verdict, str_span(&id), SPAN_LIT("PLAIN"));
    str_fini_secret(&id);
}

/* AUTH [mechanism [initial-response]] (RFC 5034 4). */
static void command_auth(struct session *s, struct span argument)
{
    struct span mechanism, text, *initial = NULL;
    struct str offer = {0}, decoded = {0}, id = {0}, method = {0};
    enum login_verdict verdict;

    if (!span_token(&argument, " ", &mechanism)) {
        login_offer(s->login, &offer);
        for (size_t i = 0; i < offer.len; i++)
            offer.data[i] = offer.data[i] == ' ' ? '\n' : offer.data[i];
        say(s, "+OK");
        for (struct span rest = str_span(&offer), name; span_token(&rest, "\n", &name);) {
            if (stream_printf(s->login->stream, s->deadline, "%.*s\r\n", SPAN_ARG(name)) < 0)
                s->is_over = true;
        }
        say(s, ".");
        str_fini(&offer);
        return;
    }
    str_set(&method, mechanism); /* the line goes away while we wait */
    if (span_token(&argument, " ", &text)) {
        if (!span_eq(text, SPAN_LIT("=")) && base64_decode(&decoded, text) < 0) {
            say(s, "-ERR Invalid base64 data in initial response.");
            str_fini(&decoded);
            str_fini(&method);
            return;
        }
        text = str_span(&decoded);
        initial = &text;
    }
    verdict = login_authenticate(s->login, str_span(&method), initial, &id);
    conclude(s, verdict, str_span(&id), str_span(&method));
    str_fini_secret(&decoded);
    str_fini_secret(&id);
    str_fini(&method);
}

static void command_noop(struct session *s, struct span argument)
{
    say(s, "+OK");
}

static void command_quit(struct session *s, struct span argument)
{
    say(s, "+OK Logging out");
    s->login->disconnect = "Aborted login by logging out";
    s->is_over = true;
}

static const struct {
    const char *name;
    void (*run)(struct session *s, struct span argument);
} commands[] = {
    {"CAPA", command_capa}, {"STLS", command_stls}, {"USER", command_user}, {"PASS", command_pass},
    {"AUTH", command_auth}, {"NOOP", command_noop}, {"QUIT", command_quit},
};

static void dispatch(struct session *s, struct span line)
{
    struct span verb = line, argument = SPAN_NONE;
    ptrdiff_t blank;

    while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    blank = span_find(line, ' ');
    verb = blank >= 0 ? span_take(line, (size_t)blank) : line;
    if (blank >= 0)
        argument = span_drop(line, (size_t)blank + 1);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (span_ieq(verb, span_cstr(commands[i].name))) {
            commands[i].run(s, argument);
            return;
        }
    }
    say(s, "-ERR Unknown command.");
    if (++s->bad_commands >= BAD_COMMANDS_MAX) {
        s->login->disconnect = "Disconnected: Too many bad commands";
        s->is_over = true;
    }
}

static void serve(struct login *l)
{
    struct session s = {.login = l, .deadline = login_deadline()};
    struct span line;
    int rc = 0;

    say(&s, "+OK Waypost ready.");
    while (!s.is_over && rc == 0) {
        rc = stream_read_line(l->stream, LINE_MAX_OCTETS, &line, s.deadline);
        if (rc == 0) {
            dispatch(&s, line);
        } else if (rc == ERR_TOO_LONG) {
            say(&s, "-ERR Line too long.");
            rc = stream_skip_line(l->stream, s.deadline);
        } else if (rc == -ETIMEDOUT) {
            l->disconnect = "Disconnected: Inactivity";
            say(&s, "-ERR [SYS/TEMP] Disconnected for inactivity.");
        }
    }
    if (l->stream != NULL)
        (void)stream_finish(l->stream, deadline_in(STREAM_FINISH_MS));
    str_fini(&s.name);
}

const struct login_protocol pop3_login_protocol = {
    .name = "pop3",
    .program = "pop3-login",
    .serve = serve,
};
