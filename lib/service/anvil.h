/*
 * anvil.h: how many connections a client address has with a service, over all
 * processes of that service.
 *
 * Protocol "anvil", version 1, over lib/ipc, on the socket "anvil":
 *     connect service client -> reply connections rate
 *     disconnect service client               (no reply)
 * rate is the number of connects within anvil_rate_time_unit. What a process has
 * connected counts until it says disconnect or its connection to anvil ends.
 */
#ifndef SERVICE_ANVIL_H
#define SERVICE_ANVIL_H

#include <stdint.h>

#include "base/clock.h"
#include "ipc/ipc.h"
#include "net/address.h"
#include "task/task.h"

#define ANVIL_SOCKET "anvil"
#define ANVIL_PROTOCOL "anvil"

enum { ANVIL_VERSION = 1, ANVIL_KEY_MAX = 256 };

struct anvil_counts {
    uint32_t connections; /* at the same time, this one included */
    uint32_t rate;        /* connects within the time unit, this one included */
};

/* One per process. NULL: no memory. */
struct ipc_client *anvil_client_new(void);
/* A client connects to a service ("smtp"). Failures are no reason to refuse mail:
 * ERR_TEMPORARY and others, *counts is zero then. After success
 * anvil_disconnect() must follow. */
TASK_WAITS int anvil_connect(struct ipc_client *anvil, struct span service,
                             const struct net_address *client, struct anvil_counts *counts,
                             deadline_t deadline);
void anvil_disconnect(struct ipc_client *anvil, struct span service,
                      const struct net_address *client);

/* Server side: the key of a request, "service:client", into key (ANVIL_KEY_MAX
 * octets). ERR_SYNTAX when an attribute is missing, too long or not text. */
int anvil_decode(const struct ipc_in *request, char *key, size_t *key_length);

#endif
