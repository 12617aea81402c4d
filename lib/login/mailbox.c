#include "login/mailbox.h"

#include <errno.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "auth/session.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "service/anvil.h"

enum {
    PROTOCOL_VERSION = 1,
    REDEEM_TIMEOUT_MS = 30000,
    REPLY_TIMEOUT_MS = 10000,
    ANVIL_TIMEOUT_MS = 5000,
    REQUESTS_AT_ONCE = 1024, /* of one process; further ones wait in its socket */
};

static struct {
    const struct mailbox_protocol *protocol;
    struct auth_client *auth;
    struct ipc_client *anvil;
    size_t memory_limit, user_limit;
} shared;

struct client {
    struct mailbox_session session;
    bool is_counted; /* anvil knows about it */
};

int mailbox_start(const struct conf *conf, const struct mailbox_protocol *protocol)
{
    shared.protocol = protocol;
    shared.auth = auth_client_new();
    shared.anvil = anvil_client_new();
    shared.memory_limit = (size_t)conf_int(conf, "session_memory_limit");
    shared.user_limit = (size_t)conf_int(conf, "mail_max_userip_connections");
    return shared.auth != NULL && shared.anvil != NULL ? 0 : -ENOMEM;
}

/* --- sessions per user and address, over all processes --- */

static struct span count_name(const struct client *c, struct str *text)
{
    str_printf(text, "%s/%s", shared.protocol->name, str_cstr(&c->session.account));
    return str_span(text);
}

/* ERR_LIMIT: mail_max_userip_connections. Without anvil there is no count. */
static int count_session(struct client *c)
{
    struct net_address peer;
    struct anvil_counts counts = {0};
    struct str name = {0};
    int rc;

    if (shared.user_limit == 0 || net_address_parse(str_span(&c->session.peer), &peer) < 0)
        return 0;
    rc = anvil_connect(shared.anvil, count_name(c, &name), &peer, &counts,
                       deadline_in(ANVIL_TIMEOUT_MS));
    str_fini(&name);
    c->is_counted = rc == 0;
    if (counts.connections <= shared.user_limit)
        return 0;
    log_warn("user=<%s>, rip=%s: Maximum number of connections from user+IP exceeded "
             "(mail_max_userip_connections=%zu)",
             str_cstr(&c->session.user), str_cstr(&c->session.peer), shared.user_limit);
    return ERR_LIMIT;
}

static void uncount_session(struct client *c)
{
    struct net_address peer;
    struct str name = {0};

    if (!c->is_counted || net_address_parse(str_span(&c->session.peer), &peer) < 0)
        return;
    anvil_disconnect(shared.anvil, count_name(c, &name), &peer);
    str_fini(&name);
}

/* --- a session's task --- */

static void free_client(struct client *c)
{
    struct mailbox_session *s = &c->session;

    stream_free(s->stream);
    uncount_session(c);
    str_fini(&s->user);
    str_fini(&s->account);
    str_fini(&s->tag);
    str_fini(&s->peer);
    str_fini(&s->local);
    str_fini(&s->tls);
    free(c);
}

static void run_session(void *arg)
{
    struct client *c = arg;
    struct str note = {0};

    str_printf(&note, "%s[%s]", str_cstr(&c->session.user), str_cstr(&c->session.peer));
    task_set_note(str_span(&note), SPAN_NONE);
    str_fini(&note);
    shared.protocol->serve(&c->session);
    free_client(c);
}

static int fill(struct client *c, const struct session_handover *h)
{
    struct mailbox_session *s = &c->session;

    budget_init(&s->budget, shared.memory_limit);
    s->is_secured = h->is_secured;
    str_set(&s->tag, h->tag);
    str_set(&s->peer, h->peer);
    str_set(&s->local, h->local);
    str_set(&s->tls, h->tls);
    return str_error(&s->tag) | str_error(&s->peer) | str_error(&s->local) | str_error(&s->tls);
}

/* Everything that must be right before the login process is told "ok". *why is for
 * the reply. Takes h->fd. */
static struct client *admit(struct session_handover *h, const char **why)
{
    struct client *c = NEW(struct client);
    int fd = h->fd;

    h->fd = -1;
    *why = "temporary";
    if (c == NULL || fill(c, h) < 0)
        goto refuse;
    if (auth_redeem(shared.auth, h->session, shared.protocol->name, &c->session.user,
                    &c->session.account, deadline_in(REDEEM_TIMEOUT_MS)) < 0) {
        log_warn("a session id from %.*s was refused", SPAN_ARG(h->peer));
        goto refuse;
    }
    if (count_session(c) < 0) {
        *why = "limit";
        goto refuse;
    }
    if (stream_new(&c->session.stream, fd, &c->session.budget) < 0) {
        fd = -1;
        goto refuse;
    }
    fd = -1;
    if (stream_feed(c->session.stream, h->unread) < 0)
        goto refuse;
    return c;
refuse:
    fd_close(&fd);
    if (c != NULL)
        free_client(c);
    return NULL;
}

static void reply(struct ipc_conn *conn, const struct ipc_in *request, const char *why)
{
    struct ipc_out m = {0};

    ipc_begin_reply(&m, request);
    ipc_put_bool(&m, "ok", why == NULL);
    if (why != NULL)
        ipc_put(&m, "reason", span_cstr(why));
    /* Without its login process the client still has its session. */
    (void)ipc_send(conn, &m, deadline_in(REPLY_TIMEOUT_MS));
    ipc_out_fini(&m);
}

/* NULL when a session's task has begun, or why not. A place is taken before the session
 * id is redeemed: when there is none, another process can still redeem it. */
static const char *take_session(struct session_handover *h)
{
    const char *why;
    struct client *c;

    if (service_client_admit() < 0) {
        fd_close(&h->fd);
        return "full";
    }
    c = admit(h, &why);
    service_client_release(); /* the task takes its own, at once */
    if (c == NULL)
        return why;
    if (service_client_spawn(shared.protocol->name, run_session, c) == 0)
        return NULL;
    free_client(c);
    return "temporary";
}

static int answer_session(struct ipc_server *server, struct ipc_in *request)
{
    struct session_handover h;

    reply(server->conn, request, session_decode(request, &h) == 0 ? take_session(&h) : "protocol");
    return 0;
}

void mailbox_serve_client(struct service_client *client)
{
    struct ipc_server server;
    struct ipc_conn *conn;

    if (ipc_accept(&conn, client->fd, "session", PROTOCOL_VERSION, deadline_in(IPC_HELLO_MS)) < 0)
        return;
    ipc_server_init(&server, conn, "hand-over", REQUESTS_AT_ONCE, answer_session);
    (void)ipc_server_run(&server);
    task_shield(true);
    task_group_wait(&server.answers, DEADLINE_NONE);
    ipc_close_flushed(conn);
}
