/*
 * entry.h: what qmgr holds in memory for every message: enough to know when it
 * is due and where its records lie, a few hundred octets; the rest is loaded
 * when the message becomes active.
 */
#ifndef QMGR_ENTRY_H
#define QMGR_ENTRY_H

#include "base/hash.h"
#include "base/list.h"
#include "journal/journal.h"
#include "qmgr/schedule.h"
#include "queue/id.h"

enum entry_place {
    ENTRY_NOWHERE,
    ENTRY_INCOMING, /* waits to become active */
    ENTRY_ACTIVE,   /* loaded: jobs exist */
    ENTRY_PARKED,   /* waits for room in a lane */
    ENTRY_DEFERRED, /* waits for its time, in the heap */
    ENTRY_ON_HOLD,
    ENTRY_PLACES,
};

struct active;

/* A STATE or RESULT record that activation applies. */
struct change {
    struct journal_position at;
    uint32_t sequence;
    bool is_state;
};

struct entry {
    struct hash_node by_number;
    struct queue_id id;
    struct journal_position message; /* the MESSAGE record that counts */
    struct change *changes;          /* ascending; a STATE is the first */
    uint32_t change_count, change_capacity;
    uint64_t oldest_segment; /* that may hold a copy of the message */
    uint64_t file;           /* large content, or 0 */
    uint64_t size;
    int64_t arrival_us;
    int64_t next_attempt_s;
    uint32_t heap_index; /* 1.. while ENTRY_DEFERRED */
    uint32_t attempts;   /* passes begun since this qmgr started */
    uint32_t sites[2];   /* hashes of the next hops it waited for at last; 0: unknown */
    uint32_t under_way;  /* recipients with agents of the qmgr before this one, */
    uint32_t wait_until; /* and how long they are waited for, in seconds of the monotonic clock */
    uint8_t place;
    uint8_t flags;        /* enum entry_flag */
    bool is_removed;      /* during recovery */
    bool is_put_off;      /* one of those that were under way was deferred */
    bool is_flush_wanted; /* again, as soon as this pass ends */
    bool is_unparked;     /* had its wait in a lane: is not parked again */
    bool is_forced;       /* flushed: a dead destination does not stop it once */
    struct list link;     /* INCOMING, ON_HOLD, ACTIVE: in that list */
    struct schedule_parked parked;
    struct active *active;
    uint64_t commit_hash; /* of the commit id; to answer "is it committed?" */
};

/* All entries. The list of a place is in order of arrival there. */
struct entry *entry_new(uint64_t number); /* NULL: no memory */
/* Off every list, heap and table. */
void entry_free(struct entry *e);
struct entry *entry_find(uint64_t number);
size_t entry_count(enum entry_place place);
size_t entry_count_all(void);
/* Move to a place; PARKED: the caller parks it in a lane before or after. */
void entry_move(struct entry *e, enum entry_place place);
struct entry *entry_first(enum entry_place place); /* NULL: none; not for PARKED */
/* The next one due, and walking in no order:
 *     struct hash_walk w = {0}; while ((e = entry_walk(&w)) != NULL) ... */
struct entry *entry_next_due(void);
/* Nobody waits beyond latest_s: for times that come from a clock that was wrong. */
void entry_limit_due(int64_t latest_s);
struct entry *entry_walk(struct hash_walk *walk);

/* A STATE or RESULT record of this message was read or written, or a copy of one
 * in a later segment: counts it as used, and what it replaces as no longer. */
int entry_add_change(struct entry *e, const struct change *c);
/* The MESSAGE record was read or written, or a copy of it in a later segment. */
void entry_set_message(struct entry *e, const struct journal_position *at);
uint32_t entry_sequence(const struct entry *e);

/* --- segments --- */

/* Octets of records that are still needed, by segment. */
void segment_use(const struct journal_position *at);
void segment_unuse(const struct journal_position *at);
uint64_t segment_live(uint64_t segment);
void segment_forget(uint64_t segment);

#endif
