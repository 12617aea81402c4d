#include "smtp/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/log.h"
#include "smtp/ehlo.h"

enum { PORT_SMTP = 25, QUIT_FLUSH_MS = 1000 };

/* What the making of a connection needs, and nobody afterwards. */
struct opening {
    struct connection *c;
    const struct settings *s;
    struct arena *arena;
    struct trouble *why;
    const char *next_hop;
    bool with_tls;
};

/* --- talking --- */

void connection_explain(const struct connection *c, int rc, const char *where, struct arena *arena,
                        struct trouble *why)
{
    switch (rc) {
    case -ETIMEDOUT:
        trouble_set(why, arena, "4.4.2", "conversation with %s timed out while %s", c->name, where);
        break;
    case -ENOMEM:
    case ERR_CORRUPT:
        trouble_set(why, arena, "4.3.0", "local data error while talking to %s", c->name);
        return;
    default:
        trouble_set(why, arena, "4.4.2", "lost connection with %s while %s", c->name, where);
    }
    why->site = true;
}

int connection_read(struct connection *c, int64_t timeout_ms)
{
    deadline_t deadline = deadline_in(timeout_ms);
    /* Even where a server answers before it is asked. */
    int rc = stream_flush(c->stream, deadline);

    if (rc == 0)
        rc = reply_read(&c->reply, c->stream, c->settings->reply_limit, deadline);
    if (rc == 0 && c->reply.code != 421)
        return 0;
    c->is_broken = true;
    if (rc == ERR_PROTOCOL)
        log_warn("non-ESMTP response from %.*s: %.*s", SPAN_ARG(c->relay),
                 SPAN_ARG(span_take(str_span(&c->reply.text), 100)));
    if (rc == ERR_TOO_LONG)
        log_warn("%.*s: response longer than %zu", SPAN_ARG(c->relay), c->settings->reply_limit);
    return rc;
}

/* One command and its reply, during the hello. */
static int command(struct opening *o, int64_t timeout_ms, const char *verb, const char *argument,
                   const char *where)
{
    struct connection *c = o->c;
    deadline_t deadline = deadline_in(timeout_ms);
    int rc =
        stream_printf(c->stream, deadline, "%s%s%s\r\n", verb, argument[0] ? " " : "", argument);

    if (rc == 0)
        rc = connection_read(c, timeout_ms);
    if (rc < 0)
        connection_explain(c, rc, where, o->arena, o->why);
    return rc;
}

static bool is_good(const struct reply *r)
{
    return r->code / 100 == 2;
}

static int refuse(struct opening *o, const char *before, const char *after)
{
    char *text = arena_printf(o->arena, "%s%s%s", before, o->c->name, after);

    trouble_reply(o->why, o->arena, &o->c->reply, o->c->host, text != NULL ? text : before, "");
    o->why->site = true;
    return ERR_DENIED;
}

/* --- hello --- */

/* RFC 5321 3.1; ESMTP in the greeting matters only for smtp_always_send_ehlo = no. */
static int greeting(struct opening *o, bool *is_esmtp)
{
    struct connection *c = o->c;
    int rc = connection_read(c, o->s->helo_ms);

    if (rc < 0) {
        connection_explain(c, rc, "receiving the initial server greeting", o->arena, o->why);
        return rc;
    }
    *is_esmtp = span_search(str_span(&c->reply.text), SPAN_LIT("ESMTP")) >= 0;
    if (is_good(&c->reply))
        return 0;
    /* Another host may take it: a server that is closed says nothing about mail. */
    if (c->reply.code / 100 == 5 && o->s->skip_5xx_greeting)
        c->reply.dsn.class = 4;
    return refuse(o, "host ", " refused to talk to me: ");
}

static int check_loop(struct opening *o, struct span name)
{
    if (o->c->peer.port != PORT_SMTP || !span_ieq(name, span_cstr(o->s->myhostname)))
        return 0;
    log_warn("host %s replied to HELO/EHLO with my own hostname %s", o->c->name, o->s->myhostname);
    trouble_set(o->why, o->arena, "5.4.6", "mail for %s loops back to myself", o->next_hop);
    o->why->is_final = true;
    return ERR_DENIED;
}

