/*
 * pool.h: connections to a destination that deliveries hand to one another.
 *
 * A delivery that ends gives its connection to the one that waits longest, else keeps it
 * for a short while. Deliveries wait for a connection only where the destination answers
 * quickly, and no more of them than there are connections: else they open their own.
 */
#ifndef SMTP_POOL_H
#define SMTP_POOL_H

#include "smtp/delivery.h"

/* d's destination by its job's next hop; NULL without memory. */
struct destination *pool_enter(struct delivery *d);
void pool_leave(struct delivery *d);
/* A connection for d: an idle one, or one that another delivery gives up soon; NULL:
 * open one. The envelope may be on its way already (d->transaction.sent > 0). */
TASK_WAITS struct connection *pool_take(struct delivery *d);
/* A connection that d opened to its destination. */
void pool_add(struct delivery *d, struct connection *c);
/* d is through with c: to the next one, into the pool, or closed. */
TASK_WAITS void pool_give(struct delivery *d, struct connection *c);

/* --- for transaction.c --- */

/* Whether c can be used for another transaction after the present one. */
bool pool_may_keep(const struct connection *c);
/* The delivery whose envelope may go out behind c's present data; it is bound to c
 * then. NULL: none. */
struct delivery *pool_bind_next(struct connection *c);
/* How long the verdict on a message took, in us. */
void pool_note_verdict(struct connection *c, int64_t us);

/* Close what is idle; at the end of the process. */
void pool_close(void);

#endif
