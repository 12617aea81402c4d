/* exchanger.h: the list of addresses that a delivery tries, in order. Pure. */
#ifndef SMTP_EXCHANGER_H
#define SMTP_EXCHANGER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/array.h"
#include "net/address.h"
#include "smtp/settings.h"

struct exchanger {
    const char *host; /* the name that was looked up; for logs */
    unsigned preference;
    struct net_address address; /* port included */
};

struct exchangers {
    ARRAY(struct exchanger) list;
    struct arena arena; /* the names */
};

void exchangers_fini(struct exchangers *x);
/* host is copied. -ENOMEM. */
int exchangers_add(struct exchangers *x, const char *host, unsigned preference,
                   const struct net_address *address);
/* Drop every one whose preference is the same as or worse than that of one which
 * is_own() names (RFC 5321 5.1). True when there was one. */
bool exchangers_drop_own(struct exchangers *x, const struct settings *s);
/* By preference (smaller first); equal ones in the order of the family that is
 * preferred, shuffled before with randomize. */
void exchangers_arrange(struct exchangers *x, enum smtp_preference preference, bool randomize);
/* Cut to limit so that, where both families are there, either has half of the places
 * (smtp_balance_inet_protocols). The order stays. */
void exchangers_balance(struct exchangers *x, size_t limit);

#endif
