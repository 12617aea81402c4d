/*
 * agent.h: the connection to one process of a transport.
 */
#ifndef QMGR_AGENT_H
#define QMGR_AGENT_H

#include "ipc/ipc.h"
#include "qmgr/active.h"

struct transport {
    struct list link;
    struct schedule_transport *schedule;
    struct list agents;
    struct task_cond changed; /* jobs, room, connections */
    unsigned recipient_limit;
    int64_t unavailable_until_ms;
    bool is_connecting;
};

struct agent {
    struct list link;
    struct transport *transport;
    struct ipc_conn *ipc;
    struct hash jobs; /* out, by number */
    uint32_t capacity, used;
    bool is_draining;
    struct str acks;   /* numbers (uint64_t) of jobs whose results wait to be durable */
    size_t acks_ready; /* octets of them that the flush under way covers */
};

/* Connect and read what it can take. */
TASK_WAITS int agent_connect(struct transport *t, struct agent **out, deadline_t deadline);
/* Read results until the connection ends; frees a. Its jobs go back or, as their
 * outcome is unknown, are deferred. */
TASK_WAITS void agent_serve(struct agent *a);
/* Hand out a job; m is emptied. -EAGAIN: its window is full. */
int agent_send(struct agent *a, struct job *job, struct ipc_out *m);
void agent_close(struct agent *a);

#endif
