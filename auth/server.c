#include "auth/server.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/bequest.h"
#include "auth/exchange.h"
#include "auth/tickets.h"
#include "auth/users.h"
#include "base/array.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "ipc/ipc.h"
#include "task/task.h"

enum {
    PROTOCOL_VERSION = 1,
    TICKETS_MAX = 100000,
    REPLY_TIMEOUT_MS = 10000,
    EXCHANGE_LIFETIME_MS = 300000,
    DRAIN_EXCHANGES_MS = 2000, /* at a reload others wait meanwhile */
    REQUESTS_AT_ONCE = 4096,   /* of one process; further ones wait in its socket */
};

/* Who may ask: a bit for each kind of service. */
enum asker {
    ASKER_SMTP = 1 << 0,
    ASKER_LOGIN = 1 << 1,
    ASKER_STORE = 1 << 2,
};

struct connection {
    struct list link;
    struct ipc_server server;
    struct task *reader;
    struct list exchanges;
    size_t exchange_count;
    uint64_t next_id; /* of exchanges */
    unsigned asker;
};

/* An exchange that waits for the client's next response, or is in a step. */
struct pending {
    struct list link;
    uint64_t id;
    struct exchange *exchange;
    char *service;
    char *client;
    char mechanism[32];
    int64_t started_ms;
    int64_t step_ms; /* begin of the present step */
    bool is_busy;
};

struct request {
    struct connection *connection;
    const struct ipc_in *message;
};

static struct {
    struct users *users;
    struct tickets *tickets;
    const char *mechanisms, *default_realm;
    int64_t failure_delay_ms;
    size_t exchange_limit;
    bool checks_uids;
    struct {
        uid_t uid;
        unsigned asker;
    } uids[8];
    size_t uid_count;
    struct list connections;
    bool is_draining;
    struct task_timer drain_timer;
} server;

/* --- who may ask what --- */

static int add_asker(const struct conf *conf, const char *parameter, unsigned asker,
                     struct str *why)
{
    const char *name = conf_string(conf, parameter);
    struct passwd *entry = getpwnam(name);

    if (entry == NULL) {
        str_printf(why, "%s: unknown user %s", parameter, name);
        return ERR_NOT_FOUND;
    }
    server.uids[server.uid_count].uid = entry->pw_uid;
    server.uids[server.uid_count++].asker = asker;
    return 0;
}

static unsigned asker_of(uid_t uid)
{
    unsigned asker = 0;

    if (!server.checks_uids || uid == 0)
        return ASKER_SMTP | ASKER_LOGIN | ASKER_STORE;
    for (size_t i = 0; i < server.uid_count; i++) {
        if (server.uids[i].uid == uid)
            asker |= server.uids[i].asker;
    }
    return asker;
}

/* --- answers --- */

static void send_reply(struct request *r, struct ipc_out *reply)
{
    /* When the asker is gone, nobody waits for the answer. */
    (void)ipc_send(r->connection->server.conn, reply, deadline_in(REPLY_TIMEOUT_MS));
    ipc_out_fini(reply);
}

static void reply_outcome(struct request *r, const char *outcome, const char *reason)
{
    struct ipc_out reply = {0};

    ipc_begin_reply(&reply, r->message);
    ipc_put(&reply, "outcome", span_cstr(outcome));
    ipc_put(&reply, "reason", span_cstr(reason));
    send_reply(r, &reply);
}

static void free_pending(struct connection *c, struct pending *p)
{
    list_remove(&p->link);
    c->exchange_count--;
    exchange_free(p->exchange);
    free(p->service);
    free(p->client);
    free(p);
}

/* While this process ends, a connection without exchanges is not needed any more. */
static void end_if_idle(struct connection *c)
{
    if (server.is_draining && c->exchange_count == 0)
        task_cancel(c->reader);
}

struct step {
    struct exchange *exchange;
    struct passwd_table *users;
    const struct span *input;
    struct str output;
    enum exchange_result result;
};

static void run_step(void *arg)
{
    struct step *s = arg;

    s->result = exchange_step(s->exchange, s->users, s->input, &s->output);
}

