/* transport.c: transport_maps, as transport(5) describes it. */
#include <errno.h>

#include "base/error.h"
#include "route/internal.h"

/* An entry "transport:nexthop", either part may be empty: both empty changes
 * nothing; a transport without next hop goes to the recipient's domain. */
static int apply_entry(struct span entry, struct span domain, struct arena *arena,
                       struct span *transport, struct span *next_hop)
{
    ptrdiff_t colon = span_find(entry, ':');
    struct span name = colon < 0 ? entry : span_take(entry, (size_t)colon);
    struct span hop = colon < 0 ? SPAN_NONE : span_drop(entry, (size_t)colon + 1);
    int rc = 0;

    name = span_trim(name);
    hop = span_trim(hop);
    if (hop.n == 0 && name.n > 0)
        hop = domain;
    if (hop.n > 0)
        rc = arena_copy(arena, hop, next_hop);
    if (rc == 0 && name.n > 0)
        rc = arena_copy(arena, name, transport);
    return rc;
}

/* The value for a key: 0, ERR_NOT_FOUND, ERR_TEMPORARY. */
static int find_domain(const struct route *r, struct span domain, struct str *value)
{
    struct span name = domain;

    for (;;) {
        ptrdiff_t dot;
        int rc;

        if (name.n > 0) {
            rc = map_list_find(r->transport_maps, name, MAP_PARTIAL, value);
            if (rc != ERR_NOT_FOUND)
                return rc;
        }
        /* the parent: ".example.com", or "example.com" when
         * parent_domain_matches_subdomains names transport_maps */
        dot = span_find(span_drop(name, 1), '.');
        if (dot < 0)
            return ERR_NOT_FOUND;
        name = span_drop(name, (size_t)dot + 1 + (r->transport_parent_matches ? 1 : 0));
    }
}

static int find_entry(const struct route *r, struct span recipient, struct str *value)
{
    struct span domain = route_domain(recipient), local = route_local_part(recipient);
    struct span extension, user;
    int rc = map_list_find(r->transport_maps, recipient, 0, value);

    if (rc != ERR_NOT_FOUND)
        return rc;
    user = route_split_extension(r, local, &extension);
    if (extension.n > 0) {
        struct str bare;

        str_init(&bare, value->budget);
        str_append(&bare, user);
        str_append_char(&bare, '@');
        str_append(&bare, domain);
        rc = str_error(&bare);
        if (rc == 0)
            rc = map_list_find(r->transport_maps, str_span(&bare), MAP_PARTIAL, value);
        str_fini(&bare);
        if (rc != ERR_NOT_FOUND)
            return rc;
    }
    rc = find_domain(r, domain, value);
    if (rc == ERR_NOT_FOUND)
        rc = map_list_find(r->transport_maps, SPAN_LIT("*"), MAP_PARTIAL, value);
    return rc;
}

int route_apply_transport(const struct route *r, struct span recipient, struct arena *arena,
                          struct span *transport, struct span *next_hop)
{
    struct str value;
    int rc;

    if (r->transport_maps == NULL)
        return 0;
    str_init(&value, arena->budget);
    rc = find_entry(r, recipient, &value);
    if (rc == 0)
        rc = apply_entry(str_span(&value), route_domain(recipient), arena, transport, next_hop);
    str_fini(&value);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}
