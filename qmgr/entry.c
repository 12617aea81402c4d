#include "qmgr/entry.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/log.h"
#include "base/mem.h"

static struct hash by_number;
static struct list places[ENTRY_PLACES];
static size_t counts[ENTRY_PLACES];
/* A heap by next_attempt_s; item 0 is not used. */
static ARRAY(struct entry *) heap;

static void drop_changes(struct entry *e, uint32_t from, uint32_t n);

static uint64_t hash_number(uint64_t number)
{
    return span_hash(span_make(&number, sizeof(number)));
}

static void init(void)
{
    if (places[0].next == NULL)
        for (int i = 0; i < ENTRY_PLACES; i++)
            list_init(&places[i]);
}

struct entry *entry_new(uint64_t number)
{
    struct entry *e = NEW(struct entry);

    init();
    if (e == NULL)
        return NULL;
    e->id.number = number;
    list_init(&e->link);
    list_init(&e->parked.link);
    if (hash_insert(&by_number, &e->by_number, hash_number(number)) < 0) {
        free(e);
        return NULL;
    }
    counts[ENTRY_NOWHERE]++;
    return e;
}

struct entry *entry_find(uint64_t number)
{
    for (struct hash_node *n = hash_first(&by_number, hash_number(number)); n; n = hash_next(n)) {
        struct entry *e = CONTAINER_OF(n, struct entry, by_number);
        if (e->id.number == number)
            return e;
    }
    return NULL;
}

/* --- the heap --- */

static void heap_put(size_t i, struct entry *e)
{
    heap.items[i] = e;
    e->heap_index = (uint32_t)i;
}

static void heap_up(size_t i, struct entry *e)
{
    for (; i > 1 && heap.items[i / 2]->next_attempt_s > e->next_attempt_s; i /= 2)
        heap_put(i, heap.items[i / 2]);
    heap_put(i, e);
}

static void heap_down(size_t i, struct entry *e)
{
    for (size_t child; (child = 2 * i) < heap.len; i = child) {
        if (child + 1 < heap.len &&
            heap.items[child + 1]->next_attempt_s < heap.items[child]->next_attempt_s)
            child++;
        if (heap.items[child]->next_attempt_s >= e->next_attempt_s)
            break;
        heap_put(i, heap.items[child]);
    }
    heap_put(i, e);
}

static void heap_insert(struct entry *e)
{
    struct entry **slot = heap.len == 0 ? array_push(&heap) : heap.items;

    if (slot != NULL)
        slot = array_push(&heap);
    if (slot == NULL)
        panic("no memory for the list of deferred messages");
    heap_up(heap.len - 1, e);
}

static void heap_remove(struct entry *e)
{
    size_t i = e->heap_index;
    struct entry *last = heap.items[--heap.len];

    e->heap_index = 0;
    if (last == e)
        return;
    if (i > 1 && heap.items[i / 2]->next_attempt_s > last->next_attempt_s)
        heap_up(i, last);
    else
        heap_down(i, last);
}

struct entry *entry_next_due(void)
{
    return heap.len > 1 ? heap.items[1] : NULL;
}

/* Keeps the order of the heap. */
void entry_limit_due(int64_t latest_s)
{
    for (size_t i = 1; i < heap.len; i++)
        if (heap.items[i]->next_attempt_s > latest_s)
            heap.items[i]->next_attempt_s = latest_s;
}

/* --- places --- */

static void leave(struct entry *e)
{
    if (e->heap_index > 0)
        heap_remove(e);
    if (e->parked.lane != NULL)
        schedule_unpark(&e->parked);
    list_remove(&e->link);
    counts[e->place]--;
}

void entry_move(struct entry *e, enum entry_place place)
{
    leave(e);
    e->place = (uint8_t)place;
    counts[place]++;
    if (place == ENTRY_DEFERRED)
        heap_insert(e);
    else if (place != ENTRY_PARKED && place != ENTRY_NOWHERE)
        list_append(&places[place], &e->link);
}

struct entry *entry_first(enum entry_place place)
{
    init();
    return list_is_empty(&places[place]) ? NULL : LIST_ITEM(places[place].next, struct entry, link);
}

void entry_free(struct entry *e)
{
    leave(e);
    drop_changes(e, 0, e->change_count);
    if (e->message.length > 0)
        segment_unuse(&e->message);
    hash_remove(&by_number, &e->by_number);
    free(e->changes);
    free(e);
}

size_t entry_count(enum entry_place place)
{
    return counts[place];
}

size_t entry_count_all(void)
{
    return by_number.count;
}

struct entry *entry_walk(struct hash_walk *walk)
{
    struct hash_node *n = hash_walk(&by_number, walk);

    return n == NULL ? NULL : CONTAINER_OF(n, struct entry, by_number);
}

/* --- records --- */

static void drop_changes(struct entry *e, uint32_t from, uint32_t n)
{
    if (n == 0)
        return;
    for (uint32_t i = from; i < from + n; i++)
        segment_unuse(&e->changes[i].at);
    memmove(&e->changes[from], &e->changes[from + n],
            (e->change_count - from - n) * sizeof(e->changes[0]));
    e->change_count -= n;
}

uint32_t entry_sequence(const struct entry *e)
{
    return e->change_count > 0 ? e->changes[e->change_count - 1].sequence : 0;
}

int entry_add_change(struct entry *e, const struct change *c)
{
    uint32_t i = 0;

    if (e->change_count > 0 && e->changes[0].is_state && e->changes[0].sequence > c->sequence)
        return 0;
    while (i < e->change_count && e->changes[i].sequence < c->sequence)
        i++;
    if (i < e->change_count && e->changes[i].sequence == c->sequence) {
        if (e->changes[i].at.segment < c->at.segment) {
            segment_unuse(&e->changes[i].at);
            e->changes[i].at = c->at;
            segment_use(&c->at);
        }
        return 0;
    }
    if (c->is_state) {
        drop_changes(e, 0, i);
        i = 0;
    }
    if (e->change_count == e->change_capacity) {
        uint32_t capacity = e->change_capacity == 0 ? 1 : e->change_capacity * 2;
        struct change *more = realloc(e->changes, capacity * sizeof(*more));

        if (more == NULL)
            return -ENOMEM;
        e->changes = more;
        e->change_capacity = capacity;
    }
    if (i < e->change_count)
        memmove(&e->changes[i + 1], &e->changes[i], (e->change_count - i) * sizeof(e->changes[0]));
    e->changes[i] = *c;
    e->change_count++;
    segment_use(&c->at);
    return 0;
}

void entry_set_message(struct entry *e, const struct journal_position *at)
{
    if (e->message.length == 0) {
        e->oldest_segment = at->segment;
    } else {
        if (at->segment < e->oldest_segment)
            e->oldest_segment = at->segment;
        if (at->segment < e->message.segment)
            return;
        segment_unuse(&e->message);
    }
    e->message = *at;
    segment_use(at);
}
