/*
 * array.h: a growable array of any type.
 *
 *     ARRAY(struct rcpt) rcpts = {0};
 *     struct rcpt *r = array_push(&rcpts);    a zeroed new item, or NULL
 *     for (size_t i = 0; i < rcpts.len; i++) ... rcpts.items[i] ...
 *     array_free(&rcpts);
 *
 * Pointers to items are valid until the next push. Not drawn on a budget: bound
 * the count where input is foreign.
 */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <stddef.h>

#define ARRAY(type)      \
    struct {             \
        type *items;     \
        size_t len, cap; \
    }

#define array_push(a)                                                               \
    ((__typeof__((a)->items))array_grow((void **)&(a)->items, &(a)->len, &(a)->cap, \
                                        sizeof(*(a)->items)))
#define array_last(a) (&(a)->items[(a)->len - 1])
#define array_clear(a) ((void)((a)->len = 0))
#define array_free(a) array_release((void **)&(a)->items, &(a)->len, &(a)->cap)
/* Remove item i, keeping the order. */
#define array_remove(a, i) array_cut((a)->items, &(a)->len, (i), sizeof(*(a)->items))

/* The functions behind the macros. */
void *array_grow(void **items, size_t *len, size_t *cap, size_t item_size);
void array_release(void **items, size_t *len, size_t *cap);
void array_cut(void *items, size_t *len, size_t index, size_t item_size);

#endif
