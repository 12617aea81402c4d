/* message.h: what a received message is made of; for lib/ipc itself. */
#ifndef IPC_MESSAGE_H
#define IPC_MESSAGE_H

#include "ipc/codec.h"

struct ipc_in {
    struct span kind, values, content; /* into data */
    int fds[IPC_FDS_MAX];              /* in the order of the values; -1: taken */
    size_t fd_count;
    char data[];
};

/* A copy of a decoded frame. Takes the descriptors (frame->descriptors of them), also
 * when it fails. NULL: no memory. */
struct ipc_in *ipc_in_new(const struct ipc_frame *frame, const int *fds);

#endif
