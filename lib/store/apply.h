/* apply.h: from journal records to the index. Everything in the index is made here. */
#ifndef STORE_APPLY_H
#define STORE_APPLY_H

#include "store/index.h"

/* One record of the user's kinds. ERR_VERSION: a newer program wrote it. What cannot
 * be (an unknown mailbox or UID) changes nothing. */
int apply_record(struct index_txn *t, const struct journal_record *record);
/* Bring the index to the journal's end, at most limit records at once (*more: call
 * again in a new transaction). Starts anew where the index does not fit the journal. */
int apply_tail(struct index_txn *t, struct disk *disk, unsigned limit, bool *more);

/* The whole state as the body of a segment's first record: version, totals, then the
 * index' pairs (key length 2, value length 4, key, value) of all kinds but M and E. */
int snapshot_write(struct index_txn *t, struct str *out);
/* The same of an account that has nothing but mailboxes, one after the other; uidvalidity: the
 * highest of them. */
int snapshot_begin(struct str *out, uint32_t uidvalidity);
int snapshot_add_box(struct str *out, const struct index_box *box, bool is_subscribed);
/* From its first RECORD_COMMON_SIZE octets. False: not of this version. */
bool snapshot_totals(const void *body, uint64_t *bytes, uint64_t *messages);
int snapshot_load(struct index_txn *t, struct span body);

#endif
