/* ehlo.h: what a server says it can do (RFC 5321 4.1.1.1). Pure. */
#ifndef SMTP_EHLO_H
#define SMTP_EHLO_H

#include <stdint.h>

#include "base/span.h"

struct ehlo {
    unsigned features;   /* enum smtp_feature */
    uint64_t size_limit; /* octets; 0: none given */
    struct span name;    /* what the server calls itself; borrowed */
};

/* text: a reply's lines with their codes. Keywords in discarded are not seen. */
void ehlo_parse(struct span text, unsigned discarded, struct ehlo *out);

#endif
