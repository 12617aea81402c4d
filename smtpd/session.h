/*
 * session.h: one SMTP session: the client, its transaction, and how replies and
 * log lines are made. Linear code in one task; what the client sends costs at most
 * this session's budget.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include "base/arena.h"
#include "base/array.h"
#include "net/address.h"
#include "net/stream.h"
#include "smtpd/server.h"

enum command_result {
    COMMAND_OK,
    COMMAND_ERROR,   /* counts towards the error limits */
    COMMAND_REFUSED, /* failed, but is no error of the client */
    COMMAND_CLOSE,   /* the session ends */
};

/* A recipient of the transaction, as the client gave it (after rewriting). */
struct session_recipient {
    struct span address;
};

struct transaction {
    struct arena arena;
    bool is_open;            /* MAIL was accepted */
    struct span sender;      /* internal form */
    struct span sender_text; /* RFC 5321 form, for log and headers */
    ARRAY(struct session_recipient) recipients;
    unsigned overshoot;
    struct queue_id id; /* number 0: not taken yet */
    char id_text[QUEUE_ID_TEXT_MAX];
    int64_t arrival_us;
    enum queue_body_type body;
    struct span auth_sender; /* AUTH= of MAIL */
    uint64_t announced_size;
    /* actions of access tables */
    bool is_held, is_discarded;
    struct span redirect;
    struct span filter; /* FILTER: "transport:destination" */
    ARRAY(struct session_recipient) bcc;
    struct str prepended; /* PREPEND: header lines */
    /* BDAT */
    bool is_chunked, chunk_failed;
    void *upload;
    struct intake *intake;
    struct data_reader *reader;
};

struct session {
    const struct server *server;
    struct stream *stream;
    struct budget *budget; /* of the client: stream and session draw on it */
    struct arena arena;

    /* the client */
    struct net_address peer, local;
    struct span address;      /* "192.0.2.1" */
    struct span name;         /* verified name or "unknown" */
    struct span reverse_name; /* PTR without the check, or "unknown" */
    struct span name_address; /* "name[address]" */
    struct span port;
    bool is_name_temporary; /* the look-up failed for now */
    bool is_mynetworks;
    struct span helo; /* empty before HELO */
    struct str helo_text;
    const char *protocol; /* "SMTP" or "ESMTP" */
    bool used_helo;

    /* authentication */
    struct span login, login_method;
    struct str login_text;

    struct str line; /* the command at hand: outlives reads from the stream */

    /* errors and counts */
    const char *command; /* where we are, for the log: "CONNECT", "RCPT", ... */
    unsigned errors, junk;
    unsigned ok[24], total[24]; /* by command table row; the last is unknown ones */
    int io_error;               /* reading failed inside a command: the session ends */
    bool is_hangup;             /* a reply 421 or 521 went out: the session ends */
    bool is_denied;             /* client restrictions said no at connection time */
    bool was_pipelined;         /* input was there before the reply went out */
    bool is_counted;            /* anvil knows about us */
    struct str reply_text;      /* of the restriction that rejected */
    struct transaction tx;

    /* of the check under way */
    struct span recipient;      /* internal form; p NULL: none */
    struct span recipient_text; /* RFC 5321 form */
    const struct route_result *resolved;
    struct str defer_if_permit, defer_if_reject;
    bool recipient_checked;    /* reject_unlisted_recipient ran */
    enum restrict_stage stage; /* the list under way */
    bool is_warning;           /* warn_if_reject is in front of this check */
    unsigned depth;            /* nesting of lists in access tables */
};

/* Serve a client until it is gone. Takes the stream, whose buffers draw on budget
 * as well. */
TASK_WAITS void session_run(const struct server *server, struct stream *stream,
                            struct budget *budget, const struct net_address *peer,
                            const struct net_address *local);

/* Send one reply line; its text is without CRLF. Negative codes stick in the
 * stream. */
TASK_WAITS void session_reply(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same with a text that may hold several lines ("250-...\r\n250 ..."). */
TASK_WAITS void session_reply_text(struct session *s, struct span text);
/* soft_bounce: a 5xx becomes 4xx, in the enhanced status code as well. */
void session_soften(struct str *reply);
/* When the next read must be done. */
deadline_t session_deadline(const struct session *s);

/* "ID" or "NOQUEUE". */
const char *session_queue_id(const struct session *s);
/* The line "ID: reject: RCPT from name[address]: text; from=<> to=<> proto= helo=". */
void session_log_reject(struct session *s, const char *what, struct span text);
/* Postfix's client= line, once the message has an id. */
/* An address that is none: "Illegal address syntax from ... in RCPT command: ...". */
void session_log_bad_address(struct session *s, struct span text);
void session_log_client(struct session *s);
/* "ESMTPSA" and the like (RFC 3848). */
const char *session_protocol(const struct session *s);
bool session_is_secured(const struct session *s);

/* End the transaction, if there is one. */
TASK_WAITS void session_reset(struct session *s);

/* --- peer.c --- */

/* Fill in names and addresses; looks the name up. */
TASK_WAITS int peer_identify(struct session *s);

/* --- commands --- */

/* One function per command; argument is what follows the verb and its blanks. */
typedef enum command_result command_fn(struct session *s, struct span argument);
TASK_WAITS enum command_result command_run(struct session *s, struct span line);
/* "ehlo=1 mail=1 rcpt=0/1 commands=2/3" */
void command_print_counts(const struct session *s, struct str *out);

command_fn cmd_helo, cmd_ehlo, cmd_starttls, cmd_auth, cmd_mail, cmd_rcpt, cmd_data, cmd_bdat,
    cmd_rset, cmd_noop, cmd_vrfy, cmd_help, cmd_quit;

/* A BDAT that is refused unseen: its octets are read and thrown away. */
TASK_WAITS void bdat_discard(struct session *s, struct span argument);

/* submit.c: hand the message to the queue and answer the client. Takes the
 * upload. */
TASK_WAITS enum command_result submit(struct session *s);
/* Take a queue id for the transaction, once, and log the client= line. */
/* queue_minfree: is there room for a message of the announced size, and one of the largest? */
TASK_WAITS bool submit_has_space(struct session *s);
TASK_WAITS int submit_take_id(struct session *s);
/* Open upload and header pass; writes PREPEND lines and Received:. */
TASK_WAITS int submit_begin(struct session *s);

/* cmd_tls.c: the handshake, for STARTTLS and implicit TLS. */
TASK_WAITS int tls_start(struct session *s);

#endif
