/* submit.c: from a finished transaction to a durable message. */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtpd/session.h"

bool submit_has_space(struct session *s)
{
    const struct server *server = s->server;
    uint64_t needed = server->message_size_limit + server->message_size_limit / 2;
    uint64_t available = server->queue.space(server->queue.arg);

    if (needed < server->queue_minfree)
        needed = server->queue_minfree;
    if (needed < s->tx.announced_size)
        needed = s->tx.announced_size;
    if (available > needed)
        return true;
    log_warn("not enough free space in mail queue: %llu bytes, and %llu are needed "
             "(queue_minfree, 1.5*message_size_limit)",
             (unsigned long long)available, (unsigned long long)needed);
    return false;
}

int submit_take_id(struct session *s)
{
    struct transaction *tx = &s->tx;
    int rc;

    if (tx->id.number != 0)
        return 0;
    rc = s->server->queue.take_id(s->server->queue.arg, &tx->id);
    if (rc < 0) {
        log_warn("no queue id from the queue manager: %s", error_text(rc));
        return rc;
    }
    queue_id_format(tx->id_text, tx->id);
    task_set_note(s->name_address, span_cstr(tx->id_text));
    session_log_client(s);
    return 0;
}

/* --- the header in front --- */

/* local_header_rewrite_clients: for whom a header is completed. */
static bool is_header_client(struct session *s)
{
    const struct server *server = s->server;

    if (server->rewrite_mynetworks && s->is_mynetworks)
        return true;
    if (server->rewrite_sasl && s->login.n > 0)
        return true;
    if (server->rewrite_inet_interfaces)
        for (size_t i = 0; i < server->own_address_count; i++) {
            struct net_address own;

            if (net_address_from_sockaddr(
                    (const struct sockaddr *)&server->own_addresses[i].address, &own) == 0 &&
                net_address_eq(&own, &s->peer))
                return true;
        }
    return server->rewrite_clients != NULL &&
           map_match_find(server->rewrite_clients, s->address) == 0;
}

static struct span client_address(struct session *s)
{
    const char *text;

    if (s->peer.family != AF_INET6)
        return s->address;
    text = arena_printf(&s->tx.arena, "IPv6:%.*s", SPAN_ARG(s->address));
    return text != NULL ? span_cstr(text) : s->address;
}

/* What the client's certificate says, as Postfix puts it into Received:. */
static struct span certificate_text(struct session *s, const struct tls_facts *facts)
{
    const char *text;

    if (facts->peer == TLS_PEER_ANONYMOUS)
        return s->server->tls_asks_certificate ? SPAN_LIT("(Client did not present a certificate)")
                                               : SPAN_LIT("(No client certificate requested)");
    text = arena_printf(&s->tx.arena, "(Client CN \"%s\", Issuer \"%s\" (%s))", facts->peer_subject,
                        facts->peer_issuer,
                        facts->peer == TLS_PEER_UNTRUSTED ? "not verified" : "verified OK");
    return span_cstr(text);
}

static struct span external_form(struct session *s, struct span internal)
{
    struct address address;
    const char *text;

    address_from_internal(internal, &address);
    text = address_text(&s->tx.arena, &address);
    return text != NULL ? span_cstr(text) : internal;
}

static int print_received(struct session *s, struct str *out, const struct intake_facts *facts)
{
    const struct tls_facts *tls = stream_tls(s->stream);
    struct intake_trace trace = {
        .helo = s->helo,
        .client_name = s->name,
        .client_address = client_address(s),
        .login = s->server->auth_header ? s->login : SPAN_NONE,
        .protocol = span_cstr(session_protocol(s)),
    };

    if (s->server->tls_received_header && tls != NULL) {
        trace.tls = span_cstr(tls->summary);
        trace.tls_client = certificate_text(s, tls);
    }
    if (s->tx.recipients.len == 1)
        trace.recipient = external_form(s, s->tx.recipients.items[0].address);
    return intake_print_received(out, &s->server->intake, facts, &trace);
}

static int append_content(void *upload_of, struct span octets)
{
    struct session *s = upload_of;

    return s->server->queue.append(s->tx.upload, octets);
}

static int insert_content(void *upload_of, uint64_t at, struct span octets)
{
    struct session *s = upload_of;

    return s->server->queue.insert(s->tx.upload, at, octets);
}

int submit_begin(struct session *s)
{
    struct transaction *tx = &s->tx;
    struct intake_facts facts = {
        .queue_id = span_cstr(tx->id_text),
        .sender = external_form(s, tx->sender),
        .arrival_s = tx->arrival_us / 1000000,
        .is_local = is_header_client(s),
    };
    struct str received;
    int rc;

    tx->intake = ARENA_NEW(&tx->arena, struct intake);
    if (tx->intake == NULL)
        return -ENOMEM;
    intake_begin(tx->intake, &s->server->intake, &facts, append_content, insert_content, s,
                 s->budget);
    rc = s->server->queue.begin(s->server->queue.arg, s->budget, &tx->upload);
    if (rc < 0)
        return rc;
    str_init(&received, s->budget);
    rc = print_received(s, &received, &facts);
    if (rc == 0 && tx->prepended.len > 0)
        rc = intake_prepend(tx->intake, str_span(&tx->prepended));
    if (rc == 0)
        rc = intake_prepend(tx->intake, str_span(&received));
    str_fini(&received);
    return rc;
}

/* --- the envelope --- */

static bool has_recipient(const struct queue_message *m, struct span address, struct span original)
{
    for (size_t i = 0; i < m->recipients.len; i++)
        if (span_ieq(m->recipients.items[i].address, address) &&
            span_ieq(m->recipients.items[i].original, original))
            return true;
    return false;
}

