/*
 * delivery.h: one job on its way: which recipients are left, over which hosts, and what
 * became of them. The job's task runs it from the first look-up to the last report; the
 * connection it uses belongs to it for that time.
 */
#ifndef SMTP_DELIVERY_H
#define SMTP_DELIVERY_H

#include "queue/deliver.h"
#include "smtp/connection.h"
#include "smtp/settings.h"
#include "smtp/trouble.h"

struct delivery_recipient {
    bool is_reported;
    bool is_accepted;        /* in the present transaction */
    bool is_refused;         /* in the present transaction: has the server's words in trouble */
    struct trouble *trouble; /* of the last host that did not take it now, or NULL */
};

/* A transaction's place in the sequence of commands: MAIL is step 0, RCPT for
 * recipients[i] is step i + 1, DATA comes last. What is sent and not received is what
 * replies are expected for, in this order. */
struct transaction {
    uint32_t *recipients; /* those that were left when it began */
    size_t count;
    size_t sent, received;
    size_t unanswered; /* octets of commands sent and not answered */
    size_t accepted;
    bool is_begun, is_mail_accepted, is_over, is_data_open;
};

/* How a delivery that waits for a connection stands with the pool. */
enum delivery_wait {
    DELIVERY_IDLE,
    DELIVERY_WAITING, /* in the destination's list */
    DELIVERY_BOUND,   /* its envelope is on its way over somebody else's connection */
    DELIVERY_GIVEN,   /* .given is its own now */
};

struct delivery {
    const struct settings *settings;
    struct deliver_job *job;
    struct delivery_recipient *recipients; /* as many as the message has */
    size_t left;                           /* not reported */
    struct trouble why;                    /* why there was no host to try */
    struct net_address tried;              /* the host that a kept connection led to */
    struct transaction transaction;
    uint64_t size;
    uint32_t content_flags;
    /* pool.h's. */
    struct destination *destination;
    enum delivery_wait wait;
    struct connection *given;
    struct task_cond wake;
    struct list link;
};

/* The agent's function (deliver.h); arg is a struct settings. */
TASK_WAITS void delivery_run(struct deliver_job *job, void *arg);

/* For transaction.c: what became of one recipient or of all that are left. Soft
 * trouble is kept until another host has been tried. c may be NULL. */
void delivery_fail(struct delivery *d, size_t i, const struct connection *c,
                   const struct trouble *trouble);
void delivery_fail_all(struct delivery *d, const struct connection *c,
                       const struct trouble *trouble);
/* The server took responsibility for recipient i; its reply is c->reply. */
void delivery_sent(struct delivery *d, size_t i, const struct connection *c);

#endif
