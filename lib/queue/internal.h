/* internal.h: what the files of lib/queue share. */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include "ipc/ipc.h"
#include "queue/queue.h"

/* A piece of a long list that fits an ipc message besides other attributes. */
enum { QUEUE_PIECE_MAX = 48 << 10 };

/* A call to qmgr; the reply's "error" becomes the result. The request is emptied. */
TASK_WAITS int queue_client_call(struct queue_client *cl, struct ipc_out *request,
                                 struct ipc_in **reply);

/* The upload's extents and file go into m (freed with it); what is inline is
 * returned. Everything of the file was handed to the kernel. */
TASK_WAITS int queue_upload_finish(struct queue_upload *u, struct queue_message *m,
                                   struct span *inline_octets);
/* The file belongs to qmgr now. */
void queue_upload_free(struct queue_upload *u);

#endif
