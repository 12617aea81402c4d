/* tasks.h: qmgr's own tasks, which end before the queue is closed. */
#ifndef QMGR_TASKS_H
#define QMGR_TASKS_H

#include "task/task.h"

void tasks_init(void);
/* 0 or -ENOMEM. */
int tasks_spawn(const char *name, task_fn *fn, void *arg);
/* Cancel all and wait. */
TASK_WAITS void tasks_end(void);

#endif
