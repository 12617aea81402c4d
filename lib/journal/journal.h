/*
 * journal.h: append-only segments with one record format, one recovery and one
 * cleaner, for the queue and for every mail account.
 *
 * Format, rules and recovery: the header comment of format.h. This file is the
 * interface. Functions here block on the disk: services call them on worker
 * threads (or through batch.h, which groups commits for tasks). The disk under
 * it is an interface (disk.h), so that the simulation tests run the real code.
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/span.h"
#include "base/str.h"
#include "journal/disk.h"

struct journal;

enum journal_mode {
    JOURNAL_QUEUE, /* slots reused; one writer for life; every segment counts on its own */
    JOURNAL_STORE, /* numbered segments; any process may append under the lock */
};

struct journal_options {
    enum journal_mode mode;
    uint64_t segment_size;    /* queue 16 MiB */
    uint32_t alignment;       /* batches start on it: queue 4096, store 8 */
    uint64_t reserve;         /* numbers reserved at a time: 65536 */
    uint64_t write_ahead_max; /* store: zeros ahead, at most; 256 KiB */
};

/* Where a record lies; enough to read it again. */
struct journal_position {
    uint64_t segment; /* segment number */
    uint64_t offset;  /* of the record's header */
    uint32_t length;  /* header included */
};

/* A record to append, or one that was read. */
struct journal_record {
    uint16_t kind;    /* the library's kinds are below JOURNAL_KIND_USER */
    uint16_t flags;
    uint32_t count;   /* numbers it takes: 0 or more */
    uint64_t number;  /* filled in: the counter after this record */
    struct span head; /* covered by the header's CRC: envelope, hot part */
    const struct iovec *body; /* covered by the second CRC */
    int body_count;
    struct journal_position at; /* filled in */
};

enum { JOURNAL_KIND_USER = 16 };

#endif
