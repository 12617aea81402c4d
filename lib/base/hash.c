#include "base/hash.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/log.h"

void hash_fini(struct hash *t)
{
    free(t->buckets);
    *t = (struct hash){0};
}

static bool resize(struct hash *t, size_t size)
{
    struct hash_node **buckets = calloc(size, sizeof(struct hash_node *));

    if (buckets == NULL)
        return false;
    for (size_t i = 0; t->buckets != NULL && i <= t->mask; i++) {
        for (struct hash_node *n = t->buckets[i], *next; n != NULL; n = next) {
            next = n->next;
            n->next = buckets[n->hash & (size - 1)];
            buckets[n->hash & (size - 1)] = n;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->mask = size - 1;
    return true;
}

int hash_insert(struct hash *t, struct hash_node *node, uint64_t hash)
{
    /* A table that cannot grow only gets slower. */
    if (t->buckets == NULL) {
        if (!resize(t, 16))
            return -ENOMEM;
    } else if (t->count > t->mask) {
        (void)resize(t, (t->mask + 1) * 2);
    }
    node->hash = hash;
    node->next = t->buckets[hash & t->mask];
    t->buckets[hash & t->mask] = node;
    t->count++;
    return 0;
}

void hash_remove(struct hash *t, struct hash_node *node)
{
    struct hash_node **at = &t->buckets[node->hash & t->mask];

    while (*at != node) {
        if (*at == NULL)
            panic("hash_remove: node is not in the table");
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    t->count--;
}

static struct hash_node *match(struct hash_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash)
        n = n->next;
    return n;
}

struct hash_node *hash_first(const struct hash *t, uint64_t hash)
{
    return t->buckets != NULL ? match(t->buckets[hash & t->mask], hash) : NULL;
}

struct hash_node *hash_next(const struct hash_node *node)
{
    return match(node->next, node->hash);
}

struct hash_node *hash_walk(const struct hash *t, struct hash_walk *w)
{
    struct hash_node *n = w->next;

    while (n == NULL) {
        if (t->buckets == NULL || w->bucket > t->mask)
            return NULL;
        n = t->buckets[w->bucket++];
    }
    w->next = n->next;
    return n;
}
