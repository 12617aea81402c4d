/* list.h: what the queue holds, as messages of queue/admin.h. */
#ifndef QMGR_LIST_H
#define QMGR_LIST_H

#include "base/array.h"
#include "ipc/ipc.h"
#include "qmgr/entry.h"

struct list_numbers {
    uint64_t *items;
    size_t len, cap;
};

/* Every message, oldest first. */
int list_all(struct list_numbers *numbers);
/* One message's listing, in one or more packets. ERR_NOT_FOUND. */
TASK_WAITS int list_send(struct ipc_conn *c, uint64_t number, deadline_t deadline);
/* Its records and content, for postcat. */
TASK_WAITS int list_send_whole(struct ipc_conn *c, uint64_t number, deadline_t deadline);

#endif
