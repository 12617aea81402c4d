/* nexthop.h: where a job's next hop says that mail goes. Pure. */
#ifndef SMTP_NEXTHOP_H
#define SMTP_NEXTHOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct nexthop {
    struct span name; /* domain, host or address, without brackets */
    bool is_host;     /* "[name]": no MX look-up */
    uint16_t port;    /* 0: smtp_tcp_port */
};

/* "domain", "domain:port", "[host]", "[host]:port", "[192.0.2.1]", "[IPv6:2001:db8::1]";
 * borrows text. ERR_SYNTAX. */
int nexthop_parse(struct span text, struct nexthop *out);

#endif
