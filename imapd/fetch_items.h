/* fetch_items.h: what FETCH asks for (RFC 3501 6.4.5). */
#ifndef IMAPD_FETCH_ITEMS_H
#define IMAPD_FETCH_ITEMS_H

#include "imapd/parse.h"
#include "mail/imap.h"

enum fetch_item {
    FETCH_FLAGS = 1 << 0,
    FETCH_UID = 1 << 1,
    FETCH_DATE = 1 << 2,
    FETCH_SIZE = 1 << 3,
    FETCH_ENVELOPE = 1 << 4,
    FETCH_BODY = 1 << 5,
    FETCH_STRUCTURE = 1 << 6,
};

enum { FETCH_SECTIONS_MAX = 100 };

/* BODY[...]<...>, RFC822, RFC822.HEADER, RFC822.TEXT */
struct fetch_section {
    struct imap_section section;
    struct span name; /* in the response */
    bool sets_seen;
    bool is_partial;
    uint32_t offset, count;
};

struct fetch_items {
    unsigned items;                       /* enum fetch_item */
    ARRAY(struct fetch_section) sections; /* in the order asked for */
    const char *why;                      /* what is wrong with the request */
};

/* Take "ALL", "item" or "(item item ...)". ERR_SYNTAX with why set, -ENOMEM. Free after
 * any result. */
int fetch_items_take(struct parse *p, struct fetch_items *out);
void fetch_items_free(struct fetch_items *f);

#endif
