/*
 * index.h: an account's index, an LMDB environment that is only derived from the
 * journal: never synced, thrown away after an unclean boot, made anew when missing.
 *
 * Functions block and belong on workers; an account does one thing at a time in a
 * process (account.h), so there is never more than one transaction of an index here.
 *
 * Keys (numbers big endian), one unnamed database:
 *   M                          what was applied so far, account totals
 *   A mailbox                  a mailbox: name, counters
 *   N name                     its id
 *   U name                     subscribed
 *   K number                   a keyword's name
 *   K                          how often a number got another name
 *   H mailbox uid              64 octets hot: flags, dates, position
 *   E mailbox uid              finished ENVELOPE and BODYSTRUCTURE, and the fields that
 *                              ENVELOPE is made from; may be missing
 *   L mailbox modseq uid       the last change of a message that changed since it came
 *   X mailbox modseq           pairs of expunged UIDs; the oldest are pruned
 *   D slot                     a recent delivery id's hash, mailbox, uid: a ring
 *   S segment or GUID          since when the cleaner has seen it dead
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <lmdb.h>

#include "base/array.h"
#include "base/str.h"
#include "journal/boot.h"
#include "journal/reader.h"
#include "store/records.h"

enum {
    INDEX_NAME_MAX = 480,
    INDEX_SPECIAL_MAX = 32,
    INDEX_VANISHED_MAX = 1000, /* expunges remembered per mailbox */
    INDEX_DELIVERIES = 256,    /* delivery ids remembered per account */
};

struct index;

struct index_meta {
    struct journal_cursor applied;
    uint64_t bytes, messages;
    uint32_t uidvalidity; /* the highest given so far */
    uint32_t keywords;    /* highest number + 1 */
    uint32_t delivery;    /* the slot that the next delivery id takes */
};

struct index_box {
    uint32_t id, uidvalidity;
    bool is_selectable;
    uint64_t uidnext, messages, unseen, bytes;
    uint64_t modseq;         /* of its last change */
    uint64_t recent;         /* how many from recent_from on */
    uint64_t recent_from;    /* UIDs below were \Recent in some session */
    uint64_t vanished_floor; /* expunges up to this modseq may be forgotten */
    uint32_t vanished;       /* X entries */
    uint16_t name_length, special_length;
    char name[INDEX_NAME_MAX], special[INDEX_SPECIAL_MAX];
};

struct index_message {
    uint32_t uid;
    uint16_t flags;
    int16_t zone;
    uint32_t bare;
    uint64_t keywords, modseq;
    int64_t date;
    uint64_t size;
    uint32_t segment, offset; /* of the record; segment 0: in a blob of its own */
    unsigned char guid[GUID_SIZE];
};

struct index_txn {
    struct index *index;
    MDB_txn *txn;
    MDB_dbi dbi;
    struct index_meta meta;
    bool is_meta_dirty, is_box_dirty;
    struct index_box box; /* the mailbox used last; id 0: none */
};

/* Opens index below dirfd, making it (empty) when it is missing, of another boot or not
 * readable. The caller holds the account's guard. */
int index_open(int dirfd, const struct journal_boot *boot, struct index **out);
void index_close(struct index *index); /* NULL is allowed */
/* Delete the files; nobody in this process has it open. */
void index_remove(int dirfd);
/* It failed its checks: close, remove, open again. */
bool index_is_bad(const struct index *index);

/* Runs to completion. update() runs fn again with a larger map when it was too small;
 * a result below 0 undoes everything. */
typedef int index_fn(struct index_txn *t, void *arg);
int index_view(struct index *index, index_fn *fn, void *arg);
int index_update(struct index *index, index_fn *fn, void *arg);
/* Inside update(): forget everything. */
int index_empty(struct index_txn *t);

/* --- mailboxes --- */

/* The mailbox, valid until another one is asked for. ERR_NOT_FOUND. */
int index_box(struct index_txn *t, uint32_t id, struct index_box **out);
/* After changing it. */
static inline void index_box_changed(struct index_txn *t)
{
    t->is_box_dirty = true;
}
int index_box_find(struct index_txn *t, struct span name, uint32_t *id);
/* Adds box with its name. */
int index_box_add(struct index_txn *t, const struct index_box *box);
/* Removes it with its messages and all else. */
int index_box_remove(struct index_txn *t, uint32_t id);
/* Removes its messages alone. */
int index_box_clear(struct index_txn *t, uint32_t id);
int index_box_rename(struct index_txn *t, uint32_t id, struct span name);
/* Every mailbox, by id. */
struct index_boxes {
    ARRAY(struct index_box) items;
};
int index_box_list(struct index_txn *t, struct index_boxes *out);
static inline struct span index_box_name(const struct index_box *box)
{
    return span_make(box->name, box->name_length);
}
static inline struct span index_box_special(const struct index_box *box)
{
    return span_make(box->special, box->special_length);
}

