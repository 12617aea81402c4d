/*
 * mem.h: memory with a byte budget.
 *
 * A session has one budget; its arenas, strings and stream buffers draw on it.
 * What would exceed it gets -ENOMEM (or NULL), and the session ends with 421 or
 * BYE: what a client sends costs at most its own session.
 * A NULL budget means unlimited. A budget belongs to one thread at a time.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/span.h"

struct budget {
    size_t limit; /* bytes; 0 = unlimited */
    size_t used;
    size_t peak;
};

void budget_init(struct budget *b, size_t limit_bytes);
/* 0, or -ENOMEM with nothing taken. */
int budget_take(struct budget *b, size_t bytes);
void budget_give(struct budget *b, size_t bytes);

/* Zeroed memory, or NULL. Free with free(). For structures that live longer
 * than a session; at start-up use the _or_die forms. */
void *mem_new(size_t size);
void *mem_new_or_die(size_t size);
/* A NUL-terminated copy; free with free(). */
char *mem_strdup(struct span text);
char *mem_strdup_or_die(struct span text);

#define NEW(type) ((type *)mem_new(sizeof(type)))
#define NEW_OR_DIE(type) ((type *)mem_new_or_die(sizeof(type)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
