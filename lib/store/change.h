/* change.h: what the files that build change records share. */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "store/account.h"

/* Messages of a mailbox for one record, as the pairs that it carries. */
struct selection {
    struct str pairs;
    uint32_t count;
    uint64_t bytes;
    ARRAY(uint32_t) uids; /* when asked for */
};

/* Whether to take a message: 1, 0, or an error. */
typedef int selection_filter(void *arg, const struct index_message *m);

/* What is looked for: some ascending UIDs, or (NULL) all. */
struct selection_source {
    uint32_t box;
    const uint32_t *uids;
    size_t count;
    selection_filter *filter; /* NULL: all */
    void *arg;
    bool keep_uids;
    size_t next;    /* how far we are: index into uids */
    uint32_t above; /* uids NULL: the last UID seen */
};

/* Add COPY or move records for all that the source gives. copied may be NULL. */
int change_add_copy(struct index_txn *t, struct commit *c, struct selection_source *source,
                    uint32_t to, bool move, struct store_copied *copied);
/* The bits of keywords by their names; with create, records for those that the account does
 * not have come before what uses them. ERR_LIMIT: all numbers are in use. */
int change_add_keywords(struct index_txn *t, struct commit *c, const struct span *wanted,
                        size_t count, bool create, uint64_t *bits);
/* A uidvalidity that was never given before in this account. */
uint32_t change_uidvalidity(const struct index_txn *t, uint32_t *last);

#endif
