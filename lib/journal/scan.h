/*
 * scan.h: walking the records of one segment (internal). Untrusted octets: a
 * record is good when tag, lengths, prev and both CRCs are; the first bad one is
 * the end, and nothing behind it is looked at.
 */
#ifndef JOURNAL_SCAN_H
#define JOURNAL_SCAN_H

#include "journal/journal.h"
#include "journal/reader.h"

struct scan {
    struct disk_file *file; /* borrowed */
    struct segment_header header;
    uint64_t end;    /* no record ends behind it */
    uint64_t offset; /* behind the last good record, a multiple of 8 */
    uint64_t last;   /* offset of the last good record; 0: none yet */
    uint64_t number, limit;
    uint32_t prev;
    uint16_t last_kind; /* 0: none yet */
    bool heads_only;
    size_t chunk; /* octets read at a time */
    /* the window */
    unsigned char *buf;
    size_t cap, len;
    uint64_t at;
};

/* Read a file's header and compare it with what the file claims to be.
 * ERR_CORRUPT: not a segment of this name; ERR_VERSION. A free slot is good. */
int scan_read_header(struct disk_file *file, uint32_t flags, uint64_t identity,
                     struct segment_header *header);
/* From the first record. */
void scan_init(struct scan *s, struct disk_file *file, const struct segment_header *header);
/* From a cursor into this segment. */
void scan_resume(struct scan *s, const struct journal_cursor *from);
void scan_fini(struct scan *s);
/* 1: a record, whose spans are valid until the next call; 0: the end; else a
 * negative code. After 0 the same place can be asked again. */
int scan_next(struct scan *s, struct journal_record *record);
void scan_cursor(const struct scan *s, struct journal_cursor *out);
/* Read a record out of order: checked by its tag and CRCs only. DISK_NO_WAIT: -EAGAIN when
 * it is not in memory. */
int scan_read_at(struct disk_file *file, const struct segment_header *header,
                 const struct journal_position *at, enum disk_wait wait, struct str *out,
                 struct journal_record *record);

/* The same without the body: record->body has a length but no octets. */
int scan_read_head_at(struct disk_file *file, const struct segment_header *header, uint64_t offset,
                      size_t head_max, struct str *out, struct journal_record *record);

/* Make a record's octets at data (room for its padded length); returns its header. */
struct record_header scan_make_record(unsigned char *data, const struct journal_record *record,
                                      uint64_t nonce, uint32_t prev, uint64_t limit);
/* The length of a record with header, padding excluded; 0: more than 4 GiB. */
uint64_t scan_record_length(const struct journal_record *record);

#endif
