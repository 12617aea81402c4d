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
int snapshot_load(struct index_txn *t, struct span body);

#endif
