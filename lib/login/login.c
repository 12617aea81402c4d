#include "login/login.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/session.h"
#include "base/encode.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/certificates.h"
#include "net/tlsproxy.h"

enum {
    AUTH_TIMEOUT_MS = 60000,
    TLS_TIMEOUT_MS = 60000,
    TLS_AWAY_MS = 5000, /* tlsproxy's start or restart; then TLS is refused */
    TLS_TRIES = 4,
    HAND_OVER_TIMEOUT_MS = 30000,
    REPLY_TIMEOUT_MS = 10000,
    PROTOCOL_VERSION = 1,
    ROUNDS_MAX = 8, /* of a SASL exchange */
    RESPONSE_LINE_MAX = 16384,
};

static struct {
    const struct login_protocol *protocol;
    struct auth_client *auth;
    struct ipc_client *tlsproxy;
    struct session_process *current; /* where clients go; NULL: to be found */
    const char *mechanisms;
    bool needs_tls, has_tls;
    int64_t timeout_ms;
    size_t memory_limit;
    unsigned failure_limit;
} shared;

int login_start(const struct conf *conf, const struct login_protocol *protocol)
{
    shared.protocol = protocol;
    shared.auth = auth_client_new();
    shared.tlsproxy = ipc_client_new(TLSPROXY_SOCKET, TLSPROXY_PROTOCOL, TLSPROXY_PROTOCOL_VERSION);
    shared.mechanisms = conf_string(conf, "auth_mechanisms");
    shared.needs_tls = conf_bool(conf, "disable_plaintext_auth");
    shared.has_tls = certificates_are_named(conf, "tlsproxy_tls");
    shared.timeout_ms = conf_ms(conf, "login_timeout");
    shared.memory_limit = (size_t)conf_int(conf, "session_memory_limit");
    shared.failure_limit = (unsigned)conf_int(conf, "login_failure_limit");
    return shared.auth == NULL || shared.tlsproxy == NULL ? -ENOMEM : 0;
}

deadline_t login_deadline(void)
{
    return deadline_in(shared.timeout_ms);
}

bool login_is_password_forbidden(const struct login *l)
{
    return shared.needs_tls && !l->is_secured;
}

bool login_is_too_often(struct login *l)
{
    return ++l->failures >= shared.failure_limit;
}

int login_offer(struct login *l, struct str *out)
{
    return auth_offer(out, span_cstr(shared.mechanisms), !login_is_password_forbidden(l));
}

/* --- a client's life --- */

static void fini(struct login *l)
{
    stream_free(l->stream);
    str_fini(&l->peer);
    str_fini(&l->local);
    str_fini(&l->tls);
    str_fini(&l->user);
}

/* Dovecot's wording, which log readers know. */
static void log_end(const struct login *l)
{
    log_info("%s (%s): user=<%s>, rip=%s, lip=%s%s%s",
             l->disconnect != NULL ? l->disconnect : "Disconnected",
             l->failures > 0 ? "auth failed" : "no auth attempts", str_cstr(&l->user),
             str_cstr(&l->peer), str_cstr(&l->local), l->tls.len > 0 ? ", TLS" : "",
             l->tls.len == 0 && l->is_secured ? ", secured" : "");
}

/* Takes fd. */
static void run(struct login *l, int fd)
{
    budget_init(&l->budget, shared.memory_limit);
    if (stream_new(&l->stream, fd, &l->budget) < 0)
        return;
    task_set_note(str_span(&l->peer), SPAN_NONE);
    shared.protocol->serve(l);
    if (l->stream != NULL)
        log_end(l);
}

/* One client that tlsproxy handed over. */
struct arrival {
    struct login login;
    int fd;
};

static void serve_arrival(void *arg)
{
    struct arrival *a = arg;

    run(&a->login, a->fd);
    fini(&a->login);
    free(a);
}

