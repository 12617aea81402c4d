#include "base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN 16
#define FIRST_CHUNK 1024
#define LARGEST_STEP 65536

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of data */
    size_t used;
    size_t padding;
    unsigned char data[];
};

_Static_assert(sizeof(struct arena_chunk) % ARENA_ALIGN == 0, "chunk data is aligned");

void arena_init(struct arena *a, struct budget *budget)
{
    *a = (struct arena){.budget = budget};
}

void arena_reset(struct arena *a)
{
    while (a->chunks != NULL) {
        struct arena_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        budget_give(a->budget, sizeof(*chunk) + chunk->size);
        free(chunk);
    }
}

static struct arena_chunk *add_chunk(struct arena *a, size_t need)
{
    size_t size = a->chunks != NULL ? a->chunks->size * 2 : FIRST_CHUNK;
    struct arena_chunk *chunk;

    if (size > LARGEST_STEP)
        size = LARGEST_STEP;
    if (size < need)
        size = need;
    if (budget_take(a->budget, sizeof(*chunk) + size) < 0)
        return NULL;
    chunk = malloc(sizeof(*chunk) + size);
    if (chunk == NULL) {
        budget_give(a->budget, sizeof(*chunk) + size);
        return NULL;
    }
    *chunk = (struct arena_chunk){.next = a->chunks, .size = size};
    a->chunks = chunk;
    return chunk;
}

/* Not zeroed. */
static void *take(struct arena *a, size_t size)
{
    struct arena_chunk *chunk = a->chunks;
    void *p;

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (chunk == NULL || chunk->size - chunk->used < size) {
        chunk = add_chunk(a, size);
        if (chunk == NULL)
            return NULL;
    }
    p = chunk->data + chunk->used;
    chunk->used += size;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *p = take(a, size);

    return p == NULL ? NULL : memset(p, 0, size);
}

void *arena_alloc_n(struct arena *a, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return arena_alloc(a, bytes);
}

char *arena_strdup(struct arena *a, struct span text)
{
    char *copy = take(a, text.n + 1);

    if (copy == NULL)
        return NULL;
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return copy;
}

int arena_copy(struct arena *a, struct span text, struct span *copy)
{
    char *p = arena_strdup(a, text);

    if (p == NULL)
        return -ENOMEM;
    *copy = span_make(p, text.n);
    return 0;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *text = NULL;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0)
        text = arena_alloc(a, (size_t)n + 1);
    if (text != NULL)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return text;
}
