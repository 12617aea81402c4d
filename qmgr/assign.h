/*
 * assign.h: from a message's pending recipients to jobs: routing, the transports
 * that live in qmgr (error, retry, discard), grouping by destination.
 */
#ifndef QMGR_ASSIGN_H
#define QMGR_ASSIGN_H

#include "qmgr/active.h"

enum assign_verdict {
    ASSIGN_JOBS,   /* jobs were queued (or everything has its result already) */
    ASSIGN_PARKED, /* the message was parked; a is no longer needed */
};

/* Negative: -ENOMEM, -ECANCELED; results taken so far stay. */
TASK_WAITS int assign_jobs(struct active *a, enum assign_verdict *verdict);

/* A line about a delivery by one of qmgr's own transports, under its name. */
void assign_log(const char *transport, const struct active *a, uint32_t index,
                const struct deliver_result *result);

#endif
