/*
 * finish.h: the end of a pass: notifications, then the message is removed, or
 * deferred until its next attempt.
 */
#ifndef QMGR_FINISH_H
#define QMGR_FINISH_H

#include "qmgr/active.h"

/* Every pending recipient has its result of this attempt. Takes a. Does not wait
 * longer than an append: notifications go on in a task of their own. */
TASK_WAITS void finish_pass(struct active *a);
/* bounce's connection; before the first pass. */
int finish_init(void);

#endif
