/*
 * format.h: the octets of a journal. Little endian, all numbers unsigned.
 *
 * A segment file is a 4 KiB header block, then records:
 *
 *   offset size header block
 *        0    8 magic "WPJOURN" and format version 1
 *        8    4 CRC-32C of octets 12-63
 *       12    4 flags: kind of journal
 *       16    8 segment number: rises by one, never used twice in a journal
 *       24    8 nonce: random, new at each use, 0 = the slot is free
 *       32    8 identity: slot number (queue), segment number as in the name (store)
 *       40    8 size of the segment
 *       48    4 alignment: batches start on a multiple (8, 512 or 4096)
 *       52      zero up to 4096; never rewritten while the segment holds a
 *               confirmed record
 *
 *   offset size record
 *        0    8 tag: the segment's nonce
 *        8    4 length, this header included
 *       12    4 length of header and head: the part covered by the header's CRC
 *       16    2 kind
 *       18    2 flags
 *       20    4 prev: header CRC of the record before it in this segment (the
 *               first one: low half of the nonce)
 *       24    8 number: the journal's one counter after this record
 *       32    8 limit: numbers below it are reserved
 *       40    4 CRC-32C of the body, 0 without one
 *       44    4 CRC-32C of octets 0-43 and the head, seeded with the nonce's CRC
 *
 * The next record begins at the next multiple of 8, or, when none is there, at
 * the next multiple of the alignment (a batch ended). Nothing in a record
 * changes after it was written. Whatever does not follow from the record before
 * it is not a record: reading stops there and never looks further.
 *
 * The tail file's hint is rewritten under the lock and never synced:
 *
 *        0    4 CRC-32C of octets 4-71
 *        4    4 prev: header CRC of the last record
 *        8   16 boot id
 *       24    8 segment number
 *       32    8 offset behind the last record
 *       40    8 number
 *       48    8 limit
 *       56    8 offset of the last record
 *       64    8 zero
 */
#ifndef JOURNAL_FORMAT_H
#define JOURNAL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum {
    FORMAT_VERSION = 1,
    SEGMENT_HEADER_SIZE = 4096,
    SEGMENT_HEADER_USED = 64, /* what decoding needs */
    RECORD_HEADER_SIZE = 48,
    HINT_SIZE = 72,
    BOOT_ID_SIZE = 16,
};

/* Flags of a segment. */
enum {
    SEGMENT_QUEUE = 1,
    SEGMENT_STORE = 2,
};

struct segment_header {
    uint32_t flags;
    uint64_t number;
    uint64_t nonce;
    uint64_t identity;
    uint64_t size;
    uint32_t alignment;
};

void segment_header_encode(const struct segment_header *h,
                           unsigned char block[SEGMENT_HEADER_SIZE]);
/* ERR_CORRUPT; ERR_VERSION for a newer format. A free slot (nonce 0) decodes. */
int segment_header_decode(struct span octets, struct segment_header *h);

struct record_header {
    uint64_t tag;
    uint32_t length;
    uint32_t head_length; /* RECORD_HEADER_SIZE included */
    uint16_t kind, flags;
    uint32_t prev;
    uint64_t number, limit;
    uint32_t body_crc;
    uint32_t header_crc;
};

/* Writes 48 octets; head is what follows them. Fills in h->header_crc. */
void record_header_encode(struct record_header *h, struct span head, unsigned char *out);
/* ERR_CORRUPT when the 48 octets cannot be a record's; checks no CRC. */
int record_header_decode(struct span octets, struct record_header *h);
/* The header's CRC over 44 octets and the head. */
uint32_t record_header_crc(const unsigned char *octets, struct span head, uint64_t nonce);

struct hint {
    unsigned char boot[BOOT_ID_SIZE];
    uint64_t segment, offset, last;
    uint64_t number, limit;
    uint32_t prev;
};

void hint_encode(const struct hint *h, unsigned char out[HINT_SIZE]);
int hint_decode(struct span octets, struct hint *h); /* ERR_CORRUPT */

/* The smallest multiple of alignment (a power of two) that is not below offset. */
static inline uint64_t format_align(uint64_t offset, uint32_t alignment)
{
    return (offset + alignment - 1) & ~(uint64_t)(alignment - 1);
}

#endif