static int hello(struct opening *o, bool use_ehlo)
{
    struct connection *c = o->c;
    struct ehlo ehlo = {0};
    int rc;

    if (use_ehlo) {
        rc = command(o, o->s->helo_ms, "EHLO", o->s->helo_name, "performing the EHLO handshake");
        if (rc < 0)
            return rc;
        if (is_good(&c->reply)) {
            ehlo_parse(str_span(&c->reply.text), o->s->discarded, &ehlo);
            c->features = ehlo.features;
            c->size_limit = ehlo.size_limit;
            return check_loop(o, ehlo.name);
        }
        if (c->is_broken)
            return refuse(o, "host ", " refused to talk to me: ");
    }
    rc = command(o, o->s->helo_ms, "HELO", o->s->helo_name, "performing the HELO handshake");
    if (rc < 0)
        return rc;
    c->features = 0;
    return is_good(&c->reply) ? 0 : refuse(o, "host ", " refused to talk to me: ");
}

/* --- TLS --- */

static void log_established(const struct connection *c)
{
    struct str line = {0}, peer = {0};

    str_printf(&peer, "to %.*s", SPAN_ARG(c->relay));
    if (tls_print_established(&line, stream_tls(c->stream), str_span(&peer)) == 0)
        log_info("%s", str_cstr(&line));
    str_fini(&peer);
    str_fini(&line);
}

static int handshake(struct opening *o)
{
    struct connection *c = o->c;
    int rc;

    /* What came before the handshake is not protected (RFC 3207 6). */
    stream_discard_input(c->stream);
    rc = stream_start_tls_client(c->stream, o->s->tls, "", deadline_in(o->s->starttls_ms));
    if (rc < 0) {
        c->is_broken = true;
        if (rc == -ECANCELED)
            return rc;
        log_info("SSL_connect error to %.*s: %s", SPAN_ARG(c->relay),
                 rc == ERR_TLS ? stream_error_text(c->stream) : error_text(rc));
        trouble_set(o->why, o->arena, "4.7.5", "Cannot start TLS: handshake failure");
        o->why->site = true;
        return ERR_TLS;
    }
    if (o->s->tls_log_level >= 1)
        log_established(c);
    return 0;
}

static int start_tls(struct opening *o)
{
    struct connection *c = o->c;
    int rc;

    if ((c->features & SMTP_STARTTLS) && o->s->level == TLS_LEVEL_NONE && o->s->tls_note_offer)
        log_info("Host offered STARTTLS: [%s]", c->host);
    if (!o->with_tls)
        return 0;
    if (!(c->features & SMTP_STARTTLS)) {
        if (o->s->level < TLS_LEVEL_ENCRYPT)
            return 0;
        trouble_set(o->why, o->arena, "4.7.4", "TLS is required, but was not offered by host %s",
                    c->name);
        o->why->site = true;
        return ERR_DENIED;
    }
    rc = command(o, o->s->starttls_ms, "STARTTLS", "", "receiving the STARTTLS response");
    if (rc < 0)
        return rc;
    if (!is_good(&c->reply)) {
        if (o->s->level < TLS_LEVEL_ENCRYPT && !c->is_broken)
            return 0;
        return refuse(o, "TLS is required, but host ", " refused to start TLS: ");
    }
    rc = handshake(o);
    return rc < 0 ? rc : hello(o, true);
}

/* --- making and ending --- */

static int connect_to(struct opening *o)
{
    struct connection *c = o->c;
    struct str address = {0};
    int rc;

    net_address_print(&address, &c->peer);
    c->name = arena_printf(&c->arena, "%s[%s]", c->host, str_cstr(&address));
    c->relay =
        span_cstr(arena_printf(&c->arena, "%s[%s]:%u", c->host, str_cstr(&address), c->peer.port));
    str_fini(&address);
    if (c->name == NULL || c->relay.p == NULL)
        return -ENOMEM;
    rc = o->s->connect(o->s, &c->peer, &c->budget, &c->stream, deadline_in(o->s->connect_ms));
    if (rc < 0) {
        trouble_set(o->why, o->arena, "4.4.1", "connect to %.*s: %s", SPAN_ARG(c->relay),
                    error_text(rc));
        o->why->site = true;
        log_info("%.*s", SPAN_ARG(o->why->reason));
    }
    return rc;
}

