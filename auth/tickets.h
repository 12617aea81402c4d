/*
 * tickets.h: one-time session ids. A login process gets one for a client that
 * authenticated; imapd or pop3d redeems it, once, within its time. Pure: time
 * is an argument.
 */
#ifndef AUTH_TICKETS_H
#define AUTH_TICKETS_H

#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

struct tickets;

/* At most limit ids are outstanding; each lives lifetime_ms. NULL: no memory. */
struct tickets *tickets_new(size_t limit, int64_t lifetime_ms);
void tickets_free(struct tickets *t);

/* Append a new id (32 hexadecimal digits). ERR_LIMIT, -ENOMEM. */
int tickets_issue(struct tickets *t, const char *service, struct span user, struct span account,
                  int64_t now_ms, struct str *id);
/* 0 with user and account set, once; ERR_DENIED when the id is unknown, used, too
 * old or of another service (it is void then). */
int tickets_redeem(struct tickets *t, struct span id, struct span service, int64_t now_ms,
                   struct str *user, struct str *account);

/* Those that are still good, as text for tickets_restore in the next process; the clock is
 * the same there. 0, or -ENOMEM. */
int tickets_save(struct tickets *t, int64_t now_ms, struct str *out);
/* Add what tickets_save wrote; nobody lives longer than one that is issued now. ERR_SYNTAX,
 * ERR_LIMIT, -ENOMEM: those before count. */
int tickets_restore(struct tickets *t, struct span text, int64_t now_ms);

#endif
