/*
 * pump.h: copying between a TLS client and the plaintext end that a session
 * process holds, by callbacks: no task and no stack while the session lives.
 *
 * How a direction ends stays visible through the pair (a truncated
 * IMAP literal must not look like a whole one):
 *   client sends close_notify      -> shutdown(SHUT_WR) on the pair
 *   client's stream just ends      -> the pair is closed
 *   session shuts its side down    -> close_notify to the client
 *   session closes (or crashes)    -> the client's connection is closed without it
 */
#ifndef NET_PUMP_H
#define NET_PUMP_H

#include "net/stream.h"

struct pump;

/* Once per process, before the first pump. */
void net_pump_start_library(void);

/* Takes the stream (after its handshake, nothing unsent) and plain, in every case.
 * done(arg) runs outside tasks when both ends are closed; not after a failure of
 * net_pump_new, not through net_pump_close_all. -ENOMEM, -errno. */
int net_pump_new(struct stream *tls, int plain, void (*done)(void *arg), void *arg);

/* End every pump of the process; what is in flight is lost. */
void net_pump_close_all(void);
size_t net_pump_count(void);

#endif
