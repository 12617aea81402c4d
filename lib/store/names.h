/* names.h: mailbox names: UTF-8, "/" between levels, INBOX in any case. Pure. */
#ifndef STORE_NAMES_H
#define STORE_NAMES_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"

/* Append the one spelling of a name: "inbox" and "inbox/x" become "INBOX", "INBOX/x";
 * one trailing "/" is dropped (RFC 3501 6.3.3). */
int name_normalise(struct str *out, struct span name);
/* 0; ERR_SYNTAX: empty levels, control characters, not UTF-8; ERR_TOO_LONG: over a
 * limit. */
int name_check(struct span name, size_t length_limit, unsigned depth_limit);
/* Whether name lies below parent. */
bool name_is_below(struct span name, struct span parent);
/* The special use of a usual mailbox name, such as "\\Sent" (RFC 6154); or empty. */
struct span name_special_use(struct span name);
/* An attribute of RFC 6154 2 or RFC 8457 3: what a LIST response may carry. */
bool name_is_special_use(struct span use);

#endif
