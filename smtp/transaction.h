/*
 * transaction.h: MAIL, RCPT, DATA and the content over an open connection (RFC 5321 3.3),
 * in groups where the server offers PIPELINING (RFC 2920). The next delivery's envelope
 * leaves in the same group as this one's end of data; its replies come behind this one's
 * verdict and count for nobody else.
 */
#ifndef SMTP_TRANSACTION_H
#define SMTP_TRANSACTION_H

#include "smtp/delivery.h"

/* Run d's transaction over c, from where it stands. Recipients get their results;
 * c->is_broken says whether it can be used further. ERR_EOF: the connection was used
 * before and is gone; nothing of d was answered, so that another one may be tried.
 * -ECANCELED; else 0. */
TASK_WAITS int transaction_run(struct connection *c, struct delivery *d);
/* Whether the server takes d's message as it is, as far as its EHLO tells. why may be
 * NULL. */
bool transaction_fits(const struct connection *c, const struct delivery *d, struct trouble *why);
/* Start over: with the recipients that are left. */
int transaction_begin(struct delivery *d);

#endif
