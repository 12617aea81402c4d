/*
 * reader.h: reading a store journal's records in order, without the lock. The
 * first bad record is the end for now; a bad record inside a sealed segment is
 * ERR_CORRUPT. Functions block; a reader belongs to one thread at a time.
 */
#ifndef JOURNAL_READER_H
#define JOURNAL_READER_H

#include "journal/journal.h"

/* Between two records; what an index stores as "applied so far". All zero: from
 * the beginning. 48 octets on disk (journal_cursor_encode). */
struct journal_cursor {
    uint64_t segment; /* segment number */
    uint64_t offset;  /* where the next record is looked for */
    uint64_t nonce;   /* of the segment: a restored or replaced one does not match */
    uint64_t number, limit;
    uint32_t prev;      /* header CRC of the record before */
    uint32_t last_kind; /* kind of the record before */
};
enum { JOURNAL_CURSOR_SIZE = 48 };
void journal_cursor_encode(const struct journal_cursor *c, unsigned char out[JOURNAL_CURSOR_SIZE]);
int journal_cursor_decode(struct span octets, struct journal_cursor *c); /* ERR_CORRUPT */
/* The same place in the same journal. */
static inline bool journal_cursor_eq(const struct journal_cursor *a, const struct journal_cursor *b)
{
    return a->segment == b->segment && a->offset == b->offset && a->nonce == b->nonce &&
           a->number == b->number && a->prev == b->prev;
}

struct journal_reader;

/* from NULL or zero: the newest segment that begins with a snapshot, else the
 * oldest segment. ERR_NOT_FOUND: no journal here, or the cursor's segment is gone
 * (start again from zero). heads_only: bodies in sealed segments are neither read
 * nor checked, and record->body is empty, but a snapshot is whole (a rebuild of the
 * index). */
int journal_reader_open(struct disk *disk, const struct journal_cursor *from, bool heads_only,
                        struct journal_reader **out);
void journal_reader_close(struct journal_reader *r);
/* 1: a record (its spans are valid until the next call; JOURNAL_OPEN, RESERVE and
 * SEAL are handed out too), 0: the end for now (call again later), ERR_CORRUPT: a
 * sealed segment is damaged here; journal_reader_skip() goes on behind it. */
int journal_reader_next(struct journal_reader *r, struct journal_record *record);
/* Behind the last record handed out. */
void journal_reader_cursor(const struct journal_reader *r, struct journal_cursor *out);
/* After ERR_CORRUPT: to the next segment. 0, or ERR_NOT_FOUND. */
int journal_reader_skip(struct journal_reader *r);

#endif
