/*
 * login.h: what imap-login and pop3-login share: a client before it is
 * authenticated, its way into TLS, through SASL, and over to the program that
 * opens its mailbox. Only the commands and their answers are the protocol's own.
 *
 * A client comes in plain on an inet listener, or from tlsproxy over the
 * program's Unix socket.
 */
#ifndef LOGIN_LOGIN_H
#define LOGIN_LOGIN_H

#include <stdbool.h>

#include "auth/auth.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/stream.h"
#include "service/service.h"

struct login {
    struct stream *stream;
    struct budget budget;
    struct str peer, local; /* addresses as text */
    struct str tls;         /* "TLSv1.3 with cipher ...", empty when plain */
    bool is_secured;        /* TLS, or a client on the server's own address */
    bool may_start_tls;     /* plain, and certificates are configured */
    unsigned failures;
    const char *disconnect; /* why it ends, for the log */
    struct str user;        /* last name tried */
};

struct login_protocol {
    const char *name;    /* "imap" or "pop3": service name and socket to hand over to */
    const char *program; /* "imap-login" */
    /* Serve a client until login_hand_over() succeeded or the client is done. The
     * caller frees the login. */
    void (*serve)(struct login *l);
};

/* For a program's struct service. */
int login_start(const struct conf *conf, const struct login_protocol *protocol);
TASK_WAITS void login_serve_client(struct service_client *client);

/* When to give up on a client that has not authenticated. */
deadline_t login_deadline(void);

/* Before the answer that begins TLS: whether tlsproxy is there to make the handshake. It is
 * not while it cannot start, such as over a broken certificate. */
TASK_WAITS bool login_has_tlsproxy(struct login *l);
/* After the protocol's positive answer was written: flush, drop what the client
 * sent ahead, and go on under TLS. Negative: the client is lost. */
TASK_WAITS int login_start_tls(struct login *l);

enum login_verdict {
    LOGIN_OK,      /* *session holds the id: call login_hand_over() */
    LOGIN_FAILED,  /* wrong name or password */
    LOGIN_ABORTED, /* the client gave up or sent nonsense */
    LOGIN_NO_MECHANISM,
    LOGIN_NEEDS_TLS,   /* the mechanism shows the password on a plain connection */
    LOGIN_UNAVAILABLE, /* temporary failure */
    LOGIN_LOST,        /* no client any more */
};

/* A SASL exchange: challenges and responses are lines of base64, "*" gives up (RFC
 * 3501 6.2.2, RFC 5034 4). initial NULL: none was sent. */
TASK_WAITS enum login_verdict login_authenticate(struct login *l, struct span mechanism,
                                                 const struct span *initial, struct str *session);
/* Name and password in one command (IMAP LOGIN, POP3 USER/PASS). */
TASK_WAITS enum login_verdict login_password(struct login *l, struct span user,
                                             struct span password, struct str *session);

/* Give the client away. 0: the stream is gone (also when nobody can tell whether the
 * other side has it), return from serve. ERR_TEMPORARY, ERR_LIMIT: the client is still
 * here. tag: IMAP's. */
TASK_WAITS int login_hand_over(struct login *l, struct span session, struct span method,
                               struct span tag);

/* Mechanisms to offer to this client now, space-separated. */
int login_offer(struct login *l, struct str *out);
/* No password may be shown on this connection: LOGINDISABLED. */
bool login_is_password_forbidden(const struct login *l);
/* Count a failure; true when the client has had enough of them. */
bool login_is_too_often(struct login *l);

#endif
