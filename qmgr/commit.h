/*
 * commit.h: the server side of queue/queue.h: receivers' connections.
 */
#ifndef QMGR_COMMIT_H
#define QMGR_COMMIT_H

#include "task/task.h"

/* Serve one receiver on fd (taken) until it is gone. */
TASK_WAITS void commit_serve(int fd);
/* Close all connections: what is not answered will be asked again. */
void commit_close_all(void);
/* Tasks that write what has come together; several, so that batches overlap. */
void commit_run_writer(void *arg);

/* The queue directory, for queue_minfree. */
void commit_init(int queue_fd);

#endif