static int say_hello(struct opening *o)
{
    bool is_esmtp = false;
    int rc = 0;

    if (o->s->tls_wrapper)
        rc = handshake(o);
    if (rc == 0)
        rc = greeting(o, &is_esmtp);
    if (rc == 0)
        rc = hello(o, !o->s->never_ehlo && (o->s->always_ehlo || is_esmtp));
    if (rc == 0 && !o->s->tls_wrapper)
        rc = start_tls(o);
    return rc;
}

int connection_open(struct connection **out, const struct settings *s, const struct exchanger *to,
                    const char *next_hop, bool with_tls, struct arena *arena, struct trouble *why)
{
    struct connection *c = NEW(struct connection);
    struct opening o = {c, s, arena, why, next_hop, with_tls && s->tls != NULL};
    int rc = -ENOMEM;

    *why = (struct trouble){0};
    if (c != NULL) {
        c->settings = s;
        c->peer = to->address;
        c->opened_ms = clock_mono_ms();
        budget_init(&c->budget, s->session_budget);
        arena_init(&c->arena, NULL);
        reply_init(&c->reply, &c->budget);
        str_init(&c->out, &c->budget);
        list_init(&c->link);
        c->host = arena_strdup(&c->arena, span_cstr(to->host));
        rc = c->host != NULL ? connect_to(&o) : -ENOMEM;
    }
    if (rc == 0) {
        rc = say_hello(&o);
        if (rc < 0 && why->relay.n == 0)
            arena_copy(arena, c->relay, &why->relay);
        if (why->remote_host.n > 0)
            arena_copy(arena, why->remote_host, &why->remote_host);
    }
    if (rc == 0) {
        *out = c;
        return 0;
    }
    if (!trouble_is_set(why))
        trouble_set(why, arena, "4.3.0", "%s", error_text(rc));
    if (rc != ERR_DENIED)
        connection_free(c);
    else
        connection_quit(c);
    return rc;
}

void connection_free(struct connection *c)
{
    if (c == NULL)
        return;
    task_timer_clear(&c->idle);
    list_remove(&c->link);
    stream_free(c->stream);
    reply_fini(&c->reply);
    str_fini(&c->out);
    arena_reset(&c->arena);
    free(c);
}

void connection_quit(struct connection *c)
{
    const struct settings *s = c->settings;

    if (!c->is_broken && !c->is_quit_sent && c->stream != NULL && !task_is_cancelled() &&
        stream_write(c->stream, SPAN_LIT("QUIT\r\n"), deadline_in(QUIT_FLUSH_MS)) == 0 &&
        stream_flush(c->stream, deadline_in(QUIT_FLUSH_MS)) == 0 && !s->skip_quit_response)
        connection_read(c, s->quit_ms);
    connection_free(c);
}

int connection_reset(struct connection *c)
{
    int rc = stream_write(c->stream, SPAN_LIT("RSET\r\n"), deadline_in(c->settings->rset_ms));

    if (rc == 0)
        rc = connection_read(c, c->settings->rset_ms);
    if (rc < 0 || !is_good(&c->reply) || c->is_broken) {
        c->is_broken = true;
        return rc < 0 ? rc : ERR_PROTOCOL;
    }
    c->is_transaction_open = false;
    return 0;
}

void connection_trim(struct connection *c)
{
    str_fini(&c->out);
    str_init(&c->out, &c->budget);
    reply_fini(&c->reply);
    reply_init(&c->reply, &c->budget);
}

bool connection_is_stale(const struct connection *c)
{
    char octet;
    ssize_t n;
    int fd = stream_fd(c->stream);

    if (stream_buffered(c->stream) > 0)
        return true;
    if (fd < 0)
        return false;
    n = recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    /* What comes under TLS may be a session ticket. */
    if (n > 0)
        return stream_tls(c->stream) == NULL;
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}
