/*
 * outbox.h: packets that wait to be sent on one connection; for lib/ipc itself.
 * Messages of one turn share packets; descriptors stay with their message.
 */
#ifndef IPC_OUTBOX_H
#define IPC_OUTBOX_H

#include "base/list.h"
#include "ipc/codec.h"

struct outbox {
    struct list packets;
    size_t unsent; /* octets, and a charge for each descriptor */
};

enum { OUTBOX_FD_CHARGE = 4096 };

void outbox_init(struct outbox *box);
/* Drops what is unsent. */
void outbox_fini(struct outbox *box);
/* Queue m and empty it; on failure (m's own error, -ENOMEM) m is as before. */
int outbox_add(struct outbox *box, struct ipc_out *m);
/* Send until empty (0), -EAGAIN, -ETOOMANYREFS (the kernel holds too many passed
 * descriptors of this user, or has no memory: try again a little later), or a
 * negative code of a dead socket. Never waits. */
int outbox_send(struct outbox *box, int fd);

#endif