/* Names of subscriptions (kind 'U'). */
typedef int index_name_fn(void *arg, struct span name);
int index_subscribe(struct index_txn *t, struct span name, bool on);
bool index_is_subscribed(struct index_txn *t, struct span name);
int index_subscriptions(struct index_txn *t, index_name_fn *each, void *arg);
/* ERR_NOT_FOUND; the span is valid in the transaction. */
int index_keyword(struct index_txn *t, unsigned number, struct span *name);
/* Also another name than before, which changes the edition of the names. */
int index_keyword_put(struct index_txn *t, unsigned number, struct span name);
int index_keyword_edition(struct index_txn *t, uint32_t *edition);
/* The keywords that any message has. */
int index_keywords_used(struct index_txn *t, uint64_t *used);

/* --- messages --- */

/* ERR_NOT_FOUND; removing one that is not there is none. */
int index_message(struct index_txn *t, uint32_t box, uint32_t uid, struct index_message *out);
int index_message_put(struct index_txn *t, uint32_t box, const struct index_message *m);
int index_message_remove(struct index_txn *t, uint32_t box, uint32_t uid);
/* From a UID on, ascending: 1 with a message, 0 at the end. */
struct index_walk {
    MDB_cursor *cursor;
    uint32_t box;
    bool is_placed;
    uint32_t from;
};
int index_walk_begin(struct index_txn *t, uint32_t box, uint32_t from, struct index_walk *w);
/* Go on at this UID or behind it. */
void index_walk_seek(struct index_walk *w, uint32_t from);
int index_walk_next(struct index_walk *w, struct index_message *out);
void index_walk_end(struct index_walk *w);

/* Each may be empty: not known. */
struct index_cached {
    struct span envelope, bodystructure;
    struct span fields; /* imap_envelope_fields(); ends with an empty line when known */
};
/* Spans are valid in the transaction, until something is written; they may be written
 * again. ERR_NOT_FOUND. */
int index_cached(struct index_txn *t, uint32_t box, uint32_t uid, struct index_cached *out);
int index_cached_put(struct index_txn *t, uint32_t box, uint32_t uid, const struct index_cached *c);

/* The change log. A message that never changed has modseq == uid and no entry. */
int index_log(struct index_txn *t, uint32_t box, uint32_t uid, uint64_t before, uint64_t modseq);
typedef int index_log_fn(void *arg, uint64_t modseq, uint32_t uid);
int index_log_walk(struct index_txn *t, uint32_t box, uint64_t since, index_log_fn *each,
                   void *arg);
/* Remember expunged UIDs; prunes. t's box is the mailbox. */
int index_vanish(struct index_txn *t, uint32_t box, uint64_t modseq, struct span pairs);
typedef int index_vanished_fn(void *arg, struct span pairs);
int index_vanished_walk(struct index_txn *t, uint32_t box, uint64_t since, index_vanished_fn *each,
                        void *arg);

/* The last INDEX_DELIVERIES deliveries by the hash of their id, so that the same is not
 * delivered twice. ERR_NOT_FOUND. */
int index_delivery_put(struct index_txn *t, uint64_t hash, uint32_t box, uint32_t uid);
int index_delivery_find(struct index_txn *t, uint64_t hash, uint32_t *box, uint32_t *uid);

/* Since when something (a segment, a blob) has been dead: now, if nobody noted it before. */
int index_dead_since(struct index_txn *t, struct span what, int64_t now, int64_t *since);

/* For the files index*.c. */
int index_error(struct index_txn *t, int rc);
int index_flush(struct index_txn *t);
/* Delete all keys that begin with prefix. */
int index_delete_prefix(struct index_txn *t, struct span prefix);

typedef int index_pair_fn(void *arg, struct span key, struct span value);
/* The keys and values that a mailbox is, without an index. */
int index_box_pairs(const struct index_box *box, bool is_subscribed, index_pair_fn *each,
                    void *arg);
/* Every key and value but M, E and S: for comparing two indexes. */
int index_dump(struct index_txn *t, index_pair_fn *each, void *arg);

#endif