static int add_recipient(struct queue_message *m, struct span address, struct span original)
{
    struct queue_recipient *r;

    if (span_eq(address, original))
        original = SPAN_NONE;
    if (has_recipient(m, address, original))
        return 0;
    r = queue_message_add(m, address);
    if (r == NULL)
        return -ENOMEM;
    r->original = original;
    return 0;
}

/* One recipient of the client, through virtual_alias_maps. */
static int add_expanded(struct session *s, struct queue_message *m, struct span recipient)
{
    struct route_expansion expansion = {0};
    struct str why = {0};
    int rc = route_expand(s->server->route, recipient, &s->tx.arena, &expansion, &why);

    if (rc == ERR_LIMIT)
        log_warn("%s: %s", s->tx.id_text, str_cstr(&why));
    for (size_t i = 0; i < expansion.recipients.len && rc == 0; i++)
        rc = add_recipient(m, expansion.recipients.items[i], recipient);
    route_expansion_free(&expansion);
    str_fini(&why);
    return rc;
}

/* A recipient that the client did not give: no notification tells of it. */
static int add_bcc(struct session *s, struct queue_message *m, struct span recipient)
{
    size_t before = m->recipients.len;
    int rc = add_expanded(s, m, recipient);

    for (size_t i = before; i < m->recipients.len; i++)
        m->recipients.items[i].notify = QUEUE_NOTIFY_NEVER;
    return rc;
}

/* REDIRECT: one recipient in the place of the first, past virtual_alias_maps, as the queue
 * manager of Postfix does it. */
static int add_redirect(struct session *s, struct queue_message *m)
{
    struct transaction *tx = &s->tx;
    struct span address = SPAN_NONE;
    struct str text;
    int rc;

    str_init(&text, s->budget);
    rc = route_rewrite(s->server->route, ROUTE_CONTEXT_LOCAL, tx->redirect, &text);
    if (rc == 0)
        rc = arena_copy(&tx->arena, str_span(&text), &address);
    if (rc == 0)
        rc = add_recipient(m, address, tx->recipients.items[0].address);
    str_fini(&text);
    return rc;
}

static int fill_recipients(struct session *s, struct queue_message *m)
{
    struct transaction *tx = &s->tx;
    int rc = 0;

    if (tx->redirect.n > 0)
        return add_redirect(s, m);
    for (size_t i = 0; i < tx->recipients.len && rc == 0; i++) {
        rc = add_expanded(s, m, tx->recipients.items[i].address);
        (void)task_breathe();
    }
    for (size_t i = 0; i < tx->bcc.len && rc == 0; i++)
        rc = add_bcc(s, m, tx->bcc.items[i].address);
    return rc;
}

static void fill_envelope(struct session *s, struct queue_message *m)
{
    const struct transaction *tx = &s->tx;
    const struct tls_facts *tls = stream_tls(s->stream);

    m->id = tx->id;
    m->arrival_us = tx->arrival_us;
    m->sender = tx->sender;
    m->body = tx->body;
    m->flags = tx->is_held ? QUEUE_MESSAGE_HOLD : 0;
    m->login = s->login;
    m->login_method = s->login_method;
    m->login_sender = tx->auth_sender;
    m->client_name = s->name;
    m->client_address = s->address;
    m->client_port = s->port;
    m->client_helo = s->helo;
    m->client_protocol = span_cstr(session_protocol(s));
    m->client_tls = tls != NULL ? span_cstr(tls->summary) : SPAN_NONE;
    m->listener = span_cstr(s->server->listener);
    m->rewrite_context = tx->intake->facts.is_local ? SPAN_LIT("local") : SPAN_LIT("remote");
    /* REDIRECT overrides FILTER. */
    if (tx->filter.n > 0 && tx->redirect.n == 0) {
        size_t colon = (size_t)span_find(tx->filter, ':');

        m->transport = span_take(tx->filter, colon);
        m->next_hop = span_trim(span_drop(tx->filter, colon + 1));
    }
    m->message_id = str_span(&tx->intake->message_id);
}

/* The reply to a message that could not be taken; all of them say "try again". */
static const char *failure_text(int rc)
{
    switch (rc) {
    case -ENOSPC:
        return "452 4.3.1 Insufficient system storage";
    case -ENOMEM:
        return "452 4.3.1 Insufficient memory";
    case ERR_LIMIT:
        return "451 4.6.0 Error: alias expansion error";
    case ERR_TOO_LONG:
        return "452 4.5.3 Error: too many recipients";
    default:
        return "451 4.3.0 Error: queue file write error";
    }
}

static int commit(struct session *s)
{
    struct transaction *tx = &s->tx;
    struct queue_message m;
    void *upload = tx->upload;
    int rc;

    queue_message_init(&m, NULL);
    fill_envelope(s, &m);
    rc = fill_recipients(s, &m);
    if (rc == 0) {
        tx->upload = NULL; /* taken, whatever comes of it */
        rc = s->server->queue.commit(s->server->queue.arg, &m, upload);
    }
    queue_message_fini(&m);
    return rc;
}

enum command_result submit(struct session *s)
{
    struct transaction *tx = &s->tx;
    int rc = tx->intake->error;

    if (rc == 0 && !tx->is_discarded)
        rc = commit(s);
    if (rc < 0) {
        log_warn("%s: message not accepted from %.*s: %s", tx->id_text, SPAN_ARG(s->name_address),
                 error_text(rc));
        session_reply(s, "%s", failure_text(rc));
        return COMMAND_REFUSED;
    }
    if (tx->is_chunked)
        session_reply(s, "250 2.0.0 Ok: %llu bytes queued as %s",
                      (unsigned long long)tx->intake->size, tx->id_text);
    else
        session_reply(s, "250 2.0.0 Ok: queued as %s", tx->id_text);
    return COMMAND_OK;
}
