/* memory.h: for the files of lib/map only: a table that is held in memory. */
#ifndef MAP_MEMORY_H
#define MAP_MEMORY_H

#include "base/arena.h"
#include "base/hash.h"

struct map_memory {
    struct arena arena;
    struct hash table;
};

#endif
