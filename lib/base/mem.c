#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

void budget_init(struct budget *b, size_t limit_bytes)
{
    *b = (struct budget){.limit = limit_bytes};
}

int budget_take(struct budget *b, size_t bytes)
{
    size_t used;

    if (b == NULL)
        return 0;
    if (__builtin_add_overflow(b->used, bytes, &used) || (b->limit != 0 && used > b->limit))
        return -ENOMEM;
    b->used = used;
    if (used > b->peak)
        b->peak = used;
    return 0;
}

void budget_give(struct budget *b, size_t bytes)
{
    if (b == NULL)
        return;
    if (bytes > b->used)
        panic("budget_give: %zu of %zu bytes", bytes, b->used);
    b->used -= bytes;
}

void *mem_new(size_t size)
{
    return calloc(1, size);
}

void *mem_new_or_die(size_t size)
{
    void *p = calloc(1, size);

    if (p == NULL)
        fatal("out of memory: %zu bytes", size);
    return p;
}

char *mem_strdup(struct span text)
{
    char *copy = malloc(text.n + 1);

    if (copy == NULL)
        return NULL;
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return copy;
}

char *mem_strdup_or_die(struct span text)
{
    char *copy = mem_strdup(text);

    if (copy == NULL)
        fatal("out of memory: %zu bytes", text.n + 1);
    return copy;
}
