/* Addresses and networks. Endpoints: endpoint.c. */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/error.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static size_t octet_count(const struct net_address *a)
{
    return a->family == AF_INET ? 4 : a->family == AF_INET6 ? 16 : 0;
}

static void normalize(struct net_address *a)
{
    if (a->family != AF_INET6 || memcmp(a->octets, mapped_prefix, sizeof(mapped_prefix)) != 0)
        return;
    a->family = AF_INET;
    memmove(a->octets, a->octets + 12, 4);
    memset(a->octets + 4, 0, 12);
}

/* One family, the whole span, strictly. */
static int parse_family(struct span text, sa_family_t family, struct net_address *address)
{
    char copy[INET6_ADDRSTRLEN];

    *address = (struct net_address){0};
    if (text.n == 0 || text.n >= sizeof(copy) || span_find(text, '\0') >= 0)
        return ERR_SYNTAX;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(family, copy, address->octets) != 1)
        return ERR_SYNTAX;
    address->family = family;
    return 0;
}

static struct span without_brackets(struct span text)
{
    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        return span_make(text.p + 1, text.n - 2);
    return text;
}

static int parse_any(struct span text, struct net_address *address)
{
    if (span_find(text, ':') >= 0)
        return parse_family(text, AF_INET6, address);
    return parse_family(text, AF_INET, address);
}

int net_address_parse(struct span text, struct net_address *address)
{
    int rc = parse_any(without_brackets(text), address);

    normalize(address);
    return rc;
}

int net_address_parse_port(struct span text, struct net_address *address)
{
    ptrdiff_t colon = span_rfind(text, ':');
    struct span host;
    uint32_t port;

    *address = (struct net_address){0};
    if (colon < 0 || span_to_u32(span_drop(text, (size_t)colon + 1), &port) < 0 || port > 65535)
        return ERR_SYNTAX;
    host = span_take(text, (size_t)colon);
    /* IPv6 needs its brackets here: "::1:25" would be an address. */
    if (span_find(host, ':') >= 0 && without_brackets(host).n == host.n)
        return ERR_SYNTAX;
    if (net_address_parse(host, address) < 0)
        return ERR_SYNTAX;
    address->port = (uint16_t)port;
    return 0;
}

int net_address_print(struct str *out, const struct net_address *a)
{
    char text[INET6_ADDRSTRLEN];

    if (octet_count(a) == 0 || inet_ntop(a->family, a->octets, text, sizeof(text)) == NULL)
        return str_append_cstr(out, "unknown");
    return str_append_cstr(out, text);
}

int net_address_print_port(struct str *out, const struct net_address *a)
{
    if (a->family == AF_INET6)
        str_append_char(out, '[');
    net_address_print(out, a);
    if (a->family == AF_INET6)
        str_append_char(out, ']');
    str_append_char(out, ':');
    return str_append_u64(out, a->port);
}

int net_address_print_reverse(struct str *out, const struct net_address *a)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = octet_count(a); i > 0; i--) {
        uint8_t octet = a->octets[i - 1];

        if (a->family == AF_INET) {
            str_append_u64(out, octet);
        } else {
            str_append_char(out, hex[octet & 15]);
            str_append_char(out, '.');
            str_append_char(out, hex[octet >> 4]);
        }
        str_append_char(out, '.');
    }
    return str_append_cstr(out, a->family == AF_INET ? "in-addr.arpa" : "ip6.arpa");
}

bool net_address_eq(const struct net_address *a, const struct net_address *b)
{
    return a->family == b->family && a->scope == b->scope &&
           memcmp(a->octets, b->octets, octet_count(a)) == 0;
}

int net_address_cmp(const struct net_address *a, const struct net_address *b)
{
    int order;

    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    order = memcmp(a->octets, b->octets, octet_count(a));
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a->port > b->port) - (a->port < b->port);
}

int net_address_from_sockaddr(const struct sockaddr *from, struct net_address *a)
{
    *a = (struct net_address){0};
    if (from->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, from, sizeof(in));
        a->family = AF_INET;
        a->port = ntohs(in.sin_port);
        memcpy(a->octets, &in.sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 in;

        memcpy(&in, from, sizeof(in));
        a->family = AF_INET6;
        a->port = ntohs(in.sin6_port);
        a->scope = in.sin6_scope_id;
        memcpy(a->octets, &in.sin6_addr, 16);
        normalize(a);
    } else {
        return ERR_NOT_SUPPORTED;
    }
    return 0;
}

socklen_t net_address_to_sockaddr(const struct net_address *a, struct sockaddr_storage *to)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};

    memset(to, 0, sizeof(*to));
    if (a->family == AF_INET) {
        memcpy(&in.sin_addr, a->octets, 4);
        memcpy(to, &in, sizeof(in));
        return sizeof(in);
    }
    if (a->family == AF_INET6) {
        memcpy(&in6.sin6_addr, a->octets, 16);
        memcpy(to, &in6, sizeof(in6));
        return sizeof(in6);
    }
    return 0;
}

/* --- networks --- */

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool is_zero_behind(const uint8_t *octets, unsigned bits, unsigned all)
{
    for (unsigned i = bits; i < all; i++) {
        if (octets[i / 8] & (0x80 >> (i % 8)))
            return false;
    }
    return true;
}

int net_prefix_parse(struct span text, struct net_prefix *prefix)
{
    ptrdiff_t slash = span_rfind(text, '/');
    struct span host = slash < 0 ? text : span_take(text, (size_t)slash);
    unsigned all;
    uint32_t bits;

    /* No mapped form here: a prefix shorter than 96 would change its meaning. */
    if (parse_any(without_brackets(host), &prefix->address) < 0)
        return ERR_SYNTAX;
    all = (unsigned)octet_count(&prefix->address) * 8;
    bits = all;
    if (slash >= 0 && (span_to_u32(span_drop(text, (size_t)slash + 1), &bits) < 0 || bits > all))
        return ERR_SYNTAX;
    if (!is_zero_behind(prefix->address.octets, bits, all))
        return ERR_SYNTAX;
    prefix->bits = bits;
    if (prefix->address.family == AF_INET6 && bits >= 96) {
        normalize(&prefix->address);
        if (prefix->address.family == AF_INET)
            prefix->bits = bits - 96;
    }
    return 0;
}

bool net_prefix_match(const struct net_prefix *prefix, const struct net_address *address)
{
    return prefix->address.family == address->family && address->family != AF_UNSPEC &&
           bits_equal(prefix->address.octets, address->octets, prefix->bits);
}
