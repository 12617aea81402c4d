/*
 * peer.c: who is the client: its address, the name its address has, and whether
 * that name leads back to the address. A name that does not is not used.
 */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "smtpd/session.h"

enum { NAME_TIMEOUT_MS = 30000, ADDRESSES_MAX = 64 };

static bool answer_has(const struct dns_answer *answer, const struct net_address *peer)
{
    for (size_t i = 0; i < answer->count && i < ADDRESSES_MAX; i++)
        if (net_address_eq(&answer->records[i].address, peer))
            return true;
    return false;
}

static void set_name(struct session *s, const char *name)
{
    const char *copy = arena_strdup(&s->arena, span_cstr(name));

    if (copy != NULL)
        s->name = span_cstr(copy);
}

/* Does name lead to the client's address? */
static void verify_name(struct session *s, const char *name, deadline_t deadline)
{
    struct dns_answer answer = {0};
    enum dns_type type = s->peer.family == AF_INET6 ? DNS_AAAA : DNS_A;
    int rc = dns_query(s->server->resolver, name, type, 0, &answer, deadline);

    if (rc == 0 && answer_has(&answer, &s->peer)) {
        set_name(s, name);
    } else {
        s->is_name_temporary = rc != 0 && rc != ERR_NOT_FOUND && rc != ERR_SYNTAX;
        if (rc == 0)
            log_warn("hostname %s does not resolve to address %.*s", name, SPAN_ARG(s->address));
        else
            log_warn("hostname %s does not resolve to address %.*s: %s", name, SPAN_ARG(s->address),
                     answer.reason != NULL ? answer.reason : "");
    }
    dns_answer_fini(&answer);
}

static void look_up_name(struct session *s)
{
    const struct server *server = s->server;
    deadline_t deadline = deadline_in(NAME_TIMEOUT_MS);
    struct dns_answer answer = {0};
    const char *known = server->hosts ? hosts_find_name(server->hosts, &s->peer) : NULL;
    struct str question = {0};
    int rc;

    if (known != NULL && dns_is_hostname(span_cstr(known))) {
        set_name(s, known);
        s->reverse_name = s->name;
        return;
    }
    if (server->resolver == NULL)
        return;
    net_address_print_reverse(&question, &s->peer);
    rc = dns_query(server->resolver, str_cstr(&question), DNS_PTR, 0, &answer, deadline);
    str_fini(&question);
    s->is_name_temporary = rc != 0 && rc != ERR_NOT_FOUND && rc != ERR_SYNTAX;
    if (rc == 0 && answer.count > 0) {
        const char *name = answer.records[0].host;

        if (dns_is_hostname(span_cstr(name))) {
            struct span copy;

            if (arena_copy(&s->arena, span_cstr(name), &copy) == 0)
                s->reverse_name = copy;
            verify_name(s, name, deadline);
        } else {
            log_warn("address %.*s has a malformed name %s", SPAN_ARG(s->address), name);
        }
    }
    dns_answer_fini(&answer);
}

int peer_identify(struct session *s)
{
    const struct server *server = s->server;
    struct str text = {0};
    const char *name_address;
    int rc;

    s->name = s->reverse_name = SPAN_LIT("unknown");
    net_address_print(&text, &s->peer);
    rc = arena_copy(&s->arena, str_span(&text), &s->address);
    if (rc == 0) {
        const char *port = arena_printf(&s->arena, "%u", s->peer.port);

        s->port = span_cstr(port);
        task_set_note(s->address, SPAN_NONE);
        if (server->peername_lookup && s->peer.family != AF_UNSPEC)
            look_up_name(s);
        name_address =
            server->port_logging
                ? arena_printf(&s->arena, "%.*s[%.*s]:%u", SPAN_ARG(s->name), SPAN_ARG(s->address),
                               s->peer.port)
                : arena_printf(&s->arena, "%.*s[%.*s]", SPAN_ARG(s->name), SPAN_ARG(s->address));
        s->name_address = span_cstr(name_address);
        rc = name_address == NULL || port == NULL ? -ENOMEM : 0;
    }
    str_fini(&text);
    if (rc == 0) {
        task_set_note(s->name_address, SPAN_NONE);
        s->is_mynetworks = server->mynetworks != NULL &&
                           map_match_find_client(server->mynetworks, s->name, s->address) == 0;
    }
    return rc;
}
