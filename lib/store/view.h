/* view.h: what a view keeps for itself. */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "store/account.h"

/* The same shape as the anonymous arrays of UIDs in store.h. */
struct uid_list {
    uint32_t *items;
    size_t len, cap;
};

struct store_view_own {
    uint32_t last_uid;        /* UIDs above are not in the view yet */
    uint32_t edition;         /* of the keywords' names, also when parked */
    bool is_renamed;          /* the edition has changed, and nobody was told yet */
    struct uid_list gone;     /* expunged, but not yet told: still in messages */
    uint64_t segment, offset; /* how far the journal was known at the last refresh */
    struct str parked;        /* the UIDs of a parked view */
};

/* Of open and refresh. */
struct view_job {
    struct store_view *view;
    struct store_news *news;
    bool may_expunge, has_news, was_parked;
    uint64_t recent;  /* how many messages of the mailbox are nobody's \Recent yet */
    uint64_t before;  /* modseq of the last refresh */
    size_t first_new; /* position of the first arrival */
    size_t recent_known;
};

/* Bring the names of keywords to the edition of the transaction, before the messages that
 * are read in it: a number in the view's messages means the name that the view has. */
int view_read_keywords(struct index_txn *t, struct store_view *v);
void view_forget_keywords(struct store_view *v);

#endif
