/*
 * mailbox.h: what imapd and pop3d share: taking a client from a login process,
 * redeeming its session id, and running its session in a task of its own.
 */
#ifndef LOGIN_MAILBOX_H
#define LOGIN_MAILBOX_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/stream.h"
#include "service/service.h"

struct mailbox_session {
    struct stream *stream;
    struct budget budget;
    struct str user, account;    /* login name, account id */
    struct str tag;              /* IMAP: of the command that authenticated */
    struct str peer, local, tls; /* for the log */
    bool is_secured;
};

struct mailbox_protocol {
    const char *name; /* "imap" or "pop3": what session ids must be for */
    /* Run a session to its end, in a task of its own. The caller frees it. */
    void (*serve)(struct mailbox_session *s);
};

/* For a program's struct service. */
int mailbox_start(const struct conf *conf, const struct mailbox_protocol *protocol);
TASK_WAITS void mailbox_serve_client(struct service_client *client);

#endif
