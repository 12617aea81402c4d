/*
 * hash.h: an intrusive hash table; the caller hashes (span_hash for foreign
 * keys) and compares.
 *
 *     struct hash_node *n = hash_first(&table, h);
 *     for (; n != NULL; n = hash_next(n)) if (matches(n)) ...
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash {
    struct hash_node **buckets;
    size_t mask; /* bucket count - 1 */
    size_t count;
};

/* A zeroed table is valid and empty. Frees the buckets, not the items. */
void hash_fini(struct hash *t);
/* 0, or -ENOMEM (only the first insert can fail). */
int hash_insert(struct hash *t, struct hash_node *node, uint64_t hash);
void hash_remove(struct hash *t, struct hash_node *node);
/* First node with exactly this hash, and the next one; NULL at the end. */
struct hash_node *hash_first(const struct hash *t, uint64_t hash);
struct hash_node *hash_next(const struct hash_node *node);

/* Every node, in no order; the node handed out may be removed by the body.
 *     struct hash_walk w = {0}; while ((n = hash_walk(&t, &w)) != NULL) ... */
struct hash_walk {
    size_t bucket;
    struct hash_node *next;
};
struct hash_node *hash_walk(const struct hash *t, struct hash_walk *w);

#endif
