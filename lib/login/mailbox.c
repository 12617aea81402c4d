#include "login/mailbox.h"

#include <errno.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "auth/session.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/log.h"

enum {
    PROTOCOL_VERSION = 1,
    REDEEM_TIMEOUT_MS = 30000,
    REPLY_TIMEOUT_MS = 10000,
    REQUESTS_AT_ONCE = 1024, /* of one process; further ones wait in its socket */
};

static struct {
    const struct mailbox_protocol *protocol;
    struct auth_client *auth;
    size_t memory_limit, user_limit;
    struct hash by_user; /* sessions per user and client address */
} shared;

/* How many sessions a user has from one address (mail_max_userip_connections). */
struct tally {
    struct hash_node node;
    char *key;
    size_t count;
};

struct client {
    struct mailbox_session session;
    struct tally *tally;
};

int mailbox_start(const struct conf *conf, const struct mailbox_protocol *protocol)
{
    shared.protocol = protocol;
    shared.auth = auth_client_new();
    shared.memory_limit = (size_t)conf_int(conf, "session_memory_limit");
    shared.user_limit = (size_t)conf_int(conf, "mail_max_userip_connections");
    return shared.auth != NULL ? 0 : -ENOMEM;
}

/* --- sessions per user and address --- */

static int find_tally(struct span user, struct span peer, struct tally **out)
{
    struct str key = {0};
    uint64_t hash;
    struct tally *t = NULL;

    if (str_printf(&key, "%.*s %.*s", SPAN_ARG(user), SPAN_ARG(peer)) < 0)
        return -ENOMEM;
    hash = span_hash(str_span(&key));
    for (struct hash_node *n = hash_first(&shared.by_user, hash); n != NULL && t == NULL;
         n = hash_next(n)) {
        struct tally *found = CONTAINER_OF(n, struct tally, node);
        if (span_eq(span_cstr(found->key), str_span(&key)))
            t = found;
    }
    if (t == NULL) {
        t = NEW(struct tally);
        if (t == NULL || (t->key = str_steal(&key)) == NULL ||
            hash_insert(&shared.by_user, &t->node, hash) < 0) {
            if (t != NULL)
                free(t->key);
            free(t);
            t = NULL;
        }
    }
    str_fini(&key);
    *out = t;
    return t != NULL ? 0 : -ENOMEM;
}

static void leave_tally(struct tally *t)
{
    if (t == NULL || --t->count > 0)
        return;
    hash_remove(&shared.by_user, &t->node);
    free(t->key);
    free(t);
}

/* --- a session's task --- */

static void free_client(struct client *c)
{
    struct mailbox_session *s = &c->session;

    stream_free(s->stream);
    str_fini(&s->user);
    str_fini(&s->account);
    str_fini(&s->tag);
    str_fini(&s->peer);
    str_fini(&s->local);
    str_fini(&s->tls);
    leave_tally(c->tally);
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
    if (find_tally(str_span(&c->session.user), str_span(&c->session.peer), &c->tally) < 0)
        goto refuse;
    if (++c->tally->count > shared.user_limit && shared.user_limit > 0) {
        log_warn("user=<%s>, rip=%s: Maximum number of connections from user+IP exceeded "
                 "(mail_max_userip_connections=%zu)",
                 str_cstr(&c->session.user), str_cstr(&c->session.peer), shared.user_limit);
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
    ipc_close(conn);
}
