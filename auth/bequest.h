/*
 * bequest.h: session ids that outlive their process. At a reload the clients of the old
 * process redeem at its successor, which starts only when the old one has ended: what is
 * left lies in the socket "auth-ids", whose backlog is master's, until then. Only processes
 * of the own user are believed.
 */
#ifndef AUTH_BEQUEST_H
#define AUTH_BEQUEST_H

#include "auth/tickets.h"

#define BEQUEST_SOCKET "auth-ids"

/* When this process ends: leave what is still good. */
void bequest_leave(struct tickets *t);
/* Before the first request is read: take what a predecessor has left. */
void bequest_take(struct tickets *t);

#endif
