/*
 * codec.h: messages as octets; pure. For lib/ipc itself, its tests and its fuzz
 * target; programs use ipc.h.
 *
 * A packet is one message or several, each
 *
 *     KIND SP VALUES-OCTETS SP CONTENT-OCTETS SP DESCRIPTORS LF
 *     values: NAME "=" LENGTH ":" octets LF, or NAME "@" LF for a descriptor
 *     content
 *
 * such as "commit 27 0 1\nid=1:7\nsize=4:4096\nfile@\n", which strace shows as text. A
 * message's descriptors are the next ones of the packet, in the order of its values.
 */
#ifndef IPC_CODEC_H
#define IPC_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "base/str.h"
#include "ipc/ipc.h"

enum {
    /* The largest packet, and so the largest message. */
    IPC_PACKET_MAX = 192 * 1024,
    /* Messages share a packet up to this size: the kernel takes larger packets as
     * one contiguous allocation, which may fail on a fragmented machine. */
    IPC_PACKET_SHARED = 64 * 1024,
};

struct ipc_frame {
    struct span kind, values, content;
    size_t descriptors;
    size_t size; /* octets of the whole message */
};

/* Append m. 0, m's own error, or str's. */
int ipc_encode(struct str *out, const struct ipc_out *m);
/* Upper bound of what ipc_encode appends. */
size_t ipc_encoded_size(const struct ipc_out *m);
/* The message at the front of packet, every value checked. ERR_PROTOCOL. */
int ipc_decode(struct span packet, struct ipc_frame *frame);
/* The values of a checked frame, one by one. */
bool ipc_value_next(struct span values, struct ipc_walk *w);
/* 1 to IPC_NAME_MAX letters, digits, "-", "_" and ".". */
bool ipc_name_is_valid(struct span name);

#endif
