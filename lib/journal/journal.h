/*
 * journal.h: append-only segments with one record format, one recovery and one
 * cleaner, for the queue and for every mail account. What both modes share:
 *
 *   format.h  the octets           reader.h  reading records in order
 *   disk.h    the disk             boot.h    which boot a hint belongs to
 *   writer.h  queue mode: one process writes, slots are reused
 *   batch.h   queue mode for tasks: group commit over writer.h
 *   shared.h  store mode: every process appends under a lock
 *
 * States, rules and recovery: ARCHITECTURE.md, section "The journal".
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/span.h"
#include "base/str.h"
#include "journal/disk.h"
#include "journal/format.h"

/* The library's kinds; all else is the user's. */
enum journal_kind {
    JOURNAL_OPEN = 1,    /* first record of a segment; store: its body may be a snapshot */
    JOURNAL_RESERVE = 2, /* the limit was raised */
    JOURNAL_SEAL = 3,    /* last record of a segment */
    JOURNAL_KIND_USER = 16,
};

/* Flags below this bit are the user's; JOURNAL_MOVED may be set by the user on
 * a copy made by its cleaner. */
enum journal_flag {
    JOURNAL_SNAPSHOT = 1 << 14, /* this OPEN holds the owner's whole state */
    JOURNAL_MOVED = 1 << 15,
};

struct journal_options {
    uint64_t segment_size;    /* queue: 16 MiB a slot; store: 16 MiB */
    uint32_t alignment;       /* batches start on it: queue 4096, store 8 */
    uint64_t reserve;         /* numbers reserved at a time: 65536 */
    uint64_t write_ahead_max; /* store: zeros ahead, at most; 256 KiB */
};
void journal_options_queue(struct journal_options *o); /* the defaults */
void journal_options_store(struct journal_options *o);

/* Where a record lies; enough to read it again. */
struct journal_position {
    uint64_t segment; /* segment number */
    uint64_t offset;  /* of the record's header */
    uint32_t length;  /* header included, padding not */
};

/* A record to append, or one that was read. */
struct journal_record {
    uint16_t kind;
    uint16_t flags;
    uint32_t count;        /* appending: numbers it takes, 0 or more; reading: how many it took */
    uint64_t number;       /* the counter after this record: its numbers are number - count + 1 ..
                              number. Filled in. */
    struct span head;      /* covered by the header's CRC: envelope, hot part */
    struct span body;      /* covered by a CRC of its own */
    struct span body_more; /* appending: second part of the body, such as content after a prefix */
    struct journal_position at; /* filled in */
};

/* Called for a record that was read; spans are valid during the call. A non-zero
 * result ends the walk and is returned from it. */
typedef int journal_record_fn(void *arg, const struct journal_record *record);

#endif
