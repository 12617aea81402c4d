/*
 * resolve.c: the transport, next hop and recipient of an address; what
 * trivial-rewrite(8) answers to a "resolve" request.
 */
#include <errno.h>

#include "base/error.h"
#include "mail/address.h"
#include "route/internal.h"

/* The address while it is being taken apart: domains of ours are stripped and what
 * is left is looked at again, until only a local part or a foreign domain remains. */
struct dissection {
    struct str text;
    struct span domain;       /* foreign domain, inside text; empty: local */
    struct span saved_domain; /* the last domain of ours that was stripped; arena */
};

static bool has_routing(const struct route *r, struct span text)
{
    return span_find(text, '@') >= 0 || (r->swap_bangpath && span_find(text, '!') >= 0) ||
           (r->percent_hack && span_find(text, '%') >= 0);
}

/* Could the text stand in an address without quotes? */
static bool needs_quotes(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c <= 32 || c == 127 || strchr("()<>[]:;@\\,\"", c) != NULL)
            return true;
    }
    return false;
}

static void strip_dot(struct str *text)
{
    if (text->len > 1 && text->data[text->len - 1] == '.' && text->data[text->len - 2] != '.' &&
        text->data[text->len - 2] != '@')
        str_truncate(text, text->len - 1);
}

/* Replace "user%host" and the like by "user@host". */
static int apply_routing(const struct route *r, struct str *text)
{
    struct str rewritten;
    int rc;

    str_init(&rewritten, text->budget);
    rc = route_rewrite(r, ROUTE_CONTEXT_LOCAL, str_span(text), &rewritten);
    if (rc == 0)
        rc = str_set(text, str_span(&rewritten));
    str_fini(&rewritten);
    return rc;
}

/* One step: 1 when there is more to do, 0 when done. */
static int dissect_step(const struct route *r, struct arena *arena, struct dissection *d)
{
    struct span text;
    ptrdiff_t at;
    int rc;

    strip_dot(&d->text);
    if (r->resolve_null_domain && d->text.len > 0 && d->text.data[d->text.len - 1] == '@') {
        str_truncate(&d->text, d->text.len - 1);
        return 1;
    }
    text = str_span(&d->text);
    at = span_rfind(text, '@');
    if (at >= 0) {
        struct span domain = span_drop(text, (size_t)at + 1);

        rc = route_is_local_domain(r, domain);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            d->domain = domain;
            return 0;
        }
        rc = arena_copy(arena, domain, &d->saved_domain);
        if (rc < 0)
            return rc;
        str_truncate(&d->text, (size_t)at);
        text = str_span(&d->text);
    }
    if (has_routing(r, text) && (r->resolve_dequoted || !needs_quotes(text))) {
        rc = apply_routing(r, &d->text);
        return rc < 0 ? rc : 1;
    }
    return 0;
}

static int dissect(const struct route *r, struct span address, struct arena *arena,
                   struct dissection *d)
{
    int rc = 1;

    str_init(&d->text, arena->budget);
    d->domain = d->saved_domain = SPAN_NONE;
    str_append(&d->text, address.n > 0 ? address : r->empty_recipient);
    if (str_error(&d->text) != 0)
        return str_error(&d->text);
    /* Every step removes an operator, so this is a bound and not a limit. */
    for (size_t steps = address.n + 100; rc == 1 && steps > 0; steps--)
        rc = dissect_step(r, arena, d);
    if (rc == 0 && d->text.len == 0)
        rc = str_append(&d->text, r->empty_recipient);
    return rc == 1 ? ERR_LIMIT : rc;
}

/* "transport:nexthop" of a parameter; without next hop it is the given one. */
static void split_transport(struct span value, struct span *transport, struct span *next_hop)
{
    ptrdiff_t colon = span_find(value, ':');

    *transport = colon < 0 ? value : span_take(value, (size_t)colon);
    if (colon >= 0 && (size_t)colon + 1 < value.n)
        *next_hop = span_drop(value, (size_t)colon + 1);
}

