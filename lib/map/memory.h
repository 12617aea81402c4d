/* memory.h: for the files of lib/map only: a table that is held in memory. */
#ifndef MAP_MEMORY_H
#define MAP_MEMORY_H

#include "base/arena.h"
#include "base/hash.h"

struct map_memory {
    struct arena arena;
    struct hash table;
};

/* A copy of both. ERR_EXISTS when the key is there already (nothing changes). */
int map_memory_add(struct map_memory *t, struct span key, struct span value);
/* ERR_NOT_FOUND. Borrowed. */
int map_memory_find(const struct map_memory *t, struct span key, struct span *value);
void map_memory_fini(struct map_memory *t);

#endif
