/*
 * bounce.h: what qmgr asks of bounce. qmgr calls; bounce answers when the
 * notification is committed to the queue (or when none is to be sent).
 *
 * Protocol "bounce" on the socket "bounce":
 *   notify kind retry-until envelope (result last-attempt)... [content | descriptor]
 *                                                        -> error
 */
#ifndef QUEUE_BOUNCE_H
#define QUEUE_BOUNCE_H

#include "base/span.h"
#include "ipc/ipc.h"
#include "queue/deliver.h"
#include "queue/message.h"

#define BOUNCE_PROTOCOL "bounce"
enum { BOUNCE_PROTOCOL_VERSION = 1 };

enum bounce_kind {
    BOUNCE_FAILURE, /* RFC 3464 "failed" */
    BOUNCE_DELAY,   /* "delayed" */
    BOUNCE_SUCCESS, /* "delivered", "relayed", "expanded": NOTIFY=SUCCESS */
    BOUNCE_KINDS,
};

struct bounce_request {
    enum bounce_kind kind;
    struct queue_message message;   /* only the recipients that are reported */
    struct deliver_result *results; /* as many as the message has recipients */
    int64_t *last_attempt_s;        /* when each of them was last tried */
    int64_t retry_until_s;          /* BOUNCE_DELAY: Will-Retry-Until */
    struct queue_content content;
};

/* Encode a request's attributes; the content is put by the caller. */
int bounce_request_encode(const struct bounce_request *r, struct ipc_out *m);
/* Decode; content's descriptor is taken out of m, inline octets are borrowed.
 * Everything else is copied into r->message.arena. */
int bounce_request_decode(struct bounce_request *r, struct ipc_in *m);
void bounce_request_fini(struct bounce_request *r);

#endif
