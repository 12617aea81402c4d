/* lookup.c: see lookup.h. */
#include "map/lookup.h"

#include <errno.h>

#include "base/error.h"
#include "net/address.h"

static int add(struct map_keys *k, struct span text, unsigned flags)
{
    if (k->count == MAP_KEYS_MAX)
        return 0; /* as deep as any real name is */
    k->keys[k->count].text = text;
    k->keys[k->count].flags = flags;
    k->count++;
    return 0;
}

/* left and right, joined in the arena. */
static int add_joined(struct map_keys *k, struct span left, struct span right, unsigned flags)
{
    char *text = arena_alloc(k->arena, left.n + right.n + 1);

    if (text == NULL)
        return -ENOMEM;
    memcpy(text, left.p, left.n);
    memcpy(text + left.n, right.p, right.n);
    return add(k, span_make(text, left.n + right.n), flags);
}

struct parts {
    struct span local, user, domain; /* user: local without extension; domain with "@" */
    bool has_extension;
};

static struct parts split(struct span address, const char *delimiters)
{
    ptrdiff_t at = span_rfind(address, '@');
    struct parts p = {.local = at < 0 ? address : span_take(address, (size_t)at)};

    p.domain = at < 0 ? SPAN_NONE : span_drop(address, (size_t)at);
    p.user = p.local;
    /* Not at the first octet, and not in names that the system itself uses. */
    for (size_t i = 1; i < p.local.n && !p.has_extension; i++) {
        if (strchr(delimiters, p.local.p[i]) == NULL || p.local.p[i] == '\0')
            continue;
        if (span_ieq(p.local, SPAN_LIT("mailer-daemon")) ||
            span_ieq(p.local, SPAN_LIT("double-bounce")))
            break;
        if (strchr(delimiters, '-') != NULL && (span_istarts(p.local, SPAN_LIT("owner-")) ||
                                                span_iends(p.local, SPAN_LIT("-request"))))
            break;
        p.user = span_take(p.local, i);
        p.has_extension = true;
    }
    return p;
}

/* The parents of a domain, from the nearest on: "example.com" or, when parents
 * are not meant by a bare name, ".example.com". */
static int add_parents(struct map_keys *k, struct span domain, bool is_parent)
{
    struct net_address address;
    int error = 0;

    if (net_address_parse(domain, &address) == 0)
        return 0;
    while (error == 0 && domain.n > 0) {
        ptrdiff_t dot = span_find(span_drop(domain, 1), '.');

        if (dot < 0)
            break;
        domain = span_drop(domain, (size_t)dot + (is_parent ? 2 : 1));
        if (domain.n > 0)
            error = add(k, domain, MAP_PARTIAL);
    }
    return error;
}

int map_keys_domain(struct map_keys *k, struct span domain, bool is_parent)
{
    int error = add(k, domain, 0);

    return error < 0 || domain.n == 0 ? error : add_parents(k, domain, is_parent);
}

int map_keys_access_address(struct map_keys *k, struct span address, const char *delimiters,
                            bool is_parent)
{
    struct parts p = split(address, delimiters);
    struct span domain = span_drop(p.domain, 1);
    int error = add(k, address, 0);

    if (error == 0 && p.has_extension && domain.n > 0)
        error = add_joined(k, p.user, p.domain, MAP_PARTIAL);
    if (error == 0 && domain.n > 0) {
        error = add(k, domain, MAP_PARTIAL);
        if (error == 0)
            error = add_parents(k, domain, is_parent);
    }
    if (error == 0 && p.local.n > 0)
        error = add_joined(k, p.local, SPAN_LIT("@"), MAP_PARTIAL);
    if (error == 0 && p.has_extension)
        error = add_joined(k, p.user, SPAN_LIT("@"), MAP_PARTIAL);
    return error;
}

int map_keys_network(struct map_keys *k, struct span address)
{
    char separator = span_find(address, ':') >= 0 ? ':' : '.';
    ptrdiff_t at;
    int error = add(k, address, 0);

    while (error == 0 && (at = span_rfind(address, separator)) > 0) {
        address = span_take(address, (size_t)at);
        error = add(k, address, MAP_PARTIAL);
    }
    return error;
}

int map_lookup_keys(const struct map *m, const struct map_keys *k, struct str *value)
{
    int error = ERR_NOT_FOUND;

    for (size_t i = 0; error == ERR_NOT_FOUND && i < k->count; i++)
        error = map_lookup(m, k->keys[i].text, k->keys[i].flags, value);
    return error;
}
