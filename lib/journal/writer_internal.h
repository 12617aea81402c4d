/* writer_internal.h: what the files writer*.c share. */
#ifndef JOURNAL_WRITER_INTERNAL_H
#define JOURNAL_WRITER_INTERNAL_H

#include <stdatomic.h>

#include "base/array.h"
#include "journal/scan.h"
#include "journal/writer.h"

/* A slot that is in use. Free ones are only numbers. */
struct segment {
    uint64_t slot;
    struct segment_header header;
    uint64_t used;      /* octets of header and records */
    unsigned in_flight; /* batches not yet settled, the waiting ones included */
    bool is_sealed;
    bool is_damaged;
    bool is_freeing;
};

/* A segment's file that was read from: open until another one needs its place. */
enum { READ_FILES = 16 };
struct read_file {
    uint64_t segment;
    struct disk_file *file; /* NULL: none */
};

struct journal_batch {
    struct list link;
    struct journal_writer *writer;
    int64_t sequence;
    uint64_t slot, segment;
    uint64_t offset; /* in the file; 0 when the header block comes first */
    unsigned char *data;
    size_t len, cap;
    uint64_t records;
    uint64_t limit;         /* what is reserved once this batch is durable; 0: unchanged */
    struct disk_file *file; /* its own open file description, of file_slot */
    uint64_t file_slot;
    int rc;
    bool is_settled;
};

struct journal_writer {
    struct disk *disk;
    struct journal_options options;
    size_t batch_max;
    struct disk_file *lock; /* the tail file, locked for life */

    ARRAY(struct segment) segments; /* ascending by number; the last one is active */
    ARRAY(uint64_t) free_slots;
    uint64_t next_slot;    /* no file has this slot number or a higher one */
    uint64_t next_segment; /* number */
    bool is_slot_coming;

    /* Behind the last record that was added. */
    uint64_t end;
    uint32_t prev;                /* of the last record: its CRC, */
    struct journal_position last; /* and where it is; length 0: nowhere */
    uint64_t number, limit;
    uint64_t durable_limit; /* numbers below it may be used */

    struct list waiting;   /* batches, oldest first; only the last may grow */
    struct list in_flight; /* taken and not settled, in order */
    struct list spare;
    struct journal_batch *open; /* the last of waiting, while it may grow */
    int64_t last_sequence;
    int64_t confirmed;
    uint64_t confirmed_segment; /* the newest one with a durable batch */
    int64_t seal_sequence;      /* of the last batch that ended with a SEAL */
    int64_t limit_sequence;     /* of the last batch with a RESERVE */
    int error;

    atomic_llong written; /* sequence of the last batch whose write returned */
    atomic_int broken;    /* what its write or sync failed with */

    struct read_file read_files[READ_FILES]; /* by segment number modulo */

    uint64_t stat_batches, stat_records, stat_octets;
};

enum { SLOT_NAME_SIZE = 32 };
void writer_slot_name(char name[SLOT_NAME_SIZE], uint64_t slot);
struct segment *writer_find_segment(const struct journal_writer *w, uint64_t number);
struct segment *writer_active(const struct journal_writer *w);
/* Begin a new segment in a free slot, after sealing the active one. -EAGAIN. */
int writer_switch_segment(struct journal_writer *w);
/* The segment is about to go. */
void writer_forget_file(struct journal_writer *w, uint64_t segment);
/* Append one of the library's own records to the open batch (room is there). */
int writer_add_own(struct journal_writer *w, enum journal_kind kind);
/* Write and sync everything that waits, here and now (start only). */
int writer_write_out(struct journal_writer *w);
/* The segments are those of the mark, which may be any octets, and nothing was appended
 * since: takes over what reading the records would have found. 1; 0: they are not. */
int writer_apply_mark(struct journal_writer *w, struct span mark);
/* Behind the last place where a record may end: a SEAL fits always. */
uint64_t writer_room_end(const struct journal_writer *w);

#endif
