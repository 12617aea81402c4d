/*
 * list.h: an intrusive doubly linked ring. The head is a struct list; a zeroed
 * head must be initialised with list_init. Items embed a struct list too.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

/* An item that was removed or initialised is not in a list. */
static inline bool list_is_linked(const struct list *item)
{
    return item->next != item;
}

static inline void list_insert_before(struct list *at, struct list *item)
{
    item->prev = at->prev;
    item->next = at;
    at->prev->next = item;
    at->prev = item;
}

static inline void list_append(struct list *head, struct list *item)
{
    list_insert_before(head, item);
}

static inline void list_prepend(struct list *head, struct list *item)
{
    list_insert_before(head->next, item);
}

/* The item can be removed twice. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

/* First item, taken off; NULL when empty. */
static inline struct list *list_pop(struct list *head)
{
    struct list *item = head->next;

    if (item == head)
        return NULL;
    list_remove(item);
    return item;
}

#define LIST_ITEM(ptr, type, member) CONTAINER_OF(ptr, type, member)
#define LIST_FOR(item, head) \
    for (struct list *item = (head)->next; item != (head); item = item->next)
/* The current item may be removed in the body. */
#define LIST_FOR_SAFE(item, head)                                                     \
    for (struct list *item = (head)->next, *item##_next = item->next; item != (head); \
         item = item##_next, item##_next = item->next)

#endif
