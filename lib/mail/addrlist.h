/*
 * addrlist.h: address lists of message headers (RFC 5322 3.4 with obsolete syntax,
 * groups and comments), as IMAP's ENVELOPE needs them. Broken input is read as Dovecot
 * 2.3 reads it: nothing is refused.
 */
#ifndef MAIL_ADDRLIST_H
#define MAIL_ADDRLIST_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/span.h"

/* A p of NULL is IMAP's NIL. A group starts with an entry that has only mailbox (the
 * group's name), and ends with one that has nothing. */
struct addrlist_item {
    struct span name, route, mailbox, domain;
    bool is_broken; /* did not parse; missing parts are filled as Dovecot does */
    struct addrlist_item *next;
};

/* Parse the raw (folded) value of a From:, To: ... field; at most items_max items.
 * Items and their text come from the arena. *list is NULL for an empty list. 0 or
 * -ENOMEM. Text is not decoded (RFC 2047). */
int addrlist_parse(struct arena *arena, struct span value, unsigned items_max,
                   struct addrlist_item **list);

#endif
