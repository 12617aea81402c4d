/* classify.c: which address class a domain belongs to. */
#include "base/error.h"
#include "mail/address.h"
#include "route/internal.h"

struct span route_local_part(struct span address)
{
    ptrdiff_t at = span_rfind(address, '@');

    return at < 0 ? address : span_take(address, (size_t)at);
}

struct span route_domain(struct span address)
{
    ptrdiff_t at = span_rfind(address, '@');

    return at < 0 ? SPAN_NONE : span_drop(address, (size_t)at + 1);
}

const char *route_class_name(enum route_class class)
{
    switch (class) {
    case ROUTE_CLASS_LOCAL:
        return "local";
    case ROUTE_CLASS_VIRTUAL_ALIAS:
        return "virtual alias";
    case ROUTE_CLASS_VIRTUAL_MAILBOX:
        return "virtual mailbox";
    case ROUTE_CLASS_RELAY:
        return "relay";
    case ROUTE_CLASS_DEFAULT:
        return "default";
    }
    return "unknown";
}

/* 1, 0, or a negative code. */
static int domain_matches(const struct map_match *list, struct span domain)
{
    int rc;

    if (list == NULL || domain.n == 0)
        return 0;
    rc = map_match_find(list, domain);
    return rc == 0 ? 1 : rc == ERR_NOT_FOUND ? 0 : rc;
}

int route_is_local_domain(const struct route *r, struct span domain)
{
    if (domain.n > 1 && domain.p[domain.n - 1] == '.')
        domain.n--;
    int rc = domain_matches(r->mydestination, domain);

    if (rc != 0)
        return rc;
    return route_is_own_literal(r, domain);
}

int route_classify(const struct route *r, struct span domain, enum route_class *class)
{
    int rc = route_is_local_domain(r, domain);

    if (rc != 0) {
        *class = ROUTE_CLASS_LOCAL;
        return rc < 0 ? rc : 0;
    }
    /* Postfix's order: a domain that stands in two lists is what the first says. */
    const struct {
        const struct map_match *list;
        enum route_class class;
    } lists[] = {
        {r->virtual_alias_domains, ROUTE_CLASS_VIRTUAL_ALIAS},
        {r->virtual_mailbox_domains, ROUTE_CLASS_VIRTUAL_MAILBOX},
        {r->relay_domains, ROUTE_CLASS_RELAY},
    };

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        *class = lists[i].class;
        rc = domain_matches(lists[i].list, domain);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    *class = ROUTE_CLASS_DEFAULT;
    return 0;
}
