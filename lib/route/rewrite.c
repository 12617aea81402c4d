/*
 * rewrite.c: bringing an address to standard form, as trivial-rewrite(8) does.
 *
 * Addresses are in internal form, so an operator inside a quoted local part
 * cannot be told from one outside; Postfix's default (resolve_dequoted_address)
 * treats both alike on purpose: whoever relays to a quoted "user@elsewhere"
 * would be an open relay by a detour.
 */
#include "route/internal.h"

/* "@a,@b:user@c" -> "user@c" (RFC 5321 4.1.1.3: ignore source routes) */
static struct span strip_source_route(struct span address)
{
    ptrdiff_t colon;

    if (address.n == 0 || address.p[0] != '@')
        return address;
    colon = span_find(address, ':');
    if (colon < 0 || (size_t)colon + 1 == address.n)
        return address;
    return span_drop(address, (size_t)colon + 1);
}

static struct span strip_trailing_dot(struct span address)
{
    if (address.n > 1 && address.p[address.n - 1] == '.' && address.p[address.n - 2] != '.' &&
        address.p[address.n - 2] != '@')
        address.n--;
    return address;
}

/* What completes addresses of a context; the empty span: nothing does. */
static struct span origin_of(const struct route *r, enum route_context context)
{
    if (!r->append_at_myorigin)
        return SPAN_NONE;
    return context == ROUTE_CONTEXT_LOCAL ? r->myorigin : r->remote_domain;
}

static int append_full(const struct route *r, enum route_context context, struct span user,
                       struct span domain, struct str *out)
{
    struct span suffix = context == ROUTE_CONTEXT_LOCAL ? r->mydomain : r->remote_domain;
    bool is_bare = domain.n > 0 && span_find(domain, '.') < 0 && domain.p[0] != '[';
    size_t start = out->len;

    str_append(out, user);
    str_append_char(out, '@');
    str_append(out, domain);
    if (is_bare && r->append_dot_mydomain && suffix.n > 0) {
        str_append_char(out, '.');
        str_append(out, suffix);
    }
    if (str_error(out) == 0) {
        struct span text = span_drop(str_span(out), start);

        str_truncate(out, start + strip_trailing_dot(text).n);
    }
    return str_error(out);
}

int route_complete(const struct route *r, enum route_context context, struct span local,
                   struct span domain, struct str *out)
{
    if (domain.n == 0)
        domain = origin_of(r, context);
    return domain.n == 0 ? str_append(out, local) : append_full(r, context, local, domain, out);
}

int route_rewrite(const struct route *r, enum route_context context, struct span address,
                  struct str *out)
{
    struct span origin = origin_of(r, context), user, domain;
    ptrdiff_t at, mark;

    if (address.n == 0)
        return 0;
    address = strip_source_route(address);
    at = span_rfind(address, '@');
    if (at >= 0) {
        user = span_take(address, (size_t)at);
        domain = span_drop(address, (size_t)at + 1);
    } else if (r->swap_bangpath && (mark = span_find(address, '!')) >= 0) {
        domain = span_take(address, (size_t)mark);
        user = span_drop(address, (size_t)mark + 1);
    } else if (r->percent_hack && (mark = span_rfind(address, '%')) >= 0) {
        user = span_take(address, (size_t)mark);
        domain = span_drop(address, (size_t)mark + 1);
    } else if (origin.n > 0) {
        user = address;
        domain = origin;
    } else {
        return str_append(out, strip_trailing_dot(address));
    }
    return append_full(r, context, user, domain, out);
}
