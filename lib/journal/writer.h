/*
 * writer.h: queue mode. One process owns the journal for life; slots of equal
 * size are reused under a new segment number and nonce.
 *
 * A batch is what is written and synced together. Several are in flight: they
 * are written in order, each is synced on its own open file description, and
 * they are confirmed in order. The functions below are in three classes:
 *   (owner)  for the thread that owns the writer; never touch the disk
 *   (worker) block on the disk; any thread, one call at a time per batch or job
 *   (start)  before or after everything else; block
 * batch.h drives all this for tasks.
 */
#ifndef JOURNAL_WRITER_H
#define JOURNAL_WRITER_H

#include "base/list.h"
#include "journal/journal.h"

struct journal_writer;

/* --- start and end (start) --- */

/* Take the lock, read every record of every segment in the order of their
 * numbers (each() may be NULL), sync what the page cache may hold alone, reserve
 * a new range of numbers durably. -EAGAIN: another process has the lock;
 * ERR_VERSION: written by a newer format. Damage inside a sealed segment is
 * logged, counted and survived: that segment is never freed. */
int journal_writer_open(struct disk *disk, const struct journal_options *options,
                        journal_record_fn *each, void *arg, struct journal_writer **out);

/* The same for an owner that kept what it made of the records when it closed the
 * journal. All functions are called with the lock held, on the caller's thread. */
struct journal_owner {
    journal_record_fn *each; /* may be NULL */
    /* What journal_writer_mark() said when that was kept: appended to *mark. Not 0:
     * nothing was kept. */
    int (*find_mark)(void *arg, struct str *mark);
    /* The journal is still as marked: take what was kept. Not 0: that cannot be used,
     * and each() gets the records after all. */
    int (*restore)(void *arg);
    void *arg;
};
int journal_writer_open_kept(struct disk *disk, const struct journal_options *options,
                             const struct journal_owner *owner, struct journal_writer **out);
/* Which segments there are and where the last record ends, in octets for this machine
 * alone. -EBUSY: something is not yet durable; ERR_CORRUPT: damage that every start must
 * tell; ERR_READ_ONLY. */
int journal_writer_mark(const struct journal_writer *w, struct str *mark);
/* Octets of one batch, at most (a larger record makes its own); 1 MiB at first. */
void journal_writer_set_batch_max(struct journal_writer *w, size_t octets);
/* Nothing may be in flight. Gives up the lock. */
void journal_writer_close(struct journal_writer *w);

/* --- appending --- */

/* One or more records that went in together; the open batch until it is taken. */
struct journal_batch;

/* (owner) Copy a record to the open batch; number and position are final. Returns
 * the batch's sequence number (> 0), or -EAGAIN: nothing was taken, try again
 * when a batch was settled or a slot prepared (numbers, slots or a seal are not
 * yet durable); ERR_TOO_LONG for a record larger than a segment; ERR_READ_ONLY. */
int64_t journal_writer_add(struct journal_writer *w, struct journal_record *record);
/* (owner) Octets and records that wait in batches not yet taken. */
size_t journal_writer_waiting(const struct journal_writer *w);
/* (owner) The oldest batch that was not taken yet, closed now; NULL if there is none.
 * It must be written (in the order taken), synced and settled. */
struct journal_batch *journal_writer_take(struct journal_writer *w);
/* (owner, worker) All batches taken before this one were written. */
bool journal_batch_may_write(struct journal_batch *b);
/* What journal_writer_add() returned for the records in it. */
int64_t journal_batch_sequence(const struct journal_batch *b);
/* (worker) Requires journal_batch_may_write(). */
int journal_batch_write(struct journal_batch *b);
/* (worker) After journal_batch_write(). */
int journal_batch_sync(struct journal_batch *b);
/* (owner) The batch was synced (or failed with rc). Batches are confirmed in
 * order: journal_writer_confirmed() rises when all before it were settled too.
 * A failure makes the journal read-only: nothing behind it is ever confirmed. */
void journal_writer_settle(struct journal_writer *w, struct journal_batch *b, int rc);
/* (owner) Every batch up to this sequence number is durable. */
int64_t journal_writer_confirmed(const struct journal_writer *w);
/* (owner) The sequence number of the newest batch that holds something. */
int64_t journal_writer_last(const struct journal_writer *w);
/* (owner) 0, or what made the journal read-only. */
int journal_writer_error(const struct journal_writer *w);

/* (owner) The segment that records go to now; 0: none yet. */
uint64_t journal_writer_active(const struct journal_writer *w);

/* --- slots --- */

/* (owner) True when a free slot should be made ready soon. */
bool journal_writer_needs_slot(const struct journal_writer *w);
/* (worker) Make a slot file: created, allocated, synced with its directory, free.
 * One at a time. */
struct journal_slot_job {
    struct journal_writer *writer;
    struct disk_file *file;
    uint64_t slot;
    int rc;
};
void journal_slot_start(struct journal_writer *w, struct journal_slot_job *job); /* (owner) */
void journal_slot_run(struct journal_slot_job *job);                             /* (worker) */
int journal_slot_finish(struct journal_slot_job *job);                           /* (owner) */

/* --- cleaner --- */

struct journal_segment_info {
    uint64_t number;
    uint64_t used; /* octets of header and records */
    uint64_t size;
    bool is_active;  /* records may still be added */
    bool is_settled; /* no batch of it is in flight */
    bool is_damaged;
};
/* (owner) The index-th segment in ascending order; false behind the last. */
bool journal_writer_segment(const struct journal_writer *w, size_t index,
                            struct journal_segment_info *out);

/* (worker) Read the records of a sealed or damaged segment again, or one record
 * (ERR_CORRUPT, ERR_NOT_FOUND). Only what was settled may be asked for. */
struct journal_read_job {
    struct journal_writer *writer;
    uint64_t slot;
    struct segment_header header;
    uint64_t end;
    struct disk_file *file; /* of journal_read_one() */
};
int journal_read_start(struct journal_writer *w, uint64_t segment,
                       struct journal_read_job *job); /* (owner) */
int journal_read_run(struct journal_read_job *job, journal_record_fn *each,
                     void *arg); /* (worker) */
/* Appends head and body to *out and points the record into it. */
int journal_read_one(struct journal_read_job *job, const struct journal_position *at,
                     struct str *out, struct journal_record *record); /* (worker) */
/* After the last journal_read_one(): the file stays open for journal_read_at_once(). */
void journal_read_finish(struct journal_read_job *job); /* (owner) */
/* (owner) The same without waiting for the disk: -EAGAIN when the segment's file is not
 * open or the record not in memory. */
int journal_read_at_once(struct journal_writer *w, const struct journal_position *at,
                         struct str *out, struct journal_record *record);

/* Free a segment: nothing in it is needed any more, and the copies of what was
 * are confirmed. -EBUSY: active, in flight, damaged, or no batch of a later
 * segment was confirmed yet (the numbers' limit would be lost). The slot is
 * reused only after journal_free_finish(). */
struct journal_free_job {
    struct journal_writer *writer;
    uint64_t segment, slot;
    int rc;
};
int journal_free_start(struct journal_writer *w, uint64_t segment,
                       struct journal_free_job *job);  /* (owner) */
void journal_free_run(struct journal_free_job *job);   /* (worker) */
int journal_free_finish(struct journal_free_job *job); /* (owner) */

struct journal_writer_stats {
    uint64_t batches, records, octets, segments, slots_free, damaged;
    uint64_t number, limit;
};
void journal_writer_get_stats(const struct journal_writer *w, struct journal_writer_stats *out);

#endif