static void reply_done(struct request *r, struct pending *p, struct step *s)
{
    struct ipc_out reply = {0};
    struct str id = {0};
    bool is_smtp = span_eq(span_cstr(p->service), SPAN_LIT("smtp"));
    int rc = 0;

    if (!is_smtp)
        rc = tickets_issue(server.tickets, p->service, exchange_user(p->exchange),
                           exchange_account(p->exchange), clock_mono_ms(), &id);
    if (rc < 0) {
        log_error("no session id for %.*s: %s", SPAN_ARG(exchange_user(p->exchange)),
                  error_text(rc));
        reply_outcome(r, "unavailable", "too many logins at once");
    } else {
        ipc_begin_reply(&reply, r->message);
        ipc_put(&reply, "outcome", SPAN_LIT("done"));
        ipc_put(&reply, "user", exchange_user(p->exchange));
        ipc_put(&reply, "challenge", str_span(&s->output));
        if (is_smtp)
            ipc_put(&reply, "account", exchange_account(p->exchange));
        else
            ipc_put(&reply, "session", str_span(&id));
        send_reply(r, &reply);
    }
    str_fini_secret(&id);
}

static void reply_continue(struct request *r, struct pending *p, struct step *s)
{
    struct ipc_out reply = {0};

    ipc_begin_reply(&reply, r->message);
    ipc_put(&reply, "outcome", SPAN_LIT("continue"));
    ipc_put_u64(&reply, "exchange", p->id);
    ipc_put(&reply, "challenge", str_span(&s->output));
    send_reply(r, &reply);
}

static void reply_failed(struct request *r, struct pending *p)
{
    struct ipc_out reply = {0};

    log_info("%s-login: %s: %s authentication failed: %s (user=<%.*s>)", p->service, p->client,
             p->mechanism, exchange_reason(p->exchange), SPAN_ARG(exchange_user(p->exchange)));
    /* Counted from the begin of the step: how long the check took, which depends on
     * whether the user exists and how the password is stored, does not show. */
    (void)task_sleep(p->step_ms + server.failure_delay_ms);
    ipc_begin_reply(&reply, r->message);
    ipc_put(&reply, "outcome", SPAN_LIT("failed"));
    ipc_put(&reply, "user", exchange_user(p->exchange));
    ipc_put(&reply, "reason", SPAN_LIT("authentication failed"));
    send_reply(r, &reply);
}

/* Run a step and answer; frees the exchange when it is over. */
static void advance(struct request *r, struct pending *p, const struct span *input)
{
    struct step s = {.exchange = p->exchange, .input = input};

    p->is_busy = true;
    p->step_ms = clock_mono_ms();
    s.users = users_table(server.users);
    if (task_offload(TASK_POOL_CPU, run_step, &s) < 0)
        s.result = EXCHANGE_UNAVAILABLE;
    passwd_table_unref(s.users);
    p->is_busy = false;
    switch (s.result) {
    case EXCHANGE_CONTINUE:
        reply_continue(r, p, &s);
        break;
    case EXCHANGE_DONE:
        reply_done(r, p, &s);
        break;
    case EXCHANGE_FAILED:
        reply_failed(r, p);
        break;
    case EXCHANGE_BAD:
        reply_outcome(r, "bad", exchange_reason(p->exchange));
        break;
    case EXCHANGE_UNAVAILABLE:
        reply_outcome(r, "unavailable", exchange_reason(p->exchange));
        break;
    }
    str_fini_secret(&s.output);
    if (s.result != EXCHANGE_CONTINUE) {
        free_pending(r->connection, p);
        end_if_idle(r->connection);
    }
}

/* --- requests --- */

static bool is_service(struct span name)
{
    return span_eq(name, SPAN_LIT("smtp")) || span_eq(name, SPAN_LIT("imap")) ||
           span_eq(name, SPAN_LIT("pop3"));
}

/* Exchanges whose client went away without a word. */
static void drop_stale(struct connection *c)
{
    int64_t oldest_ms = clock_mono_ms() - EXCHANGE_LIFETIME_MS;

    LIST_FOR_SAFE(item, &c->exchanges)
    {
        struct pending *p = LIST_ITEM(item, struct pending, link);
        if (p->started_ms > oldest_ms)
            break;
        if (!p->is_busy)
            free_pending(c, p);
    }
}

