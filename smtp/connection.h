/*
 * connection.h: a connection to a server, from connect(2) to QUIT: greeting, EHLO or
 * HELO, STARTTLS. One task uses it at a time; between deliveries pool.h keeps it.
 */
#ifndef SMTP_CONNECTION_H
#define SMTP_CONNECTION_H

#include "base/list.h"
#include "smtp/exchanger.h"
#include "smtp/reply.h"
#include "smtp/trouble.h"

struct delivery;
struct destination;

struct connection {
    const struct settings *settings;
    struct stream *stream;
    struct budget budget;
    struct arena arena;
    const char *host;        /* the server's name */
    struct net_address peer; /* with port */
    const char *name;        /* "host[address]" */
    struct span relay;       /* "host[address]:port" */
    unsigned features;       /* enum smtp_feature */
    uint64_t size_limit;     /* 0: none */
    struct reply reply;      /* the last one */
    struct str out;          /* content on its way */
    int64_t opened_ms;
    unsigned uses;  /* transactions begun */
    bool is_broken; /* nothing more can be said over it */
    bool is_spoilt; /* replies will come that nobody waits for */
    bool is_quit_sent;
    bool is_keepable;         /* to the destination's best exchanger */
    bool is_transaction_open; /* MAIL was said and not undone: RSET before the next */
    /* pool.h's. */
    struct destination *destination;
    struct delivery *next; /* whose envelope went out behind the present data */
    struct list link;
    struct task_timer idle;
};

/* Connect and say hello. with_tls: as the level demands; false for the second try
 * of an opportunistic one. 0, or a negative code with *why set; ERR_TLS when it is only
 * TLS that did not work; -ECANCELED. next_hop is for messages. */
TASK_WAITS int connection_open(struct connection **out, const struct settings *s,
                               const struct exchanger *to, const char *next_hop, bool with_tls,
                               struct arena *arena, struct trouble *why);
/* Closes without a word. NULL is allowed. */
void connection_free(struct connection *c);
/* QUIT, politely but without holding anybody up, and free. */
TASK_WAITS void connection_quit(struct connection *c);
/* RSET: 0, or the connection is broken. */
TASK_WAITS int connection_reset(struct connection *c);

/* Read the next reply into c->reply. Errors break the connection. */
TASK_WAITS int connection_read(struct connection *c, int64_t timeout_ms);
/* What a negative code of the stream means, while doing what `where` says. */
void connection_explain(const struct connection *c, int rc, const char *where, struct arena *arena,
                        struct trouble *why);
/* Give back what an idle connection does not need. */
void connection_trim(struct connection *c);
/* An idle connection that the server has closed, or says something on. */
bool connection_is_stale(const struct connection *c);

#endif
