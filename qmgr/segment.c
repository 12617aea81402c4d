/* How many octets of each segment are still needed. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "qmgr/entry.h"

struct segment {
    struct hash_node by_number;
    uint64_t number, live;
};

static struct hash segments;

static uint64_t hash_number(uint64_t number)
{
    return span_hash(span_make(&number, sizeof(number)));
}

static struct segment *find(uint64_t number)
{
    for (struct hash_node *n = hash_first(&segments, hash_number(number)); n; n = hash_next(n)) {
        struct segment *s = CONTAINER_OF(n, struct segment, by_number);
        if (s->number == number)
            return s;
    }
    return NULL;
}

void segment_use(const struct journal_position *at)
{
    struct segment *s = find(at->segment);

    if (s == NULL) {
        s = NEW(struct segment);
        if (s == NULL || hash_insert(&segments, &s->by_number, hash_number(at->segment)) < 0)
            panic("no memory for the list of segments");
        s->number = at->segment;
    }
    s->live += at->length;
}

void segment_unuse(const struct journal_position *at)
{
    struct segment *s = find(at->segment);

    if (s == NULL || s->live < at->length)
        panic("segment %llu: more records ended than began", (unsigned long long)at->segment);
    s->live -= at->length;
}

uint64_t segment_live(uint64_t number)
{
    struct segment *s = find(number);

    return s == NULL ? 0 : s->live;
}

void segment_forget(uint64_t number)
{
    struct segment *s = find(number);

    if (s == NULL)
        return;
    hash_remove(&segments, &s->by_number);
    free(s);
}
