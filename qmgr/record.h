/*
 * record.h: what qmgr writes into the queue's journal, besides the numbers of
 * the library.
 *
 *   MESSAGE  head: the message (queue/message.h); body: inline content
 *   RESULT   what became of some recipients; rides on the next batch
 *   STATE    everything about a message that stays: replaces all RESULT and
 *            STATE records of it with a lower sequence number
 *   REMOVED  the message is done; kept by the cleaner while a segment between
 *            `oldest` and `newest` exists, as that may hold a copy of it
 *   IDS      a block of queue ids was handed out (takes the numbers)
 *
 * Which copy counts: of MESSAGE the one in the highest segment, of STATE the one
 * with the highest sequence number. Applying a record twice changes nothing.
 */
#ifndef QMGR_RECORD_H
#define QMGR_RECORD_H

#include "base/array.h"
#include "base/str.h"
#include "journal/journal.h"
#include "queue/deliver.h"
#include "queue/message.h"

enum record_kind {
    RECORD_MESSAGE = JOURNAL_KIND_USER,
    RECORD_RESULT,
    RECORD_STATE,
    RECORD_REMOVED,
    RECORD_IDS,
};

enum entry_flag {
    ENTRY_HOLD = 1 << 0,       /* postsuper -h, HOLD action */
    ENTRY_EXPIRE = 1 << 1,     /* postsuper -e: next pass is the last */
    ENTRY_WARNED = 1 << 2,     /* the delay notification was sent */
    ENTRY_ROUTE_ANEW = 1 << 3, /* requeued: forget transport and next hop given at receipt */
    ENTRY_FLAGS = (1 << 4) - 1,
};

/* The last thing that became of one recipient. */
struct outcome {
    enum queue_recipient_state state;
    bool success_notified; /* NOTIFY=SUCCESS was answered */
    uint32_t attempt;      /* 0: not tried yet */
    int64_t at_s;
    struct deliver_result result; /* valid when attempt > 0 */
};

/* A message with all that became of it, in memory while it is active. */
struct loaded {
    struct queue_message message;   /* its arena holds all texts */
    size_t original_count;          /* recipients of the MESSAGE record */
    ARRAY(struct outcome) outcomes; /* as many as recipients */
    uint32_t sequence;
    uint32_t flags;
    int64_t next_attempt_s;
    struct str content; /* inline octets */
    bool has_content;   /* they were read (or are in a file) */
};

void loaded_init(struct loaded *l);
void loaded_fini(struct loaded *l);
/* From a MESSAGE record; content is copied when keep_content. */
int loaded_from_message(struct loaded *l, const struct journal_record *r, bool keep_content);
/* Apply a STATE or RESULT record. Stale ones are skipped: 0. */
int loaded_apply(struct loaded *l, const struct journal_record *r);
/* Recipients without a final result. */
size_t loaded_pending(const struct loaded *l);

/* Record one result: the outcome changes unless the recipient has a final one,
 * or this is an old deferral. Expansion adds recipients. 1: changed, 0: not,
 * negative: -ENOMEM, ERR_SYNTAX (no such recipient). */
int loaded_take_result(struct loaded *l, uint32_t index, uint32_t attempt, int64_t at_s,
                       const struct deliver_result *result);

/* Heads of records. results are encoded deliver_results, one "result" each. */
void record_result_begin(struct str *head, uint64_t number, uint32_t sequence, uint32_t attempt,
                         int64_t at_s);
void record_result_add(struct str *head, struct span encoded_result);
int record_state(struct str *head, const struct loaded *l, uint64_t number);
void record_removed(struct str *head, uint64_t number, uint64_t oldest, uint64_t newest);

/* What recovery looks at without loading the message. */
struct record_summary {
    uint64_t number;
    uint32_t sequence;
    uint32_t flags;
    int64_t next_attempt_s;
    uint64_t oldest, newest;
};
int record_summarise(struct span head, struct record_summary *out);

#endif
