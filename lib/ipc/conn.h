/* conn.h: the inside of a connection; for lib/ipc itself. */
#ifndef IPC_CONN_H
#define IPC_CONN_H

#include "base/hash.h"
#include "ipc/message.h"
#include "ipc/outbox.h"

enum {
    IPC_WINDOW = 256 * 1024, /* unsent octets above which ipc_send() waits */
};

/* A received packet that holds further messages. */
struct inbox {
    char *data; /* NULL: none */
    struct span rest;
    int fds[IPC_FDS_MAX];
    size_t fd_count, fd_next;
};

struct ipc_conn {
    int fd;
    struct task_fd poll;
    unsigned refs; /* the owner, each waiting call, the writer, the turn's hook */
    int error;     /* 0 while it lives */
    uint32_t peer_version;
    uid_t peer_uid;
    pid_t peer_pid;

    struct inbox inbox;
    bool has_reader;

    struct outbox outbox;
    struct task_cond drained; /* unsent went down, or the connection died */
    struct task_turn_hook turn;
    bool is_turn_asked;
    bool has_writer;

    struct hash calls; /* struct call by id */
    uint64_t last_id;
};

/* An embryo without hello; takes fd in every case. */
int ipc_conn_new(struct ipc_conn **out, int fd);
void ipc_conn_hold(struct ipc_conn *c);
void ipc_conn_drop(struct ipc_conn *c);
/* Dead from now on: wakes everybody who waits on it. The first error stays. */
void ipc_conn_fail(struct ipc_conn *c, int error);

/* Give a reply to the call that waits for it; false when m is no reply. Takes m
 * when true. */
bool ipc_call_deliver(struct ipc_conn *c, struct ipc_in *m);
/* End every call in flight. */
void ipc_call_fail_all(struct ipc_conn *c, int error);

#endif
