/* resolver.h: what a resolver implements; for lib/net itself. */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "net/dns.h"

struct resolver_ops {
    /* As dns_query(). */
    TASK_WAITS int (*query)(struct resolver *r, const char *name, enum dns_type type,
                            unsigned flags, struct dns_answer *answer, deadline_t deadline);
    void (*free)(struct resolver *r);
};

struct resolver {
    const struct resolver_ops *ops;
};

/* The code of dns_query() for an answer's status. */
int dns_status_code(enum dns_status status);
/* An answer without records. */
int dns_answer_fail(struct dns_answer *answer, enum dns_status status, const char *reason);

#endif