static void answer_begin(struct request *r)
{
    struct connection *c = r->connection;
    struct span service, mechanism, client, input;
    struct exchange *exchange;
    struct pending *p;
    bool has_input;
    enum exchange_result result;

    if (ipc_get(r->message, "service", &service) < 0 || !is_service(service) ||
        ipc_get(r->message, "mechanism", &mechanism) < 0 ||
        ipc_get(r->message, "client", &client) < 0) {
        reply_outcome(r, "bad", "incomplete request");
        return;
    }
    if (server.is_draining) {
        reply_outcome(r, "again", "this process ends");
        return;
    }
    has_input = ipc_get(r->message, "initial", &input) == 0;
    drop_stale(c);
    if (c->exchange_count >= server.exchange_limit) {
        reply_outcome(r, "unavailable", "too many exchanges at once");
        return;
    }
    result = exchange_new(&exchange, mechanism, span_cstr(server.mechanisms), server.default_realm);
    if (result != EXCHANGE_CONTINUE) {
        reply_outcome(r, result == EXCHANGE_BAD ? "bad" : "unavailable",
                      "unsupported authentication mechanism");
        return;
    }
    p = NEW(struct pending);
    if (p == NULL || (p->service = mem_strdup(service)) == NULL ||
        (p->client = mem_strdup(client)) == NULL) {
        exchange_free(exchange);
        if (p != NULL)
            free(p->service);
        free(p);
        reply_outcome(r, "unavailable", "out of memory");
        return;
    }
    p->exchange = exchange;
    p->id = ++c->next_id;
    p->started_ms = clock_mono_ms();
    snprintf(p->mechanism, sizeof(p->mechanism), "%.*s", SPAN_ARG(mechanism));
    list_append(&c->exchanges, &p->link);
    c->exchange_count++;
    advance(r, p, has_input ? &input : NULL);
}

static struct pending *find_pending(struct request *r)
{
    uint64_t id;

    if (ipc_get_u64(r->message, "exchange", &id) < 0)
        return NULL;
    LIST_FOR(item, &r->connection->exchanges)
    {
        struct pending *p = LIST_ITEM(item, struct pending, link);
        if (p->id == id)
            return p->is_busy ? NULL : p;
    }
    return NULL;
}

static void answer_step(struct request *r)
{
    struct pending *p = find_pending(r);
    struct span input;

    if (p == NULL)
        reply_outcome(r, "lost", "no such exchange");
    else if (ipc_get(r->message, "response", &input) < 0)
        reply_outcome(r, "bad", "incomplete request");
    else
        advance(r, p, &input);
}

static void answer_cancel(struct request *r)
{
    struct pending *p = find_pending(r);

    if (p != NULL) {
        free_pending(r->connection, p);
        end_if_idle(r->connection);
    }
}

static void reply_account(struct request *r, struct span user, struct span account)
{
    struct ipc_out reply = {0};

    ipc_begin_reply(&reply, r->message);
    ipc_put(&reply, "outcome", SPAN_LIT("done"));
    ipc_put(&reply, "user", user);
    ipc_put(&reply, "account", account);
    send_reply(r, &reply);
}

static void answer_redeem(struct request *r)
{
    struct span id, service;
    struct str user = {0}, account = {0};

    if (ipc_get(r->message, "session", &id) < 0 || ipc_get(r->message, "service", &service) < 0)
        reply_outcome(r, "bad", "incomplete request");
    else if (tickets_redeem(server.tickets, id, service, clock_mono_ms(), &user, &account) < 0)
        reply_outcome(r, "failed", "no such session");
    else
        reply_account(r, str_span(&user), str_span(&account));
    str_fini(&user);
    str_fini(&account);
}

static void answer_lookup(struct request *r)
{
    struct span address;
    struct passwd_entry entry;
    struct passwd_table *users;

    if (ipc_get(r->message, "address", &address) < 0) {
        reply_outcome(r, "bad", "incomplete request");
        return;
    }
    users = users_table(server.users);
    if (passwd_table_find(users, address, &entry) < 0)
        reply_outcome(r, "failed", "unknown user");
    else
        reply_account(r, entry.user, entry.account);
    passwd_table_unref(users);
}

