/*
 * submit.h: what pickup and bounce share when they hand a message to the queue.
 */
#ifndef QMGR_SUBMIT_H
#define QMGR_SUBMIT_H

#include "queue/message.h"
#include "route/route.h"

/* Add a recipient as any receipt does: brought to standard form ("postmaster" is
 * at myorigin), virtual aliases expanded, each address once. 0, ERR_TEMPORARY,
 * -ENOMEM. */
TASK_WAITS int submit_add_recipient(struct queue_message *m, const struct route *route,
                                    struct span to);
/* A log line under another program's name, as readers of logs expect it. */
void submit_log(const char *program, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
