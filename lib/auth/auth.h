/*
 * auth.h: the client side of auth(8), the only program that sees a credential
 * store. A network-facing process asks it to run a SASL exchange; for IMAP and
 * POP3 it gets a one-time session id, which the process that opens the mailbox
 * redeems. So nobody who only speaks to the network can claim a user.
 *
 * Protocol "auth", version 1, over lib/ipc:
 *   begin    service mechanism [initial] client local secured
 *            -> continue exchange challenge | done ... | fail ...
 *   step     exchange response   -> as begin
 *   cancel   exchange            (no reply)
 *   redeem   session service     -> done user account | fail
 *   lookup   address             -> done user account | fail code=unknown
 * A process that ends at a reload answers "begin" with "again": the next one is to be
 * asked. A step of an exchange that is not there (any more) is answered with "lost". This
 * side then begins once more by itself; its callers notice nothing but the time, unless
 * the mechanism's challenges are new each time (SCRAM) and the client takes seconds.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/span.h"
#include "base/str.h"
#include "task/task.h"

struct auth_client;

/* One per process; connects at the first call and again when auth restarts. */
struct auth_client *auth_client_new(void);
void auth_client_free(struct auth_client *c);

struct auth_request {
    const char *service;   /* "smtp", "imap", "pop3" */
    struct span mechanism; /* as the client wrote it */
    bool has_initial;
    struct span initial;        /* decoded; may be empty ("=") */
    struct span client_address; /* "192.0.2.1" */
    struct span local_address;
    bool is_secured; /* TLS, or the server's own address */
};

enum auth_outcome {
    AUTH_CONTINUE,    /* send challenge, call auth_step with the response */
    AUTH_DONE,        /* authenticated */
    AUTH_FAILED,      /* wrong credentials; the delay has passed already */
    AUTH_UNAVAILABLE, /* temporary: auth or its source cannot answer */
    AUTH_BAD,         /* malformed exchange, unknown or forbidden mechanism */
};

/* Strings live until the exchange is freed. */
struct auth_answer {
    enum auth_outcome outcome;
    struct span challenge; /* CONTINUE: not encoded; DONE: final server data, if any */
    struct span user;      /* DONE: login name, normalised; FAILED: the name tried, if known */
    struct span account;   /* DONE, service smtp: account id, may be empty */
    struct span session;   /* DONE, imap and pop3: one-time id for the session process */
    struct span reason;    /* FAILED, UNAVAILABLE, BAD: for the log */
};

struct auth_exchange;

/* Begin; *exchange is set whatever the outcome and must be freed. Negative only
 * for lack of memory or cancellation. */
TASK_WAITS int auth_begin(struct auth_client *c, const struct auth_request *request,
                          struct auth_exchange **exchange, struct auth_answer *answer,
                          deadline_t deadline);
TASK_WAITS int auth_step(struct auth_exchange *e, struct span response, struct auth_answer *answer,
                         deadline_t deadline);
/* Cancels it when it is not finished. */
void auth_exchange_free(struct auth_exchange *e);

/* Redeem a session id, once: 0 with user and account appended, ERR_DENIED,
 * ERR_TEMPORARY. */
TASK_WAITS int auth_redeem(struct auth_client *c, struct span session, const char *service,
                           struct str *user, struct str *account, deadline_t deadline);

/* The account that receives mail for an address: 0, ERR_NOT_FOUND, ERR_TEMPORARY. */
TASK_WAITS int auth_lookup(struct auth_client *c, struct span address, struct str *account,
                           deadline_t deadline);

/* Append those of the configured mechanisms (space or comma separated) that may be
 * offered: unless is_secured, those that show the password are left out. */
int auth_offer(struct str *out, struct span configured, bool is_secured);

#endif