static const struct {
    const char *kind;
    unsigned askers;
    void (*answer)(struct request *r);
} requests[] = {
    {"begin", ASKER_SMTP | ASKER_LOGIN, answer_begin},
    {"step", ASKER_SMTP | ASKER_LOGIN, answer_step},
    {"cancel", ASKER_SMTP | ASKER_LOGIN, answer_cancel},
    {"redeem", ASKER_STORE, answer_redeem},
    {"lookup", ASKER_SMTP | ASKER_STORE, answer_lookup},
};

static int answer(struct ipc_server *s, struct ipc_in *message)
{
    struct request r = {CONTAINER_OF(s, struct connection, server), message};

    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        if (!ipc_is(message, requests[i].kind))
            continue;
        if (requests[i].askers & r.connection->asker)
            requests[i].answer(&r);
        else
            reply_outcome(&r, "bad", "not permitted");
        return 0;
    }
    reply_outcome(&r, "bad", "unknown request");
    return 0;
}

/* --- connections --- */

void server_run(int fd)
{
    struct connection c = {.reader = task_self()};
    struct ipc_conn *conn;

    list_init(&c.exchanges);
    /* Not those of a process before: a step that comes late must find nothing. */
    random_bytes(&c.next_id, sizeof(c.next_id));
    list_append(&server.connections, &c.link);
    end_if_idle(&c);
    if (ipc_accept(&conn, fd, "auth", PROTOCOL_VERSION, deadline_in(IPC_HELLO_MS)) < 0) {
        list_remove(&c.link);
        return;
    }
    c.asker = asker_of(ipc_peer_uid(conn));
    ipc_server_init(&c.server, conn, "auth request", REQUESTS_AT_ONCE, answer);
    (void)ipc_server_run(&c.server);
    list_remove(&c.link);
    task_shield(true);
    task_group_wait(&c.server.answers, DEADLINE_NONE);
    LIST_FOR_SAFE(item, &c.exchanges)
    free_pending(&c, LIST_ITEM(item, struct pending, link));
    ipc_close_flushed(conn);
}

static void drain_expired(struct task_timer *timer)
{
    LIST_FOR(item, &server.connections)
    task_cancel(LIST_ITEM(item, struct connection, link)->reader);
}

void server_drain(void)
{
    server.is_draining = true;
    LIST_FOR(item, &server.connections)
    end_if_idle(LIST_ITEM(item, struct connection, link));
    server.drain_timer.expired = drain_expired;
    task_timer_set(&server.drain_timer, deadline_in(DRAIN_EXCHANGES_MS));
}

void server_stop(void)
{
    task_timer_set(&server.drain_timer, DEADLINE_NONE);
    bequest_leave(server.tickets);
}

int server_load(const struct conf *conf, struct str *why)
{
    static const struct {
        const char *parameter;
        unsigned asker;
    } askers[] = {
        {"waypost_smtpd_user", ASKER_SMTP},
        {"waypost_login_user", ASKER_LOGIN},
        {"waypost_store_user", ASKER_STORE},
    };
    int rc = 0;

    if (exchange_library_start() < 0) {
        str_append_cstr(why, "GNU SASL does not start");
        return ERR_NOT_SUPPORTED;
    }
    server.checks_uids = geteuid() == 0;
    for (size_t i = 0; server.checks_uids && rc == 0 && i < COUNT_OF(askers); i++)
        rc = add_asker(conf, askers[i].parameter, askers[i].asker, why);
    if (rc == 0)
        rc = users_open(&server.users, conf_string(conf, "auth_passwd_file"), why);
    return rc;
}

int server_start(const struct conf *conf)
{
    list_init(&server.connections);
    server.mechanisms = conf_string(conf, "auth_mechanisms");
    server.default_realm = conf_string(conf, "auth_default_realm");
    server.failure_delay_ms = conf_ms(conf, "auth_failure_delay");
    server.exchange_limit = (size_t)conf_int(conf, "auth_exchange_limit");
    server.tickets = tickets_new(TICKETS_MAX, conf_ms(conf, "auth_session_timeout"));
    if (server.tickets == NULL)
        return -ENOMEM;
    bequest_take(server.tickets);
    return 0;
}
