#include "base/array.h"

#include <stdlib.h>
#include <string.h>

void *array_grow(void **items, size_t *len, size_t *cap, size_t item_size)
{
    if (*len == *cap) {
        size_t new_cap = *cap ? *cap * 2 : 8;
        void *grown = reallocarray(*items, new_cap, item_size);
        if (grown == NULL)
            return NULL;
        *items = grown;
        *cap = new_cap;
    }
    return memset((char *)*items + (*len)++ * item_size, 0, item_size);
}

void array_release(void **items, size_t *len, size_t *cap)
{
    free(*items);
    *items = NULL;
    *len = *cap = 0;
}

void array_cut(void *items, size_t *len, size_t index, size_t item_size)
{
    char *at = (char *)items + index * item_size;

    memmove(at, at + item_size, (--*len - index) * item_size);
}
