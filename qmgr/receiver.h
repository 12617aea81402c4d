/*
 * receiver.h: the server side of queue/queue.h: connections of the programs that take
 * messages in. What it has begun and not committed (files of large content, pieces of
 * long envelopes) goes with its connection.
 */
#ifndef QMGR_RECEIVER_H
#define QMGR_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "ipc/ipc.h"
#include "task/task.h"

struct receiver;

/* The queue directory, whose file system receivers ask about. */
void receiver_init(int queue_fd);
/* Serve one receiver on fd (taken) until it is gone. */
TASK_WAITS void receiver_serve(int fd);
/* Close all connections: what is not answered will be asked again. */
void receiver_close_all(void);
/* One is still being served. */
bool receiver_is_any(void);

/* Commits under way keep their receiver, also when its connection has ended. */
void receiver_hold(struct receiver *r);
void receiver_release(struct receiver *r);
/* Nothing when its connection has ended. */
void receiver_reply_error(struct receiver *r, const struct ipc_in *request, int error);
/* The pieces of an envelope that came before its last one; out of r. ERR_PROTOCOL. */
int receiver_take_part(struct receiver *r, uint64_t key, struct str *envelope);
/* The file is no longer removed with the connection. False: it is not r's. */
bool receiver_forget_file(struct receiver *r, uint64_t file);

#endif
