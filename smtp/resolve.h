/* resolve.h: from a next hop to the addresses to try (RFC 5321 5.1, RFC 7505). */
#ifndef SMTP_RESOLVE_H
#define SMTP_RESOLVE_H

#include "smtp/exchanger.h"
#include "smtp/nexthop.h"
#include "smtp/trouble.h"

/* Fill *out (zeroed; finish it in every case) with at least one address, or *why with
 * the reason; -ECANCELED when the task was cancelled. is_mx (may be NULL): this host is
 * one of the destination's exchangers. */
TASK_WAITS int resolve_nexthop(const struct settings *s, const struct nexthop *hop,
                               struct exchangers *out, struct arena *arena, struct trouble *why,
                               bool *is_mx);

#endif
