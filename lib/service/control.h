/*
 * control.h: what master and a service say to each other, and what waypost asks
 * of master.
 *
 * master and a service share a SOCK_SEQPACKET pair. Every packet is a line of
 * text that stands for itself (no hello, no state), because master may replace
 * itself by a newer version in between:
 *
 *     master -> service   limit N        most clients or deliveries from now on
 *                         refuse SECONDS ADDRESS
 *                                        this client took a process down: close it
 *                         wakeup         the entry's wake-up timer
 *                         drain          no new clients; end after the last one
 *     service -> master   ready          start-up is complete
 *                         failed TEXT    start-up failed, with the reason
 *                         limited N      answer to limit: it never has more than N
 *                         full           the limit was reached
 *                         bye TEXT       it ends by its own decision
 *
 * A closed socket means to the service that master is gone: as drain. Unknown
 * words are ignored, so that versions can meet.
 *
 * waypost asks on the socket "control" in run/, protocol "control" over lib/ipc
 * (uid 0 or master's own uid only):
 *
 *     status format (json or text) -> reply report(descriptor of a file to read)
 *     reload -> reply
 *     stop now (yes: without waiting for sessions) -> reply
 *
 * A reply with the attribute "error" is a refusal, with its reason.
 */
#ifndef SERVICE_CONTROL_H
#define SERVICE_CONTROL_H

#include <stdint.h>

#include "base/span.h"

#define CONTROL_SOCKET "control"
#define CONTROL_PROTOCOL "control"

enum { CONTROL_VERSION = 1, CONTROL_PACKET_MAX = 1024 };

enum control_word {
    CONTROL_UNKNOWN,
    CONTROL_LIMIT,
    CONTROL_REFUSE,
    CONTROL_WAKEUP,
    CONTROL_DRAIN,
    CONTROL_READY,
    CONTROL_FAILED,
    CONTROL_LIMITED,
    CONTROL_FULL,
    CONTROL_BYE,
    CONTROL_WORDS,
};

struct control_message {
    enum control_word word;
    uint32_t number;  /* limit, limited */
    struct span text; /* refuse, failed, bye; borrowed from the packet */
};

/* Decode one packet. ERR_SYNTAX for a known word with a bad argument. */
int control_decode(struct span packet, struct control_message *message);
/* Send one packet; text may be NULL, number is for limit and limited. Never
 * waits: -EAGAIN when the peer does not read, -EPIPE when it is gone. */
int control_send(int fd, enum control_word word, uint32_t number, const char *text);
/* Receive one packet without waiting. *message borrows from buf (at least
 * CONTROL_PACKET_MAX octets). -EAGAIN, ERR_EOF. */
int control_receive(int fd, char *buf, struct control_message *message);

#endif
