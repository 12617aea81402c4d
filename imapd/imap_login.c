#include "imapd/imap_login.h"

#include <errno.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/error.h"
#include "imapd/capability.h"
#include "imapd/parse.h"
#include "imapd/reader.h"

enum {
    LINE_MAX_OCTETS = 16384,
    LITERAL_MAX_OCTETS = 16384, /* of a user name or password */
    BAD_COMMANDS_MAX = 10,
};

struct session {
    struct login *login;
    struct reader reader;
    struct arena arena; /* of one command */
    struct str tag;
    deadline_t deadline;
    unsigned bad_commands;
    bool is_over;
};

static void say(struct session *s, const char *line)
{
    if (stream_printf(s->login->stream, s->deadline, "%s\r\n", line) < 0)
        s->is_over = true;
}

static void answer(struct session *s, const char *text)
{
    if (stream_printf(s->login->stream, s->deadline, "%s %s\r\n", str_cstr(&s->tag), text) < 0)
        s->is_over = true;
}

static void bad(struct session *s, const char *text)
{
    answer(s, text);
    if (++s->bad_commands >= BAD_COMMANDS_MAX) {
        say(s, "* BYE Too many invalid IMAP commands.");
        s->login->disconnect = "Disconnected: Too many invalid commands";
        s->is_over = true;
    }
}

static int capabilities(struct session *s, struct str *out)
{
    struct str offer = {0};
    struct span rest, name;

    str_append_cstr(out, CAPABILITY_LOGIN);
    if (s->login->may_start_tls)
        str_append_cstr(out, " STARTTLS");
    if (login_is_password_forbidden(s->login))
        str_append_cstr(out, " LOGINDISABLED");
    login_offer(s->login, &offer);
    rest = str_span(&offer);
    while (span_token(&rest, " ", &name))
        str_printf(out, " AUTH=%.*s", SPAN_ARG(name));
    str_fini(&offer);
    return str_error(out);
}

/* --- what became of a login --- */

static void conclude(struct session *s, enum login_verdict verdict, struct span id,
                     struct span method)
{
    int rc;

    switch (verdict) {
    case LOGIN_OK:
        rc = login_hand_over(s->login, id, method, str_span(&s->tag));
        if (rc == 0)
            s->is_over = true;
        else if (rc == ERR_LIMIT)
            answer(s, "NO [LIMIT] Maximum number of connections from user+IP exceeded "
                      "(mail_max_userip_connections)");
        else
            answer(s, "NO [UNAVAILABLE] The mailbox service is not available now.");
        break;
    case LOGIN_FAILED:
        answer(s, "NO [AUTHENTICATIONFAILED] Authentication failed.");
        if (login_is_too_often(s->login)) {
            say(s, "* BYE Too many failed logins.");
            s->login->disconnect = "Disconnected: Too many failed logins";
            s->is_over = true;
        }
        break;
    case LOGIN_ABORTED:
        bad(s, "BAD Authentication aborted by client.");
        break;
    case LOGIN_NO_MECHANISM:
        answer(s, "NO Unsupported authentication mechanism.");
        break;
    case LOGIN_NEEDS_TLS:
        say(s,
            "* BAD [ALERT] Plaintext authentication not allowed without SSL/TLS, but your client "
            "did it anyway. If anyone was listening, the password was exposed.");
        answer(s, "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure "
                  "(SSL/TLS) connections.");
        break;
    case LOGIN_UNAVAILABLE:
        answer(s, "NO [UNAVAILABLE] Temporary authentication failure.");
        break;
    case LOGIN_LOST:
        s->is_over = true;
        break;
    }
}

/* --- commands --- */

static void command_capability(struct session *s, struct parse *p)
{
    struct str list = {0};

    if (capabilities(s, &list) == 0 &&
        stream_printf(s->login->stream, s->deadline, "* CAPABILITY %s\r\n", str_cstr(&list)) < 0)
        s->is_over = true;
    str_fini(&list);
    answer(s, "OK Pre-login capabilities listed, post-login capabilities have more.");
}

static void command_noop(struct session *s, struct parse *p)
{
    answer(s, "OK NOOP completed.");
}

static void command_logout(struct session *s, struct parse *p)
{
    say(s, "* BYE Logging out");
    answer(s, "OK Logout completed.");
    s->login->disconnect = "Aborted login by logging out";
    s->is_over = true;
}

/* RFC 2971: the client's words are not kept. */
static void command_id(struct session *s, struct parse *p)
{
    say(s, "* ID (\"name\" \"Waypost\")");
    answer(s, "OK ID completed.");
}