/* NULL when the client was taken, else why not. */
static const char *accept_arrival(struct ipc_in *m)
{
    struct arrival *a = NEW(struct arrival);
    struct span peer, local, tls;
    int rc;

    if (a == NULL)
        return "temporary";
    if (!ipc_is(m, "client") || ipc_get(m, "peer", &peer) < 0 || ipc_get(m, "local", &local) < 0 ||
        ipc_get(m, "tls", &tls) < 0 || ipc_take_fd(m, "client", &a->fd) < 0) {
        log_warn("a malformed client from tlsproxy was dropped");
        free(a);
        return "protocol";
    }
    a->login.is_secured = true;
    rc = str_set(&a->login.peer, peer);
    if (rc == 0)
        rc = str_set(&a->login.local, local);
    if (rc == 0)
        rc = str_set(&a->login.tls, tls);
    if (rc == 0)
        rc = service_client_spawn(shared.protocol->program, serve_arrival, a);
    if (rc == 0)
        return NULL;
    fd_close(&a->fd);
    fini(&a->login);
    free(a);
    return rc == ERR_LIMIT ? "limit" : "temporary";
}

/* tlsproxy's connection: every message is a client. */
static void serve_tlsproxy(int fd)
{
    struct ipc_conn *conn;
    struct ipc_in *m;

    if (ipc_accept(&conn, fd, LOGIN_PROTOCOL, LOGIN_PROTOCOL_VERSION, deadline_in(IPC_HELLO_MS)) <
        0)
        return;
    while (ipc_receive(conn, &m, DEADLINE_NONE) == 0) {
        const char *why = accept_arrival(m);
        struct ipc_out reply = {0};
        ipc_begin_reply(&reply, m);
        ipc_put_bool(&reply, "ok", why == NULL);
        ipc_put(&reply, "reason", span_cstr(why));
        ipc_in_free(m);
        (void)ipc_send(conn, &reply, deadline_in(REPLY_TIMEOUT_MS));
        ipc_out_fini(&reply);
    }
    /* Whom nobody has answered for goes to another process. */
    ipc_close_flushed(conn);
}

void login_serve_client(struct service_client *client)
{
    struct login l = {0};

    if (client->peer == NULL) {
        serve_tlsproxy(client->fd);
        return;
    }
    net_address_print(&l.peer, client->peer);
    net_address_print(&l.local, client->local);
    /* As in Dovecot, a client from the server's own address counts as secured. */
    l.is_secured = net_address_eq(client->peer, client->local);
    l.may_start_tls = shared.has_tls;
    run(&l, client->fd);
    fini(&l);
}

/* --- TLS --- */

static int offer_to_tlsproxy(const struct login *l, int fd, struct ipc_in **reply)
{
    struct ipc_out m = {0};
    int rc;

    ipc_begin(&m, "starttls");
    ipc_put_fd(&m, "client", fd);
    ipc_put(&m, "peer", str_span(&l->peer));
    rc = ipc_client_call(shared.tlsproxy, &m, reply, deadline_in(TLS_TIMEOUT_MS));
    ipc_out_fini(&m);
    return rc;
}

static int ask_tlsproxy(struct login *l, int fd, int *plain)
{
    struct ipc_in *reply = NULL;
    struct span tls, reason = SPAN_LIT("no answer");
    int rc = ERR_TRUNCATED;

    /* A tlsproxy that ends leaves requests unread, and answers those that it has begun. */
    for (int i = 0; rc == ERR_TRUNCATED && i < TLS_TRIES; i++)
        rc = offer_to_tlsproxy(l, fd, &reply);
    if (rc == 0 && ipc_get(reply, "tls", &tls) == 0 && str_set(&l->tls, tls) == 0)
        rc = ipc_take_fd(reply, "plain", plain);
    else if (rc == 0)
        rc = ERR_TLS;
    if (rc < 0) {
        if (reply != NULL)
            (void)ipc_get(reply, "reason", &reason);
        log_info("TLS handshaking failed: %.*s, rip=%s", SPAN_ARG(reason), str_cstr(&l->peer));
        l->disconnect = "Disconnected: TLS handshaking failed";
    }
    ipc_in_free(reply);
    return rc;
}

bool login_has_tlsproxy(struct login *l)
{
    int rc = ipc_client_connect(shared.tlsproxy, deadline_in(TLS_AWAY_MS));

    if (rc < 0)
        log_warn("TLS is refused, tlsproxy does not answer: %s, rip=%s", error_text(rc),
                 str_cstr(&l->peer));
    return rc == 0;
}