static bool is_valid_domain(struct span domain)
{
    int family;
    uint8_t ip[16];

    if (domain.n > 0 && domain.p[0] == '[')
        return address_literal_ip(domain, true, &family, ip) == 0;
    return address_is_domain(domain, true, true);
}

static int resolve_foreign(const struct route *r, struct span domain, struct route_result *out)
{
    int rc = route_classify(r, domain, &out->class);

    if (rc < 0)
        return rc;
    out->is_malformed = !is_valid_domain(domain);
    out->next_hop = domain;
    switch (out->class) {
    case ROUTE_CLASS_VIRTUAL_ALIAS:
        out->transport = SPAN_LIT("error");
        out->next_hop = r->show_unknown_table
                            ? SPAN_LIT("5.1.1 User unknown in virtual alias table")
                            : SPAN_LIT("5.1.1 User unknown");
        break;
    case ROUTE_CLASS_VIRTUAL_MAILBOX:
        split_transport(r->virtual_transport, &out->transport, &out->next_hop);
        break;
    case ROUTE_CLASS_RELAY:
    case ROUTE_CLASS_DEFAULT:
    case ROUTE_CLASS_LOCAL:
        /* relayhost replaces the domain, a next hop in the transport replaces both. */
        if (r->relayhost.n > 0)
            out->next_hop = r->relayhost;
        split_transport(out->class == ROUTE_CLASS_RELAY ? r->relay_transport : r->default_transport,
                        &out->transport, &out->next_hop);
        break;
    }
    return 0;
}

static int resolve_local(const struct route *r, struct dissection *d, struct route_result *out)
{
    struct span domain = d->saved_domain.n > 0 ? d->saved_domain : r->myhostname;

    out->class = ROUTE_CLASS_LOCAL;
    str_append_char(&d->text, '@');
    str_append(&d->text, domain);
    out->next_hop = domain;
    split_transport(r->local_transport, &out->transport, &out->next_hop);
    return str_error(&d->text);
}

/* relocated_maps (relocated(5)): the recipient has moved. */
static int apply_relocated(const struct route *r, struct arena *arena, struct route_result *out)
{
    struct str value;
    int rc;

    if (r->relocated_maps == NULL)
        return 0;
    str_init(&value, arena->budget);
    rc = route_find_address(r, r->relocated_maps, out->recipient, &value, NULL);
    if (rc == 0) {
        const char *text =
            arena_printf(arena, "5.1.6 User has moved to %.*s", SPAN_ARG(str_span(&value)));

        out->transport = SPAN_LIT("error");
        out->next_hop = span_cstr(text);
        rc = text == NULL ? -ENOMEM : 0;
    }
    str_fini(&value);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Whatever swap_bangpath and percent_hack say here: the next MX host may read the
 * operators, and we would be the relay that made it one. */
static bool is_routed(struct span local)
{
    return span_find(local, '@') >= 0 || span_find(local, '!') >= 0 || span_find(local, '%') >= 0;
}

int route_resolve(const struct route *r, struct span recipient, struct arena *arena,
                  struct route_result *out)
{
    struct dissection d;
    struct span hop = SPAN_NONE;
    int rc;

    memset(out, 0, sizeof(*out));
    rc = dissect(r, recipient, arena, &d);
    if (rc == 0) {
        rc = d.domain.p == NULL ? resolve_local(r, &d, out) : resolve_foreign(r, d.domain, out);
    }
    if (rc == 0)
        rc = arena_copy(arena, str_span(&d.text), &out->recipient);
    if (rc == 0)
        rc = arena_copy(arena, out->next_hop, &hop);
    str_fini(&d.text);
    if (rc < 0)
        return rc;
    out->next_hop = hop;
    out->is_routed = is_routed(route_local_part(out->recipient));
    /* An unknown virtual alias stays unknown, whatever a "*" entry says. */
    if (out->class != ROUTE_CLASS_VIRTUAL_ALIAS)
        rc = route_apply_transport(r, out->recipient, arena, &out->transport, &out->next_hop);
    return rc < 0 ? rc : apply_relocated(r, arena, out);
}
