/*
 * forward.h: mail that an alias sends away is submitted anew: it passes the virtual
 * aliases like other mail, has a sender of its own, and carries Delivered-To:, by which
 * it is known when it comes back.
 */
#ifndef LOCAL_FORWARD_H
#define LOCAL_FORWARD_H

#include "base/array.h"
#include "base/hash.h"
#include "queue/deliver.h"
#include "queue/queue.h"
#include "route/route.h"

/* Recipients, with texts of the job's arena. */
struct members {
    ARRAY(struct queue_recipient) list;
};

/* Who gets the message already, over all members. Zeroed it is empty. */
struct member_set {
    struct hash known;
};

void member_set_fini(struct member_set *set);
/* Append a copy of r, unless it is known by address and next hop. 0, -ENOMEM. */
int members_add(struct members *to, struct member_set *set, const struct queue_recipient *r,
                struct arena *arena);

/* Whether nothing lies behind this address that could send the message back or change
 * its recipient: it need not be submitted anew. 1, 0 or negative. */
TASK_WAITS int forward_is_final(const struct route *route, struct span address,
                                struct arena *arena);
/* Add what the virtual aliases make of r's address. ERR_LIMIT, ERR_TEMPORARY, -ENOMEM. */
TASK_WAITS int forward_expand(const struct route *route, const struct queue_recipient *r,
                              struct arena *arena, struct members *to, struct member_set *set);
/* Submit the job's message to these recipients in place of r. id is set to the text of
 * its queue id. With another sender than the job's it is a message of that sender's, to
 * whom nothing is told of the recipient that the first one wrote to. */
TASK_WAITS int forward_submit(struct queue_client *queue, const struct deliver_job *job,
                              const struct queue_recipient *r, struct span sender,
                              const struct members *to, struct str *id);

#endif