int login_start_tls(struct login *l)
{
    struct str unread = {0};
    int fd = -1, plain = -1, rc;

    rc = stream_flush(l->stream, login_deadline());
    if (rc < 0)
        return rc;
    /* What came before the handshake came from anybody (RFC 3501 6.2.1, RFC 2595 4). */
    stream_discard_input(l->stream);
    rc = stream_detach(l->stream, &fd, &unread);
    l->stream = NULL;
    str_fini(&unread);
    if (rc == 0)
        rc = ask_tlsproxy(l, fd, &plain);
    fd_close(&fd);
    if (rc < 0) {
        log_end(l);
        return rc;
    }
    l->is_secured = true;
    l->may_start_tls = false;
    return stream_new(&l->stream, plain, &l->budget);
}

/* --- authentication --- */

static bool shows_password(struct span mechanism)
{
    return span_ieq(mechanism, SPAN_LIT("PLAIN")) || span_ieq(mechanism, SPAN_LIT("LOGIN"));
}

static enum login_verdict judge(struct login *l, const struct auth_answer *answer,
                                struct str *session)
{
    if (answer->user.n > 0)
        str_set(&l->user, answer->user);
    switch (answer->outcome) {
    case AUTH_DONE:
        return str_set(session, answer->session) == 0 ? LOGIN_OK : LOGIN_UNAVAILABLE;
    case AUTH_FAILED:
        return LOGIN_FAILED;
    case AUTH_BAD:
        return span_istarts(answer->reason, SPAN_LIT("unsupported")) ? LOGIN_NO_MECHANISM
                                                                     : LOGIN_ABORTED;
    default:
        return LOGIN_UNAVAILABLE;
    }
}

/* Show a challenge and read the response. ERR_SYNTAX for what is not base64,
 * -ECANCELED when the client gives up, other negative codes when it is lost. */
static int ask(struct login *l, struct span challenge, struct str *response)
{
    struct str text = {0};
    struct span line;
    deadline_t deadline = login_deadline();
    int rc = base64_encode(&text, challenge);

    if (rc == 0)
        rc = stream_printf(l->stream, deadline, "+ %s\r\n", str_cstr(&text));
    str_fini(&text);
    if (rc == 0)
        rc = stream_read_line(l->stream, RESPONSE_LINE_MAX, &line, deadline);
    if (rc == ERR_TOO_LONG)
        return stream_skip_line(l->stream, deadline) < 0 ? ERR_EOF : ERR_SYNTAX;
    if (rc < 0)
        return rc == -ECANCELED ? ERR_EOF : rc;
    line = span_trim(line);
    if (span_eq(line, SPAN_LIT("*")))
        return -ECANCELED;
    return base64_decode(response, line);
}

/* The rounds of an exchange; *answer is the last one. */
static enum login_verdict converse(struct login *l, struct auth_exchange *e,
                                   struct auth_answer *answer)
{
    for (int round = 0; answer->outcome == AUTH_CONTINUE; round++) {
        struct str response = {.max = 8192};
        int rc = round < ROUNDS_MAX ? ask(l, answer->challenge, &response) : ERR_SYNTAX;

        if (rc == 0 && auth_step(e, str_span(&response), answer, deadline_in(AUTH_TIMEOUT_MS)) < 0)
            rc = ERR_EOF;
        str_fini_secret(&response);
        if (rc == -ECANCELED || rc == ERR_SYNTAX || rc == ERR_TOO_LONG)
            return LOGIN_ABORTED;
        if (rc < 0)
            return LOGIN_LOST;
    }
    return LOGIN_OK;
}

static struct auth_request make_request(const struct login *l, struct span mechanism)
{
    return (struct auth_request){
        .service = shared.protocol->name,
        .mechanism = mechanism,
        .client_address = str_span(&l->peer),
        .local_address = str_span(&l->local),
        .is_secured = l->is_secured,
    };
}

enum login_verdict login_authenticate(struct login *l, struct span mechanism,
                                      const struct span *initial, struct str *session)
{
    struct auth_request request = make_request(l, mechanism);
    struct auth_exchange *e;
    struct auth_answer answer;
    enum login_verdict verdict;

    if (shows_password(mechanism) && login_is_password_forbidden(l))
        return LOGIN_NEEDS_TLS;
    if (initial != NULL) {
        request.has_initial = true;
        request.initial = *initial;
    }
    if (auth_begin(shared.auth, &request, &e, &answer, deadline_in(AUTH_TIMEOUT_MS)) < 0)
        verdict = LOGIN_LOST;
    else
        verdict = converse(l, e, &answer);
    if (verdict == LOGIN_OK)
        verdict = judge(l, &answer, session);
    auth_exchange_free(e);
    return verdict;
}

