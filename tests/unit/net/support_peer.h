/*
 * support_peer.h: a peer that plays a script, without sockets and, with a stream of
 * its own, without a loop: sessions run against it in every kind of fragmentation.
 */
#ifndef SUPPORT_PEER_H
#define SUPPORT_PEER_H

#include "net/stream.h"

#define PEER_PAUSE "\001"

enum peer_split {
    PEER_WHOLE,    /* everything in one read, every write taken whole */
    PEER_BYTEWISE, /* one octet at a time, "not ready" before each */
    PEER_RANDOM,   /* random pieces from seed, "not ready" in between */
};

struct peer {
    enum peer_split split;
    unsigned seed;
    struct span script; /* what the peer still says; then it ends its direction */
    bool pauses;        /* at PEER_PAUSE in the script it waits until it is told more */
    unsigned last_wait; /* that was followed by reading or writing */
    size_t heard;       /* octets it had received when it last spoke */
    int end;            /* what a read gives then: 0 or a negative code */
    bool yields;        /* other tasks run when the peer is waited for */
    bool is_ready;
    struct str received; /* what it was told */
    unsigned writes, waits;
};

void peer_init(struct peer *p, enum peer_split split, unsigned seed, struct span script);
void peer_fini(struct peer *p);
/* A stream whose other end p plays. */
struct stream *peer_stream(struct peer *p, struct budget *budget);

#endif
