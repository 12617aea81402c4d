/*
 * commit.h: messages on their way into the journal. A message exists, and its receiver
 * is told so, when its record is durable.
 */
#ifndef QMGR_COMMIT_H
#define QMGR_COMMIT_H

#include <stdint.h>

#include "qmgr/receiver.h"
#include "task/task.h"

/* A receiver's request "commit"; taken. The reply follows when the outcome is known. */
void commit_begin(struct receiver *r, struct ipc_in *request);
/* Until no commit of this number is under way. */
TASK_WAITS int commit_wait(uint64_t number);
/* Tasks that write what has come together; several, so that batches overlap. */
void commit_run_writer(void *arg);

#endif