static void command_starttls(struct session *s, struct parse *p)
{
    if (!s->login->may_start_tls) {
        bad(s, s->login->tls.len > 0 ? "BAD TLS is already active."
                                     : "BAD TLS support isn't enabled.");
        return;
    }
    if (!login_has_tlsproxy(s->login)) {
        answer(s, "NO [UNAVAILABLE] TLS is not available now.");
        return;
    }
    answer(s, "OK Begin TLS negotiation now.");
    if (s->is_over || login_start_tls(s->login) < 0)
        s->is_over = true;
    else
        s->reader.stream = s->login->stream;
}

static void command_login(struct session *s, struct parse *p)
{
    struct span user, password;
    struct str id = {0};
    enum login_verdict verdict;

    if (!parse_space(p) || parse_astring(p, &user) < 0 || !parse_space(p) ||
        parse_astring(p, &password) < 0 || !parse_end(p)) {
        bad(s, "BAD Invalid arguments.");
        return;
    }
    verdict = login_password(s->login, user, password, &id);
    conclude(s, verdict, str_span(&id), SPAN_LIT("PLAIN"));
    str_fini_secret(&id);
}

static void command_authenticate(struct session *s, struct parse *p)
{
    struct span mechanism, text, *initial = NULL;
    struct str decoded = {0}, id = {0};
    enum login_verdict verdict;
    bool is_right;

    is_right = parse_space(p) && parse_atom(p, &mechanism) == 0;
    if (is_right && parse_space(p)) { /* SASL-IR, RFC 4959 */
        is_right = span_eq(p->rest, SPAN_LIT("=")) || base64_decode(&decoded, p->rest) == 0;
        text = str_span(&decoded);
        initial = &text;
    } else if (is_right) {
        is_right = parse_end(p);
    }
    if (is_right) {
        verdict = login_authenticate(s->login, mechanism, initial, &id);
        conclude(s, verdict, str_span(&id), mechanism);
    } else {
        bad(s, "BAD Invalid arguments.");
    }
    str_fini_secret(&decoded);
    str_fini_secret(&id);
}

static const struct {
    const char *name;
    void (*run)(struct session *s, struct parse *p);
} commands[] = {
    {"CAPABILITY", command_capability},
    {"NOOP", command_noop},
    {"LOGOUT", command_logout},
    {"ID", command_id},
    {"STARTTLS", command_starttls},
    {"LOGIN", command_login},
    {"AUTHENTICATE", command_authenticate},
};

static void dispatch(struct session *s)
{
    struct parse p = {.rest = str_span(&s->reader.text), .arena = &s->arena};
    struct span tag, name;

    if (parse_tag(&p, &tag) < 0 || !parse_space(&p) || parse_atom(&p, &name) < 0) {
        str_set(&s->tag, SPAN_LIT("*"));
        bad(s, "BAD Error in IMAP command received by server.");
        return;
    }
    str_set(&s->tag, tag);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (span_ieq(name, span_cstr(commands[i].name))) {
            commands[i].run(s, &p);
            return;
        }
    }
    bad(s, "BAD Error in IMAP command received by server.");
}

/* One command read and answered; negative when the client is lost. */
static int serve_command(struct session *s)
{
    int rc = reader_command(&s->reader, s->deadline);

    if (rc == 0) {
        if (s->reader.text.len > 0)
            dispatch(s);
    } else if (rc == ERR_TOO_LONG || rc == ERR_LIMIT || rc == -ENOMEM) {
        str_set(&s->tag, SPAN_LIT("*"));
        bad(s, "BAD Command is too long.");
        rc = rc == -ENOMEM ? rc : !s->is_over ? reader_skip_rest(&s->reader, s->deadline) : 0;
    }
    if (!s->is_over) {
        reader_clear(&s->reader);
        arena_reset(&s->arena);
    }
    return rc;
}

static void greet(struct session *s)
{
    struct str list = {0};

    if (capabilities(s, &list) == 0 &&
        stream_printf(s->login->stream, s->deadline, "* OK [CAPABILITY %s] Waypost ready.\r\n",
                      str_cstr(&list)) < 0)
        s->is_over = true;
    str_fini(&list);
}

static void serve(struct login *l)
{
    struct session s = {.login = l, .deadline = login_deadline()};
    int rc = 0;

    reader_init(&s.reader, l->stream, &l->budget, LINE_MAX_OCTETS, LITERAL_MAX_OCTETS);
    arena_init(&s.arena, &l->budget);
    greet(&s);
    while (!s.is_over && rc == 0)
        rc = serve_command(&s);
    if (rc == -ETIMEDOUT) {
        l->disconnect = "Disconnected: Inactivity";
        say(&s, "* BYE Disconnected for inactivity.");
    }
    if (l->stream != NULL)
        (void)stream_finish(l->stream, deadline_in(STREAM_FINISH_MS));
    reader_fini(&s.reader);
    arena_reset(&s.arena);
    str_fini(&s.tag);
}

const struct login_protocol imap_login_protocol = {
    .name = "imap",
    .program = "imap-login",
    .serve = serve,
};
