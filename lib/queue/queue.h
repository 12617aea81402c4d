/*
 * queue.h: the client side of qmgr: ids, content, commit.
 *
 * A receiver takes an id at the start of a transaction, streams the content into
 * an upload while it arrives, and commits. queue_commit() returns 0 when the
 * message is durable: only then may the client be told 250.
 *
 * Protocol "queue" on the socket "qmgr"; requests and replies of ipc_call:
 *   ids count                          -> first count
 *   space                              -> free (octets of the queue's file system)
 *   content                            -> file, descriptor (write-only, empty)
 *   drop file                          -> nothing
 *   part key envelope                  -> nothing (pieces of a long envelope)
 *   commit number commit [key] envelope [content]  -> error
 *   committed number commit                -> committed
 *   results queue-id commit attempt result... -> nothing (see deliver.h)
 * A reply carries "error": 0 or a code of base/error.h, and "reason" then.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/mem.h"
#include "base/span.h"
#include "queue/message.h"
#include "task/task.h"

#define QUEUE_PROTOCOL "queue"
enum { QUEUE_PROTOCOL_VERSION = 1 };

struct queue_client;

/* One per process. socket_name: "qmgr" below the run directory. timeout_ms
 * (ipc_timeout): how long a call waits for a qmgr that is away. NULL: no memory. */
struct queue_client *queue_client_new(const char *socket_name, int64_t timeout_ms);
void queue_client_free(struct queue_client *cl);

/* The next id. Ids are reserved in blocks, so that this waits only for the first
 * of a block. ERR_TEMPORARY when no qmgr answered in time. */
TASK_WAITS int queue_take_id(struct queue_client *cl, struct queue_id *id);

/* What the queue's file system has free, as of at most a second ago: qmgr is asked no more
 * often, and not waited for when it is slow. UINT64_MAX while nothing is known. Whether
 * that is enough is the receiver's to say: qmgr takes what it is given. */
TASK_WAITS uint64_t queue_space(struct queue_client *cl);

/* --- content --- */

/* Content on its way in: in memory up to QUEUE_INLINE_MAX, then in a file that
 * qmgr made, written in pieces on a worker. */
struct queue_upload;

/* Memory draws on budget. */
int queue_upload_begin(struct queue_upload **out, struct queue_client *cl, struct budget *budget);
/* Append wire-form octets (CRLF, dots already unstuffed) in pieces of any size.
 * -ENOSPC, ERR_TEMPORARY, ERR_LIMIT (too many extents), -ENOMEM; after an
 * error every call returns it, and only abort is left. */
TASK_WAITS int queue_upload_append(struct queue_upload *u, struct span octets);
/* Insert text in front of content octet `at` / cut n octets out from `at` on:
 * edits the extents; what was stored stays as it is. For header passes and
 * milters. */
TASK_WAITS int queue_upload_insert(struct queue_upload *u, uint64_t at, struct span octets);
int queue_upload_delete(struct queue_upload *u, uint64_t at, uint64_t n);
/* Drop it; qmgr removes the file. NULL is allowed. */
TASK_WAITS void queue_upload_abort(struct queue_upload *u);

/* --- commit --- */

/* Make the message durable. m->id, arrival_us, sender and recipients are set by
 * the caller; extents, file, size and commit are filled in here from u, which is
 * taken in every case (NULL: no content). After a lost connection the next qmgr
 * is asked whether the commit arrived.
 * 0: durable. Anything else: not accepted, answer 4xx: -ENOSPC (452 4.3.1,
 * a full disk), ERR_TEMPORARY (451 4.3.0), ERR_READ_ONLY (451
 * 4.3.0, a sync failed), ERR_TOO_LONG (452 4.5.3, envelope too long). */
TASK_WAITS int queue_commit(struct queue_client *cl, struct queue_message *m,
                            struct queue_upload *u);

#endif
