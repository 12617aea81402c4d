/*
 * find.c: looking an address up: the keys, most specific first, that virtual(5),
 * relocated(5) and the recipient tables are asked with.
 */
#include "base/error.h"
#include "route/internal.h"

static int find_joined(const struct map_list *maps, struct span user, struct span domain,
                       struct str *value)
{
    struct str key;
    int rc;

    str_init(&key, value->budget);
    str_append(&key, user);
    str_append_char(&key, '@');
    str_append(&key, domain);
    rc = str_error(&key);
    if (rc == 0)
        rc = map_list_find(maps, str_span(&key), MAP_PARTIAL, value);
    str_fini(&key);
    return rc;
}

/* "user+ext" and "user", for domains whose users stand in the table without one. */
static int find_local_part(const struct route *r, const struct map_list *maps, struct span local,
                           struct span user, struct span domain, struct str *value,
                           bool *without_extension)
{
    int rc = span_ieq(domain, r->myorigin) ? 1 : route_is_local_domain(r, domain);

    if (rc <= 0)
        return rc < 0 ? rc : ERR_NOT_FOUND;
    if (local.n == 0)
        return ERR_NOT_FOUND;
    rc = map_list_find(maps, local, MAP_PARTIAL, value);
    if (rc == ERR_NOT_FOUND && user.n < local.n) {
        *without_extension = true;
        rc = map_list_find(maps, user, MAP_PARTIAL, value);
    }
    return rc;
}

int route_find_address(const struct route *r, const struct map_list *maps, struct span address,
                       struct str *value, struct span *extension)
{
    struct span local = route_local_part(address), domain = route_domain(address);
    struct span cut, user = route_split_extension(r, local, &cut);
    bool without_extension = false;
    int rc;

    if (extension != NULL)
        *extension = SPAN_NONE;
    if (address.n == 0)
        return ERR_NOT_FOUND;
    rc = map_list_find(maps, address, 0, value);
    if (rc != ERR_NOT_FOUND)
        return rc;
    if (cut.n > 0) {
        rc = domain.p == NULL ? map_list_find(maps, user, MAP_PARTIAL, value)
                              : find_joined(maps, user, domain, value);
        without_extension = rc == 0;
    }
    if (rc == ERR_NOT_FOUND && domain.p != NULL) {
        rc = find_local_part(r, maps, local, user, domain, value, &without_extension);
        if (rc == ERR_NOT_FOUND) {
            without_extension = false;
            rc = find_joined(maps, SPAN_NONE, domain, value);
        }
    }
    if (rc == 0 && without_extension && extension != NULL)
        *extension = cut;
    return rc;
}
