/*
 * arena.h: memory that is freed as a whole: one per session, one per
 * transaction or command.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/mem.h"
#include "base/span.h"
#include "base/str.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    struct budget *budget;
};

/* A zeroed arena is valid: no budget. */
void arena_init(struct arena *a, struct budget *budget);
/* Free everything; the arena can be used again. */
void arena_reset(struct arena *a);

/* Zeroed, aligned for any type; NULL over the budget. Freed by arena_reset. */
void *arena_alloc(struct arena *a, size_t size);
#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_NEW_N(arena, type, n) ((type *)arena_alloc_n((arena), (n), sizeof(type)))
/* n * size with overflow check. */
void *arena_alloc_n(struct arena *a, size_t n, size_t size);

/* A NUL-terminated copy; NULL over the budget. */
char *arena_strdup(struct arena *a, struct span text);
/* The same as a span; 0 or -ENOMEM. */
int arena_copy(struct arena *a, struct span text, struct span *copy);
/* NUL-terminated; NULL over the budget. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
