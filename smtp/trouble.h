/*
 * trouble.h: why a delivery did not happen, in the words that Postfix logs and that a
 * notification shows.
 */
#ifndef SMTP_TROUBLE_H
#define SMTP_TROUBLE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/span.h"
#include "mail/dsn.h"
#include "smtp/reply.h"

enum { SMTP_DSN_MAX = 16 };

/* Texts live in the arena that the maker was given. */
struct trouble {
    char dsn[SMTP_DSN_MAX]; /* "" : nothing is wrong */
    struct span reason;
    struct span relay;                     /* "host[address]:port", or empty */
    struct span remote_host, remote_reply; /* when the remote said it */
    bool site;                             /* the next hop as a whole fails */
    bool is_final;                         /* no fallback relay helps: a loop, or null MX */
};

/* Our own words. */
void trouble_set(struct trouble *t, struct arena *arena, const char *dsn, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The remote's, between two texts of ours; host (borrowed) said it. */
void trouble_reply(struct trouble *t, struct arena *arena, const struct reply *reply,
                   const char *host, const char *before, const char *after);
static inline bool trouble_is_set(const struct trouble *t)
{
    return t->dsn[0] != '\0';
}
/* Try again later (or elsewhere). */
static inline bool trouble_is_soft(const struct trouble *t)
{
    return t->dsn[0] == '4';
}
/* A failure that the configuration is to blame for is no reason to bounce. */
static inline void trouble_soften(struct trouble *t)
{
    if (t->dsn[0] == '5')
        t->dsn[0] = '4';
}

#endif
