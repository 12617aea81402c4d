/*
 * internal.h: what the files of lib/route share: the loaded parameters and
 * tables. Nobody else includes it.
 */
#ifndef ROUTE_INTERNAL_H
#define ROUTE_INTERNAL_H

#include <netinet/in.h>

#include "route/route.h"

/* An address this host receives mail on: 4 or 16 octets in network order. */
struct route_own_address {
    int family;
    uint8_t ip[16];
};

struct route {
    const struct conf *conf;

    /* names and switches */
    struct span myhostname, mydomain, myorigin, remote_domain;
    struct span recipient_delimiter, empty_recipient, double_bounce_sender;
    struct span local_transport, virtual_transport, relay_transport, default_transport;
    struct span relayhost;
    bool append_at_myorigin, append_dot_mydomain, swap_bangpath, percent_hack;
    bool resolve_dequoted, resolve_null_domain, owner_request_special;
    bool transport_parent_matches; /* transport_maps in parent_domain_matches_subdomains */
    bool show_unknown_table;
    bool propagate_virtual; /* propagate_unmatched_extensions has "virtual" */
    int64_t expansion_limit, recursion_limit, alias_length_limit;

    ARRAY(struct route_own_address) own;

    /* NULL: not set */
    struct map_match *mydestination, *virtual_alias_domains, *virtual_mailbox_domains;
    struct map_match *relay_domains;
    struct map_list *virtual_alias_maps, *virtual_mailbox_maps, *local_recipient_maps;
    struct map_list *relay_recipient_maps, *transport_maps, *relocated_maps;
};

/* interfaces.c: fill r->own from inet_interfaces and proxy_interfaces. */
int route_load_interfaces(struct route *r, struct str *why);
bool route_is_own_literal(const struct route *r, struct span domain);

/* transport.c: the transport map's say about an address: transport and next hop are
 * replaced as transport(5) describes. 0 also when nothing was found. */
TASK_WAITS int route_apply_transport(const struct route *r, struct span recipient,
                                     struct arena *arena, struct span *transport,
                                     struct span *next_hop);

#endif
