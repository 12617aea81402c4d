#include "services/anvil_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void anvil_table_init(struct anvil_table *t, size_t limit, int64_t unit_ms)
{
    *t = (struct anvil_table){.limit = limit, .unit_ms = unit_ms};
    list_init(&t->ages);
}

static void forget(struct anvil_table *t, struct anvil_host *host)
{
    hash_remove(&t->hosts, &host->node);
    list_remove(&host->age);
    free(host);
}

void anvil_table_fini(struct anvil_table *t)
{
    while (!list_is_empty(&t->ages))
        forget(t, LIST_ITEM(t->ages.next, struct anvil_host, age));
    hash_fini(&t->hosts);
}

struct anvil_host *anvil_table_find(struct anvil_table *t, struct span key)
{
    struct hash_node *n = hash_first(&t->hosts, span_hash(key));

    for (; n != NULL; n = hash_next(n)) {
        struct anvil_host *host = CONTAINER_OF(n, struct anvil_host, node);

        if (span_eq(span_make(host->key, host->key_length), key))
            return host;
    }
    return NULL;
}

/* Hosts with connections go to the young end when they are met, so that the search
 * for a victim is short over time. */
static bool make_room(struct anvil_table *t)
{
    size_t tries = 16;

    while (t->hosts.count >= t->limit && tries-- > 0) {
        struct anvil_host *host = LIST_ITEM(t->ages.next, struct anvil_host, age);

        if (host->connections == 0) {
            forget(t, host);
        } else {
            list_remove(&host->age);
            list_append(&t->ages, &host->age);
        }
    }
    return t->hosts.count < t->limit;
}

static struct anvil_host *add(struct anvil_table *t, struct span key, int64_t now_ms)
{
    struct anvil_host *host;

    if (!make_room(t))
        return NULL;
    host = mem_new(sizeof(*host) + key.n);
    if (host == NULL)
        return NULL;
    memcpy(host->key, key.p, key.n);
    host->key_length = key.n;
    host->window_ms = now_ms;
    list_init(&host->age);
    if (hash_insert(&t->hosts, &host->node, span_hash(key)) < 0) {
        free(host);
        return NULL;
    }
    return host;
}

static void note_peak(struct anvil_peak *peak, uint32_t value, const struct anvil_host *host,
                      int64_t wall_s)
{
    if (value <= peak->value)
        return;
    peak->value = value;
    peak->wall_s = wall_s;
    snprintf(peak->key, sizeof(peak->key), "%.*s", (int)host->key_length, host->key);
}

struct anvil_host *anvil_table_connect(struct anvil_table *t, struct span key, int64_t now_ms,
                                       int64_t wall_s, struct anvil_counts *counts)
{
    struct anvil_host *host = anvil_table_find(t, key);

    *counts = (struct anvil_counts){0};
    if (host == NULL)
        host = add(t, key, now_ms);
    if (host == NULL)
        return NULL;
    list_remove(&host->age);
    list_append(&t->ages, &host->age);
    if (now_ms - host->window_ms >= t->unit_ms) {
        host->window_ms = now_ms;
        host->rate = 0;
    }
    host->connections++;
    host->rate++;
    note_peak(&t->peak_connections, host->connections, host, wall_s);
    note_peak(&t->peak_rate, host->rate, host, wall_s);
    *counts = (struct anvil_counts){host->connections, host->rate};
    return host;
}

void anvil_table_disconnect(struct anvil_table *t, struct anvil_host *host)
{
    if (host->connections > 0)
        host->connections--;
}

void anvil_table_lookup(struct anvil_table *t, struct span key, int64_t now_ms,
                        struct anvil_counts *counts)
{
    const struct anvil_host *host = anvil_table_find(t, key);

    *counts = (struct anvil_counts){0};
    if (host == NULL)
        return;
    counts->connections = host->connections;
    counts->rate = now_ms - host->window_ms < t->unit_ms ? host->rate : 0;
}
