/*
 * address.h: internet addresses of both families, networks, and the ways a
 * configuration writes them. Pure; nothing here waits or looks a name up.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/span.h"
#include "base/str.h"

/* A zeroed one is "no address" (AF_UNSPEC). IPv4-mapped IPv6 addresses become
 * IPv4 wherever they come in. */
struct net_address {
    sa_family_t family; /* AF_UNSPEC, AF_INET or AF_INET6 */
    uint16_t port;      /* host order; 0 = none */
    uint32_t scope;     /* interface of a link-local IPv6 address */
    uint8_t octets[16]; /* network order; 4 or 16 of them count */
};

/* "192.0.2.1", "2001:db8::1" or "[2001:db8::1]"; the port becomes 0. ERR_SYNTAX. */
int net_address_parse(struct span text, struct net_address *address);
/* "192.0.2.1:25" or "[2001:db8::1]:25". */
int net_address_parse_port(struct span text, struct net_address *address);

/* Append "192.0.2.1" or "2001:db8::1" (RFC 5952); "unknown" for no address. All
 * return 0 or str's error. */
int net_address_print(struct str *out, const struct net_address *address);
/* "192.0.2.1:25" or "[2001:db8::1]:25". */
int net_address_print_port(struct str *out, const struct net_address *address);
/* The name to ask PTR records of: "1.2.0.192.in-addr.arpa". */
int net_address_print_reverse(struct str *out, const struct net_address *address);

/* Same family and address; ports do not count. */
bool net_address_eq(const struct net_address *a, const struct net_address *b);
/* Order by family, address, port. */
int net_address_cmp(const struct net_address *a, const struct net_address *b);

/* ERR_NOT_SUPPORTED for other families (the result is "no address"). */
int net_address_from_sockaddr(const struct sockaddr *from, struct net_address *address);
/* The length for bind(2) and connect(2); 0 for no address. */
socklen_t net_address_to_sockaddr(const struct net_address *address, struct sockaddr_storage *to);

/* --- networks --- */

struct net_prefix {
    struct net_address address;
    unsigned bits;
};

/* "10.0.0.0/8", "[2001:db8::]/32", "2001:db8::/32" or an address alone. Bits
 * behind the prefix must be zero, as Postfix demands. ERR_SYNTAX. */
int net_prefix_parse(struct span text, struct net_prefix *prefix);
bool net_prefix_match(const struct net_prefix *prefix, const struct net_address *address);

/* --- endpoints --- */

/* Where to connect or listen, as parameters write it; spans borrow the text. */
struct net_endpoint {
    bool is_unix;    /* host is a path */
    bool is_literal; /* "[host]": no MX look-up */
    struct span host;
    struct span service; /* port number or name; empty when not given */
};

/* "inet:host:port", "unix:path", "host:port", "[host]:port", "[2001:db8::1]:port",
 * "host", ":port" and (is_listener) "port" alone. ERR_SYNTAX. */
int net_endpoint_parse(struct span text, bool is_listener, struct net_endpoint *endpoint);
/* A number from 1 to 65535 or the name of a mail service ("smtp", "imaps", ...).
 * ERR_SYNTAX. */
int net_port_parse(struct span text, uint16_t *port);

#endif
