/*
 * batch.h: group commit for tasks over a queue journal (writer.h). Everything
 * submitted while earlier syncs run leaves as one write and one fdatasync on
 * TASK_POOL_SYNC. All functions are for the loop thread.
 */
#ifndef JOURNAL_BATCH_H
#define JOURNAL_BATCH_H

#include "journal/writer.h"
#include "task/task.h"

struct journal;

struct journal_batch_options {
    unsigned in_flight;      /* batches being written and synced at once, 1-4; 0: 2 */
    size_t batch_max;        /* octets of one batch; 0: 1 MiB */
    unsigned lazy_ms;        /* a record nobody waits for leaves after this time; 0: 500 */
    unsigned inline_sync_us; /* sync on the loop thread while half of the syncs are shorter than
                                this and commits come one at a time; 0: never */
    /* Called once, on the loop, when the journal became read-only; may be NULL. */
    void (*on_failed)(void *arg, int error);
    void *arg;
};

/* Takes the writer, also when it fails. */
int journal_new(struct journal_writer *w, const struct journal_batch_options *options,
                struct journal **out);
/* Writes and syncs what is waiting, then frees journal and writer. */
TASK_WAITS void journal_free(struct journal *j);
struct journal_writer *journal_writer_of(struct journal *j);

/* Append records in this order, in one batch or neighbouring ones, and wait until
 * they are durable: then their numbers and positions are filled in. Their memory is
 * not used after the call. A cancelled task waits too (the result is the journal's).
 * ERR_READ_ONLY after a failed write or sync, ERR_TOO_LONG, -ENOSPC, -ENOMEM. On an
 * error some of the records may be found by the next recovery. */
TASK_WAITS int journal_commit(struct journal *j, struct journal_record *records, size_t count);
/* Append a record that nobody waits for: durable with the next commit, or soon.
 * Waits only for room (a slot, a range of numbers). */
TASK_WAITS int journal_append(struct journal *j, struct journal_record *record);
/* Wait until everything appended so far is durable. */
TASK_WAITS int journal_flush(struct journal *j);

/* Read one record again, on a worker unless it is in memory; head and body are appended to *out. */
TASK_WAITS int journal_read(struct journal *j, const struct journal_position *at, struct str *out,
                            struct journal_record *record);
/* Walk the records of one settled segment; each() runs on a worker thread while
 * the caller waits. */
TASK_WAITS int journal_walk(struct journal *j, uint64_t segment, journal_record_fn *each,
                            void *arg);
/* The cleaner's last step: everything needed was copied and journal_commit() or
 * journal_flush() returned. The header is cleared and synced. -EBUSY as
 * journal_free_start(). */
TASK_WAITS int journal_free_segment(struct journal *j, uint64_t segment);

struct journal_batch_stats {
    uint64_t commits, lazy, syncs, inline_syncs;
    uint64_t sync_us; /* sum of the duration of syncs */
    unsigned in_flight;
};
void journal_get_stats(const struct journal *j, struct journal_batch_stats *out);

#endif
