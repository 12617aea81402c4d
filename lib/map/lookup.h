/*
 * lookup.h: which keys an address, a domain or a client is looked up by, in
 * which order, as Postfix does it. Pure: each function fills a list of keys; the
 * caller asks its table for one after the other (map_lookup_keys does that).
 */
#ifndef MAP_LOOKUP_H
#define MAP_LOOKUP_H

#include "base/arena.h"
#include "map/map.h"

enum { MAP_KEYS_MAX = 160 };

struct map_keys {
    struct arena *arena; /* holds the keys */
    struct {
        struct span text;
        unsigned flags; /* MAP_PARTIAL */
    } keys[MAP_KEYS_MAX];
    size_t count;
};

/* An address of an access table (access(5)): user+extension@domain, user@domain,
 * domain and parent domains, user+extension@, user@. is_parent: parent domains as
 * "domain", else as ".domain". */
int map_keys_access_address(struct map_keys *k, struct span address, const char *delimiters,
                            bool is_parent);
/* A host or domain name: itself, then its parent domains. */
int map_keys_domain(struct map_keys *k, struct span domain, bool is_parent);
/* A client address: itself, then the networks it is in at octet boundaries
 * ("192.0.2", "2001:db8:0"). */
int map_keys_network(struct map_keys *k, struct span address);

/* The first key that is found. */
TASK_WAITS int map_lookup_keys(const struct map *m, const struct map_keys *k, struct str *value);

#endif
