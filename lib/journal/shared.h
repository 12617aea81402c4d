/*
 * shared.h: store mode. Any process appends under the OFD lock on the file
 * "tail"; segments have numbered names ("seg.17"), are never renamed and never
 * reused, only removed.
 *
 * Functions block: call them on worker threads. One call at a time per handle
 * and one writer per journal in a process (the caller's promise); between
 * processes the lock decides. News: every append rewrites the file "tail", which
 * is never replaced: watch that one.
 *
 *     journal_shared_append(j, records, n, &commit);   under the lock, short
 *     journal_shared_sync(&commit);                    outside it; then answer
 */
#ifndef JOURNAL_SHARED_H
#define JOURNAL_SHARED_H

#include "journal/boot.h"
#include "journal/reader.h"

struct journal_shared;
struct open_segment;

/* Called under the lock when a segment was sealed: append the owner's whole state as
 * of the given cursor (every record before it applied) to *out and return 0, or return
 * 1 for none. is_wanted: journal_shared_seal() asked for one. A negative result ends
 * the sealing. */
typedef int journal_snapshot_fn(void *arg, bool is_wanted, const struct journal_cursor *as_of,
                                struct str *out);

/* Called under the lock when the journal has no segment yet: the owner's state that it
 * begins with, as a snapshot, and the number behind it. */
typedef int journal_begin_fn(void *arg, struct str *snapshot, uint64_t *number);

/* Opens, or with create makes, the journal in the disk's directory (ERR_NOT_FOUND
 * without it). Nothing is scanned here. disk is borrowed.
 *
 * A journal begins under the first lock, and is durable, its directory's name too, before
 * the first append or that lock ends. Only then there is a hint: who reads without the lock
 * and finds none (journal_shared_peek) takes the lock once before. */
int journal_shared_open(struct disk *disk, const struct journal_options *options,
                        const struct journal_boot *boot, bool create, struct journal_shared **out);
void journal_shared_close(struct journal_shared *j);
void journal_shared_set_snapshot(struct journal_shared *j, journal_snapshot_fn *fn, void *arg);
/* Without it a journal begins empty, at number 0. */
void journal_shared_set_begin(struct journal_shared *j, journal_begin_fn *fn, void *arg);

/* What must be synced before the append is answered. Zero-initialise. */
struct journal_commit {
    struct journal_shared *journal;
    struct open_segment *segment; /* an open file description of its own */
    struct journal_cursor end;    /* behind the appended records */
    bool is_durable;              /* it is: these began the journal */
};

/* Take the lock alone: for "apply the tail, compute, append". The cursor is the
 * journal's end: recovery, if it was needed, has run. Every lock is followed by
 * journal_shared_unlock(); append() between the two does not lock again. */
int journal_shared_lock(struct journal_shared *j, struct journal_cursor *end);
void journal_shared_unlock(struct journal_shared *j);

/* Where the last append ended, by the tail file alone and without the lock: a hint
 * that says cheaply whether there is news. ERR_NOT_FOUND: nothing is known. */
int journal_shared_peek(struct journal_shared *j, uint64_t *segment, uint64_t *offset);
/* Whether that is here. Does not wait for the disk; false when it cannot be said. */
bool journal_shared_is_at(struct journal_shared *j, uint64_t segment, uint64_t offset);

/* Under the lock: the kind of the last record and the first n octets of its head, of a
 * snapshot its body. ERR_NOT_FOUND: there is none, or it is shorter. */
int journal_shared_last(struct journal_shared *j, uint16_t *kind, void *head, size_t n);

/* Append records together (one write, never split over segments); fills in number
 * and position. Seals and reserves as needed. ERR_TOO_LONG when they do not fit in
 * a segment, -ENOSPC and others: nothing was appended. ERR_READ_ONLY after a failed
 * sync by this process. */
int journal_shared_append(struct journal_shared *j, struct journal_record *records, size_t count,
                          struct journal_commit *commit);
/* fdatasync on the commit's own open file description, which is closed. On failure
 * the journal is read-only in this process (logged). */
int journal_shared_sync(struct journal_commit *commit);
/* Give up a commit without syncing: the records may or may not last. */
void journal_shared_forget(struct journal_commit *commit);
/* Make durable all that can be read now: before "yes, that was delivered already"
 * is answered from what another process may not have synced. */
int journal_shared_sync_all(struct journal_shared *j);

/* Read a record at a position; head and body are appended to *out. ERR_NOT_FOUND
 * (the segment is gone), ERR_CORRUPT. */
int journal_shared_read(struct journal_shared *j, const struct journal_position *at,
                        struct str *out, struct journal_record *record);
/* The same without the body and its check, by the place alone: record->at.length and
 * record->body.n are set, record->body.p is NULL. The body stands at the end of the
 * record. ERR_TOO_LONG: the head is over head_max. */
int journal_shared_read_head(struct journal_shared *j, uint64_t segment, uint64_t offset,
                             size_t head_max, struct str *out, struct journal_record *record);
/* A segment's file, open for reading. It stays the journal's, and is good until the
 * next read of another segment. */
int journal_shared_file(struct journal_shared *j, uint64_t segment, struct disk_file **out);

/* --- cleaner --- */

struct journal_shared_segment {
    uint64_t number;
    uint64_t size; /* of the file */
    bool is_active;
    bool has_snapshot; /* begins with one */
    bool is_leftover;  /* no valid first record */
};
/* Ascending by number. The caller frees *out with free(). */
int journal_shared_segments(struct journal_shared *j, struct journal_shared_segment **out,
                            size_t *count);
/* -EAGAIN: another process cleans. */
int journal_shared_clean_begin(struct journal_shared *j);
void journal_shared_clean_end(struct journal_shared *j);
/* Seal the active segment now and begin the next one with a snapshot. */
int journal_shared_seal(struct journal_shared *j, bool snapshot);
/* Remove a sealed segment. -EBUSY: it is active, or no later segment begins with a
 * snapshot. The caller has moved what is live, synced it (journal_shared_sync) and
 * waited longer than the undelete window and the longest backup. */
int journal_shared_remove(struct journal_shared *j, uint64_t segment);

#endif
