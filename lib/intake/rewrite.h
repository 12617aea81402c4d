/*
 * rewrite.h: completing the addresses of a header field, as Postfix's cleanup(8) and
 * trivial-rewrite(8) do: append_at_myorigin, append_dot_mydomain, source routes,
 * swap_bangpath, percent_hack. Pure: no waits, no I/O.
 *
 * Only what changes is touched: names, comments, groups and the layout stay as they came.
 * An element that is no address by RFC 5322 (with its obsolete forms) stays, too, and so
 * does one that would not be an address, or not stay one, when completed ("%%", "!host").
 * To complete a field twice is to complete it once.
 */
#ifndef INTAKE_REWRITE_H
#define INTAKE_REWRITE_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"
#include "route/route.h"

enum { INTAKE_FOLD_AT = 78 }; /* RFC 5322 2.1.1 */

/* Does the field of this name hold addresses that are completed? */
bool intake_is_address_field(struct span name);

/* Append field (name, colon, value and folds, the final CRLF included) with its addresses
 * completed; lines that have become longer than INTAKE_FOLD_AT are folded between
 * addresses. At most tokens_max tokens (header_address_token_limit) are looked at, what is
 * behind them stays. 1: something was changed, 0: nothing, out is to be ignored; a
 * negative error of out. */
int intake_rewrite_field(const struct route *r, enum route_context context, struct span field,
                         unsigned tokens_max, struct str *out);

#endif
