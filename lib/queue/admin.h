/*
 * admin.h: what mailq, postqueue, postsuper, postcat and waypost ask of qmgr.
 *
 * Protocol "queue-admin" on the socket "showq". A request is a plain message;
 * the answer is a stream of messages that ends with kind "end" (error, reason,
 * count).
 *   list [id...] [sender] [recipient]  -> message ... message, end
 *   show id                            -> message + content pieces ..., end
 *   act verb id... (or all)            -> changed ..., end   (owner or root only)
 *   flush [id | site]                  -> end
 *   status                             -> status, end
 */
#ifndef QUEUE_ADMIN_H
#define QUEUE_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/span.h"
#include "base/str.h"
#include "queue/message.h"
#include "task/task.h"

#define QUEUE_ADMIN_PROTOCOL "queue-admin"
enum { QUEUE_ADMIN_PROTOCOL_VERSION = 1 };

/* The queues that mailq and postqueue -j name. */
enum queue_name { QUEUE_INCOMING, QUEUE_ACTIVE, QUEUE_DEFERRED, QUEUE_HOLD, QUEUE_NAMES };
const char *queue_name_text(enum queue_name name);

enum queue_verb {
    QUEUE_DELETE,
    QUEUE_PUT_ON_HOLD,
    QUEUE_RELEASE,
    QUEUE_REQUEUE,
    QUEUE_EXPIRE,
    QUEUE_VERBS
};
const char *queue_verb_text(enum queue_verb verb);

struct queue_listed_recipient {
    struct span address, reason; /* reason: why it is deferred, or empty */
};

/* One message of a listing. */
struct queue_listing {
    enum queue_name queue;
    struct queue_id id;
    int64_t arrival_s;
    uint64_t size;
    struct span sender;
    bool is_forced_to_expire;
    ARRAY(struct queue_listed_recipient) recipients; /* those not yet done */
};

void queue_listing_encode(const struct queue_listing *l, struct str *out);
/* Texts are copied into arena. */
int queue_listing_decode(struct queue_listing *l, struct arena *arena, struct span encoded);
void queue_listing_fini(struct queue_listing *l);

/* The lines above and below the messages of a listing. */
void queue_listing_print_head(struct str *out);
void queue_listing_print_tail(uint64_t messages, uint64_t octets, struct str *out);
/* Output as mailq (postqueue -p) and postqueue -j write it. */
void queue_listing_print(const struct queue_listing *l, struct str *out);
void queue_listing_print_json(const struct queue_listing *l, struct str *out);

#endif
