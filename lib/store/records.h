/*
 * records.h: the store's kinds of journal records: what a change looks like on
 * disk. Pure.
 *
 * The head of every record begins with 24 octets (little endian):
 *
 *      0  2  version of this layout: 1
 *      2  2  flags: enum record_flag
 *      4  4  mailbox id, 0 where the kind has none
 *      8  8  octets in the account after this record \  0 without
 *     16  8  messages in the account after it        /  RECORD_TOTALS
 *
 * then, by kind, a fixed part and the rest of the head. The number in the journal's
 * header is the modseq of the change, and the UID of a message it brings (COPY: a
 * number for each). Lists of UIDs are pairs (first, last) of 4 octets each, ascending:
 * of the messages that are there, all in between are meant.
 */
#ifndef STORE_RECORDS_H
#define STORE_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"
#include "journal/journal.h"

enum record_kind {
    RECORD_DELIVER = JOURNAL_KIND_USER, /* body: the message; takes one number */
    RECORD_FLAGS,                       /* one number */
    RECORD_EXPUNGE,                     /* one number */
    RECORD_COPY,                        /* or move: a number for each message */
    RECORD_MAILBOX,                     /* create, delete, rename, ...: one number (RENEW: many) */
    RECORD_KEYWORD,                     /* a keyword's (new) name; no number */
    RECORD_MOVED,                       /* the cleaner's copy of a message; no number */
    RECORD_KINDS_END,
};

enum record_flag {
    RECORD_TOTALS = 1 << 0,
    RECORD_BLOB = 1 << 1, /* the message stands in a file of its own, named by its GUID */
    RECORD_MOVE = 1 << 2, /* COPY: the sources are expunged */
};

enum {
    RECORD_VERSION = 1,
    RECORD_COMMON_SIZE = 24,
    RECORD_HOT_SIZE = 64,
    RECORD_COUNT_MAX = 65536, /* numbers a record may take */
    GUID_SIZE = 16,
};

/* What is known of a message, 64 octets. */
struct record_hot {
    uint16_t flags; /* enum store_flag */
    int16_t zone;   /* of the internal date, minutes east */
    uint32_t bare;  /* LFs without CR: size + bare is RFC822.SIZE */
    uint64_t keywords;
    int64_t date;  /* internal date, seconds since 1970 */
    uint64_t size; /* octets of the message */
    unsigned char guid[GUID_SIZE];
    uint64_t delivery; /* hash of the delivery id, 0 without one */
};

enum record_box_op {
    RECORD_BOX_CREATE = 1, /* the mailbox's id is the number (INBOX: 1) */
    RECORD_BOX_DELETE,
    RECORD_BOX_RENAME,      /* to `other` */
    RECORD_BOX_SELECTABLE,  /* value 0: \Noselect, its messages are gone */
    RECORD_BOX_SUBSCRIBE,   /* value 1 or 0; by name */
    RECORD_BOX_SPECIAL_USE, /* `other` */
    RECORD_BOX_RENEW,       /* all mailboxes, by id: uidvalidity value, value + 1, ... */
    RECORD_BOX_OPS_END,
};

struct record {
    uint16_t kind; /* enum record_kind */
    uint16_t flags;
    uint32_t mailbox;
    uint64_t bytes, messages;
    struct record_hot hot;               /* DELIVER, MOVED */
    struct span envelope, bodystructure; /* DELIVER, MOVED: may be empty */
    struct span owners;                  /* MOVED: pairs of mailbox and UID */
    struct span uids;                    /* FLAGS, EXPUNGE, COPY: pairs of first and last */
    uint8_t op;                          /* FLAGS: enum store_flag_op; MAILBOX */
    uint32_t to;                         /* COPY: mailbox */
    uint32_t value;                      /* MAILBOX: uidvalidity, or see its op; KEYWORD: number */
    uint64_t keywords;                   /* FLAGS */
    uint16_t message_flags;              /* FLAGS */
    struct span name, other;             /* MAILBOX, KEYWORD */
};

/* Append the head. */
int record_encode(const struct record *r, struct str *head);
/* From the first RECORD_COMMON_SIZE octets of a head: the totals, when it has them. */
bool record_totals(uint16_t kind, const void *head, uint64_t *bytes, uint64_t *messages);
/* Spans point into head. ERR_CORRUPT; ERR_VERSION for a kind or layout that a newer
 * program wrote. */
int record_decode(uint16_t kind, struct span head, struct record *r);

/* Pairs of numbers of 4 octets. */
static inline size_t record_pairs(struct span list)
{
    return list.n / 8;
}
void record_pair(struct span list, size_t i, uint32_t *first, uint32_t *second);
int record_append_pair(struct str *list, uint32_t first, uint32_t second);

#endif
