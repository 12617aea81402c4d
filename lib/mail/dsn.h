/*
 * dsn.h: enhanced status codes (RFC 3463) and small helpers for the notifications of
 * RFC 3464. Pure.
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

/* "5.1.1"; class is 2, 4 or 5. */
struct dsn_status {
    uint16_t class, subject, detail;
};

/* The whole of text is a status code. ERR_SYNTAX. */
int dsn_parse(struct span text, struct dsn_status *out);
/* Take a status code and the blanks behind it off the front of *text, as it stands in a
 * reply's text ("5.1.1 no such user"). False, with nothing taken, when there is none or
 * when its class does not fit reply_code's first digit (RFC 2034 4). */
bool dsn_take(struct span *text, unsigned reply_code, struct dsn_status *out);
/* X.0.0 for a reply that has none. */
struct dsn_status dsn_of_reply(unsigned reply_code);
int dsn_append(struct str *out, struct dsn_status status);

#endif
