/* shared_internal.h: what the files shared*.c and reader.c share. */
#ifndef JOURNAL_SHARED_INTERNAL_H
#define JOURNAL_SHARED_INTERNAL_H

#include <stdatomic.h>

#include "base/array.h"
#include "journal/scan.h"
#include "journal/shared.h"

/* One open file description of one segment. */
struct open_segment {
    struct disk_file *file;
    struct segment_header header;
};

enum { SEGMENT_NAME_SIZE = 32 };
void segment_name(char name[SEGMENT_NAME_SIZE], uint64_t number);
/* ERR_NOT_FOUND: no such file; ERR_CORRUPT: not a segment of that number. */
int segment_open(struct disk *disk, uint64_t number, int flags, struct open_segment **out);
void segment_close(struct open_segment **s);
/* Whether it has its first record: 1 or 0. snapshot may be NULL; record is for
 * its header's sake only. */
int segment_begins(struct open_segment *s, bool *has_snapshot);
/* Numbers of the files that are called segments, ascending. */
struct segment_list {
    ARRAY(uint64_t) numbers;
};
int segment_list_read(struct disk *disk, struct segment_list *list);

struct journal_shared {
    struct disk *disk;
    struct journal_options options;
    struct journal_boot boot;
    struct disk_file *tail; /* the lock's open file description */
    bool is_locked, is_cleaning;
    bool is_new; /* begun under this lock, nothing of it is durable */
    journal_snapshot_fn *snapshot;
    void *snapshot_arg;
    journal_begin_fn *begin;
    void *begin_arg;
    atomic_int failed; /* what a sync failed with */

    /* Under the lock: the active segment and the place behind its last record. */
    struct open_segment *active;
    struct scan end;
    _Atomic(struct open_segment *) spare; /* given back by a commit */
    struct open_segment *reading;         /* the one read last */
};

/* Under the lock. Find the end, running recovery when the hint does not count. */
int shared_find_end(struct journal_shared *j);
int shared_write_hint(struct journal_shared *j);
/* Make a new journal durable and say so by its hint. */
int shared_settle(struct journal_shared *j);
/* Write SEAL unless it is there, and make the next segment. */
int shared_seal(struct journal_shared *j, bool want_snapshot);
int shared_sync_active(struct journal_shared *j);
/* Read-only from here on: the kernel says only once that something was lost. */
int shared_sync_failed(struct journal_shared *j, int rc);
int shared_reserve(struct journal_shared *j, uint64_t number);
/* Octets written at the end's aligned place; zeros go ahead of them. */
int shared_write(struct journal_shared *j, const void *data, size_t n, uint64_t offset);
uint64_t shared_seal_room(const struct journal_shared *j);

#endif
