/*
 * session.h: handing a client from a login process to imapd or pop3d.
 *
 * Protocol "session", version 1, over lib/ipc, on the sockets "imap" and "pop3":
 *   session  client(fd) session tag command unread peer local tls
 *            -> reply ok | fail reason
 * After ok the client's descriptor belongs to the session process; the login
 * process closes its copy.
 */
#ifndef AUTH_SESSION_H
#define AUTH_SESSION_H

#include "base/clock.h"
#include "base/span.h"
#include "ipc/ipc.h"
#include "task/task.h"

struct session_handover {
    int fd;              /* plaintext end: the client's socket or tlsproxy's pair */
    struct span session; /* from auth */
    struct span tag;     /* IMAP: of the command that authenticated */
    struct span unread;  /* input that the login process had read already */
    struct span peer;    /* client address, for the log */
    struct span local;
    struct span tls; /* "TLSv1.3 with cipher ...", empty when plain */
    bool is_secured;
};

/* Login side: 0 when the session process took it; ERR_TEMPORARY, ERR_LIMIT (of the user)
 * and -EBUSY (it is full, and the session id still good for another process): it did not.
 * After any other code (no answer in time, cancelled) it may have: nobody here may talk
 * to the client any more. The descriptor stays the caller's to close in every case. */
TASK_WAITS int session_hand_over(struct ipc_client *service, const struct session_handover *h,
                                 deadline_t deadline);

/* Session side: decode a request; *h borrows from m, the descriptor is taken out
 * of it and owned by the caller. ERR_PROTOCOL. */
int session_decode(struct ipc_in *m, struct session_handover *h);

#endif
