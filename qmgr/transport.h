/*
 * transport.h: the agents of each transport, and giving jobs to them.
 */
#ifndef QMGR_TRANSPORT_H
#define QMGR_TRANSPORT_H

#include "qmgr/active.h"

/* Found, or made with its parameters; NULL: no memory. */
struct transport *transport_find(struct span name);
struct schedule_transport *transport_schedule(struct transport *t);
const char *transport_name(const struct transport *t);
/* _destination_recipient_limit; 0: none. */
unsigned transport_recipient_limit(const struct transport *t);
/* There may be something to send. */
void transport_kick(struct transport *t);
/* A lane became shorter: the next of its parked messages get their turn; all of a
 * destination when its jobs were deferred and nothing else would wake them. */
void transport_unpark(struct schedule_destination *d, uint64_t lane_key);
void transport_unpark_all(struct schedule_destination *d);
/* All dead destinations get another chance, unavailable transports too. */
void transport_revive_all(void);
/* Tell agents that results are durable. */
void transport_run_acknowledger(void *arg);
/* Close all agents' connections: they keep what they have for the next qmgr. */
void transport_close_all(void);
/* Every transport, for statistics. */
struct transport *transport_next(struct transport *t);

#endif
