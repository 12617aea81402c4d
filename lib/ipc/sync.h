/*
 * sync.h: one request and its reply, blocking, for worker threads (OpenSSL asks for
 * a signature there) and nothing else: tasks use ipc.h. No descriptors.
 */
#ifndef IPC_SYNC_H
#define IPC_SYNC_H

#include "ipc/ipc.h"

/* Connect to a service's socket, say hello, send the request and wait for the reply,
 * with a limit for each step. The request gets an id; it is not emptied. Errors as
 * ipc_connect() and ipc_call(). One connection for one call. */
int ipc_sync_call(const char *socket_name, const char *protocol, uint32_t version,
                  struct ipc_out *request, struct ipc_in **reply, unsigned timeout_ms);

/* The same in two parts, for a connection that is kept; one call at a time. After a
 * failure its state is unknown: to be closed, as ever with close(2). */
int ipc_sync_open(int *fd, const char *socket_name, const char *protocol, uint32_t version,
                  unsigned timeout_ms);
int ipc_sync_ask(int fd, struct ipc_out *request, struct ipc_in **reply);

#endif
