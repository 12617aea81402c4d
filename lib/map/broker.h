/*
 * broker.h: proxied look-ups: the protocol "broker" between sandboxed services
 * and broker, over lib/ipc. The client side is the table type proxy:.
 *
 * Request "lookup": table ("unix:passwd.byname"), key, flags (MAP_PARTIAL or 0).
 * Reply: result ("found", "none" or "error"), value when found.
 * Only tables that proxy_read_maps names with "proxy:" are looked up.
 */
#ifndef MAP_BROKER_H
#define MAP_BROKER_H

#include "base/str.h"
#include "ipc/ipc.h"

struct conf;
struct broker_tables;

#define BROKER_SOCKET "broker"
#define BROKER_PROTOCOL "broker"

enum { BROKER_VERSION = 1 };

/* Server: open every table that proxy_read_maps allows. Before the sandbox. */
int broker_tables_open(struct broker_tables **out, const struct conf *c, struct str *why);
void broker_tables_free(struct broker_tables *t);
/* Answer a "lookup" request: fills reply (ipc_begin_reply was not called yet).
 * ERR_PROTOCOL: the request is malformed, and the connection must go. */
TASK_WAITS int broker_answer_lookup(const struct broker_tables *t, const struct ipc_in *request,
                                    struct ipc_out *reply);

#endif
