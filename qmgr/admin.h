/* admin.h: the server side of queue/admin.h. */
#ifndef QMGR_ADMIN_H
#define QMGR_ADMIN_H

#include "base/str.h"
#include "task/task.h"

/* Make the socket "showq" in the run directory, which is the working directory. */
int admin_listen(struct str *why);
/* Serve one tool on fd (taken) until it is gone. */
TASK_WAITS void admin_serve(int fd);
/* Task: accept and serve. */
void admin_run(void *arg);

#endif
