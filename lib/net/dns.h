/*
 * dns.h: questions to the domain name system, behind an interface: c-ares in
 * production, a table in tests. Answers are parsed here and nowhere else
 * (dns_parse, pure and bounded).
 */
#ifndef NET_DNS_H
#define NET_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/span.h"
#include "net/address.h"
#include "task/task.h"

enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52,
};

enum dns_status {
    DNS_FOUND,
    DNS_NXDOMAIN,  /* the name does not exist */
    DNS_NODATA,    /* it exists, without this type */
    DNS_TEMPORARY, /* SERVFAIL, REFUSED, timeout, broken answer: try again later */
    DNS_BAD_NAME,  /* not a name one can ask for */
};

struct dns_record {
    enum dns_type type;
    uint32_t ttl;
    union {
        struct net_address address; /* A, AAAA */
        struct {
            uint16_t preference;
            const char *host; /* "" for null MX (RFC 7505) */
        } mx;
        const char *host; /* PTR, CNAME */
        struct span text; /* TXT: the strings joined */
        struct {
            uint8_t usage, selector, matching;
            struct span data;
        } tlsa; /* RFC 6698 2.1 */
    };
};

/* Names are without the final dot; octets other than letters, digits, "-" and "_"
 * are written \DDD (RFC 4343 2.1), so that no name holds blanks or controls. */
struct dns_answer {
    enum dns_status status;
    bool is_secure;             /* AD: the resolver validated it (RFC 4035 3.2.3) */
    uint32_t ttl;               /* how long the answer holds, negative ones too (RFC 2308) */
    const char *canonical;      /* the name behind the CNAMEs; the question's without any */
    const char *reason;         /* for the log: "Host not found", ... ; constant or in arena */
    struct dns_record *records; /* only of the type asked for */
    size_t count;
    struct arena arena;
};

/* Frees what an answer holds; a zeroed one is valid. */
void dns_answer_fini(struct dns_answer *answer);

struct resolver;

enum dns_flags {
    DNS_SECURE = 1, /* ask for validation (AD and DO) */
};

/* Ask. Fills *answer in every case (finish it): 0 when records were found,
 * ERR_NOT_FOUND (status NXDOMAIN or NODATA), ERR_TEMPORARY, ERR_SYNTAX (BAD_NAME),
 * -ETIMEDOUT (status TEMPORARY), -ECANCELED. */
TASK_WAITS int dns_query(struct resolver *resolver, const char *name, enum dns_type type,
                         unsigned flags, struct dns_answer *answer, deadline_t deadline);
void resolver_free(struct resolver *resolver);

/* --- c-ares --- */

struct resolver_options {
    const char *servers; /* "192.0.2.53, [2001:db8::53]:5353"; NULL or "": resolv.conf */
    int timeout_ms;      /* of the first try; 0: 2000 */
    int tries;           /* of each server; 0: 3 */
};

/* Before the sandbox (reads resolv.conf); asks only inside tasks. A message and a
 * negative code when the servers are wrong. */
int resolver_new(struct resolver **out, const struct resolver_options *options, struct str *why);

/* --- a table, for tests --- */

/* Lines of "NAME TYPE VALUE": "example.test MX 10 mx.example.test",
 * "a.test A 192.0.2.1", "c.test CNAME d.test", "t.test TXT text",
 * "_25._tcp.a.test TLSA 3 1 1 HEX"; "x.test * SERVFAIL|TIMEOUT" for failures and
 * "secure.test * AD" to set the AD bit. Names that stand nowhere are NXDOMAIN. */
int resolver_new_fake(struct resolver **out, const char *table);

/* --- hosts(5) --- */

/* A hosts(5) file that was read before the sandbox. */
struct hosts;
/* A missing file is an empty table. -ENOMEM. */
int hosts_read(struct hosts **out, const char *path);
void hosts_free(struct hosts *h);
/* The addresses of a name: at most max; returns their number. */
size_t hosts_find(const struct hosts *h, const char *name, struct net_address *found, size_t max);
/* The first name of an address, or NULL. */
const char *hosts_find_name(const struct hosts *h, const struct net_address *address);

/* --- parsing (pure) --- */

/* Parse a raw answer to (name, type): status, records behind the CNAME chain, TTLs.
 * ERR_PROTOCOL when it does not parse or answers another question. */
int dns_parse(struct span packet, const char *name, enum dns_type type, struct dns_answer *answer);
/* Append a query in wire format. flags: enum dns_flags; edns_size 0: without EDNS.
 * ERR_SYNTAX when name is not a domain name. */
int dns_build_query(struct str *out, uint16_t id, const char *name, enum dns_type type,
                    unsigned flags, uint16_t edns_size);
/* Letters, digits and hyphens in labels of 1 to 63, 255 in all: a name one connects
 * to or shows (RFC 5321 2.3.5). */
bool dns_is_hostname(struct span name);
const char *dns_type_name(enum dns_type type);

#endif
