/* interfaces.c: the addresses this host receives mail on, for [literals]. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

#include "base/error.h"
#include "conf/host.h"
#include "mail/address.h"
#include "route/internal.h"

static int add_address(struct route *r, const struct sockaddr *sa)
{
    struct route_own_address *own;

    if (sa == NULL || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
        return 0;
    own = array_push(&r->own);
    if (own == NULL)
        return -ENOMEM;
    own->family = sa->sa_family;
    if (sa->sa_family == AF_INET)
        memcpy(own->ip, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    else
        memcpy(own->ip, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    return 0;
}

/* A host name or address, "[v6]" allowed: what it resolves to at the start. */
static int add_host(struct route *r, struct span name)
{
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int rc = 0;

    if (name.n > 1 && name.p[0] == '[' && name.p[name.n - 1] == ']')
        name = span_take(span_drop(name, 1), name.n - 2);
    if (name.n >= sizeof(host))
        return ERR_TOO_LONG;
    memcpy(host, name.p, name.n);
    host[name.n] = '\0';
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return ERR_NOT_FOUND;
    for (struct addrinfo *i = list; i != NULL && rc == 0; i = i->ai_next)
        rc = add_address(r, i->ai_addr);
    freeaddrinfo(list);
    return rc;
}

int route_load_interfaces(struct route *r, struct str *why)
{
    struct span rest = span_cstr(conf_string(r->conf, "proxy_interfaces")), name;
    struct host_address *list;
    size_t count;
    int rc = host_addresses(r->conf, &list, &count, why);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = add_address(r, (const struct sockaddr *)&list[i].address);
    free(list);
    while (rc == 0 && span_token(&rest, ", \t\r\n", &name)) {
        rc = add_host(r, name);
        if (rc < 0)
            str_printf(why, "proxy_interfaces: %.*s: %s", SPAN_ARG(name), error_text(rc));
    }
    return rc;
}

bool route_is_own_literal(const struct route *r, struct span domain)
{
    int family;
    uint8_t ip[16];

    if (domain.n < 3 || domain.p[0] != '[' || address_literal_ip(domain, true, &family, ip) != 0)
        return false;
    for (size_t i = 0; i < r->own.len; i++)
        if (r->own.items[i].family == family &&
            memcmp(r->own.items[i].ip, ip, family == AF_INET ? 4 : 16) == 0)
            return true;
    return false;
}
