/* pattern.h: LIST's wildcards (RFC 3501 6.3.8). Pure. */
#ifndef IMAPD_PATTERN_H
#define IMAPD_PATTERN_H

#include <stdbool.h>

#include "base/span.h"

enum { PATTERN_NAME_MAX = 4096 };

/* Does the name match: "*" any octets, "%" any but "/"? INBOX as the first part of a
 * name matches in any case. The time is bounded by the product of both lengths. */
bool pattern_matches(struct span pattern, struct span name);

#endif
