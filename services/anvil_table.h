/*
 * anvil_table.h: the counts of anvil. Pure: time is an argument.
 *
 * Bounded: when the table is full, the longest unused client without connections
 * is forgotten; when all have connections, a new one is not counted.
 */
#ifndef SERVICES_ANVIL_TABLE_H
#define SERVICES_ANVIL_TABLE_H

#include "base/hash.h"
#include "base/list.h"
#include "base/span.h"
#include "service/anvil.h"

struct anvil_host {
    struct hash_node node;
    struct list age; /* least recently used first */
    uint32_t connections, rate;
    int64_t window_ms; /* when the rate began to count */
    size_t key_length;
    char key[]; /* "service:client" */
};

/* Largest value since the last report. */
struct anvil_peak {
    uint32_t value;
    int64_t wall_s;
    char key[ANVIL_KEY_MAX];
};

struct anvil_table {
    struct hash hosts;
    struct list ages;
    size_t limit;
    int64_t unit_ms; /* anvil_rate_time_unit */
    struct anvil_peak peak_connections, peak_rate;
};

/* At most limit hosts (anvil_table_limit). */
void anvil_table_init(struct anvil_table *t, size_t limit, int64_t unit_ms);
void anvil_table_fini(struct anvil_table *t);
/* The host, counted in *counts; NULL when it cannot be counted (*counts is zero). */
struct anvil_host *anvil_table_connect(struct anvil_table *t, struct span key, int64_t now_ms,
                                       int64_t wall_s, struct anvil_counts *counts);
/* Does nothing for a host without connections. */
void anvil_table_disconnect(struct anvil_table *t, struct anvil_host *host);
struct anvil_host *anvil_table_find(struct anvil_table *t, struct span key);
void anvil_table_lookup(struct anvil_table *t, struct span key, int64_t now_ms,
                        struct anvil_counts *counts);

#endif