enum login_verdict login_password(struct login *l, struct span user, struct span password,
                                  struct str *session)
{
    struct str initial = {.max = 8192};
    struct span text;
    enum login_verdict verdict = LOGIN_FAILED;

    /* A NUL would end the name within PLAIN's message (RFC 4616 2). */
    if (span_find(user, '\0') < 0 && span_find(password, '\0') < 0) {
        str_append_char(&initial, '\0');
        str_append(&initial, user);
        str_append_char(&initial, '\0');
        if (str_append(&initial, password) == 0) {
            text = str_span(&initial);
            verdict = login_authenticate(l, SPAN_LIT("PLAIN"), &text, session);
        }
    }
    str_fini_secret(&initial);
    return verdict;
}

/* --- handing over --- */

/* A process of imapd or pop3d; freed when it is no longer the current one and no client
 * is on its way to it. */
struct session_process {
    struct ipc_client *client;
    unsigned users;
};

/* A full process does not accept: a new connection reaches one that has room. */
static struct session_process *use_process(void)
{
    struct session_process *p = shared.current;

    if (p == NULL) {
        p = NEW(struct session_process);
        if (p == NULL)
            return NULL;
        p->client = ipc_client_new(shared.protocol->name, "session", PROTOCOL_VERSION);
        if (p->client == NULL) {
            free(p);
            return NULL;
        }
        shared.current = p;
    }
    p->users++;
    return p;
}

static void leave_process(struct session_process *p)
{
    if (--p->users > 0 || p == shared.current)
        return;
    ipc_client_free(p->client);
    free(p);
}

static int hand_over(const struct session_handover *h)
{
    deadline_t deadline = deadline_in(HAND_OVER_TIMEOUT_MS);
    int rc = -EBUSY;

    while (rc == -EBUSY && clock_mono_ms() < deadline) {
        struct session_process *p = use_process();

        if (p == NULL)
            return ERR_TEMPORARY;
        rc = session_hand_over(p->client, h, deadline);
        if (rc == -EBUSY && p == shared.current)
            shared.current = NULL;
        leave_process(p);
    }
    return rc == -EBUSY ? ERR_TEMPORARY : rc;
}

int login_hand_over(struct login *l, struct span session, struct span method, struct span tag)
{
    struct str unread = {0};
    struct span waiting = SPAN_NONE;
    struct session_handover h = {
        .session = session,
        .tag = tag,
        .peer = str_span(&l->peer),
        .local = str_span(&l->local),
        .tls = str_span(&l->tls),
        .is_secured = l->is_secured,
    };
    int rc = stream_flush(l->stream, login_deadline());

    if (rc == 0 && stream_buffered(l->stream) > 0)
        rc = stream_peek(l->stream, 1, &waiting, login_deadline());
    if (rc < 0)
        return ERR_TEMPORARY;
    h.fd = stream_fd(l->stream);
    h.unread = waiting;
    rc = hand_over(&h);
    if (rc == ERR_LIMIT || rc == ERR_TEMPORARY)
        return rc;
    if (rc < 0) {
        /* Two processes must never talk to one client: who asked lets go. */
        log_warn("user=<%s>, rip=%s: no answer from %s: %s", str_cstr(&l->user), str_cstr(&l->peer),
                 shared.protocol->name, error_text(rc));
        stream_free(l->stream);
        l->stream = NULL;
        return 0;
    }
    log_info("Login: user=<%s>, method=%.*s, rip=%s, lip=%s%s%s", str_cstr(&l->user),
             SPAN_ARG(method), str_cstr(&l->peer), str_cstr(&l->local),
             l->tls.len > 0 ? ", TLS" : "", l->tls.len == 0 && l->is_secured ? ", secured" : "");
    rc = stream_detach(l->stream, &h.fd, &unread);
    l->stream = NULL;
    str_fini(&unread);
    if (rc == 0)
        fd_close(&h.fd);
    return 0;
}
