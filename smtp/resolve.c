#include "smtp/resolve.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "mail/address.h"

enum {
    HOST_ADDRESSES_MAX = 64, /* of one name */
    EXCHANGERS_MAX = 64,     /* names of one MX record set that are looked up */
    PORT_SMTP = 25,
};

struct look_up {
    const struct settings *s;
    struct exchangers *out;
    struct arena *arena;
    struct trouble *why;
    const char *name; /* the next hop's, in A-labels */
    uint16_t port;
    bool is_loop_checked;
};

/* A temporary failure of one question weighs more than that another has no answer. */
static void note_failure(struct look_up *l, const char *name, enum dns_type type,
                         const struct dns_answer *answer)
{
    const char *dsn = answer->status == DNS_TEMPORARY ? "4.4.3" : "5.4.4";

    if (trouble_is_set(l->why) && trouble_is_soft(l->why))
        return;
    if (answer->status == DNS_BAD_NAME)
        trouble_set(l->why, l->arena, dsn, "Name service error for %s: invalid host or domain name",
                    name);
    else
        trouble_set(l->why, l->arena, dsn,
                    "Host or domain name not found. Name service error for name=%s type=%s: %s",
                    name, dns_type_name(type),
                    answer->status == DNS_TEMPORARY ? "Host not found, try again" : answer->reason);
}

static int add_address(struct look_up *l, const char *host, unsigned preference,
                       struct net_address address)
{
    bool is_wanted = address.family == AF_INET6 ? l->s->has_ipv6 : l->s->has_ipv4;

    address.port = l->port;
    return is_wanted ? exchangers_add(l->out, host, preference, &address) : 0;
}

static int ask(struct look_up *l, const char *host, unsigned preference, enum dns_type type)
{
    struct dns_answer answer = {0};
    int rc = dns_query(l->s->resolver, host, type, 0, &answer, DEADLINE_NONE);

    if (rc == -ECANCELED) {
        dns_answer_fini(&answer);
        return rc;
    }
    if (answer.status != DNS_FOUND)
        note_failure(l, host, type, &answer);
    rc = 0;
    for (size_t i = 0; rc == 0 && answer.status == DNS_FOUND && i < answer.count; i++)
        if (i < HOST_ADDRESSES_MAX)
            rc = add_address(l, host, preference, answer.records[i].address);
    dns_answer_fini(&answer);
    return rc;
}

/* The addresses of a host. Without any, why says so; only errors are returned. */
static int look_up_host(struct look_up *l, const char *host, unsigned preference)
{
    struct net_address found[HOST_ADDRESSES_MAX];
    size_t before = l->out->list.len, count = 0;
    int rc = 0;

    if (net_address_parse(span_cstr(host), &found[0]) == 0)
        count = 1;
    else if (l->s->use_hosts)
        count = hosts_find(l->s->hosts, host, found, HOST_ADDRESSES_MAX);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = add_address(l, host, preference, found[i]);
    if (rc == 0 && count == 0 && l->s->has_ipv4)
        rc = ask(l, host, preference, DNS_A);
    if (rc == 0 && count == 0 && l->s->has_ipv6)
        rc = ask(l, host, preference, DNS_AAAA);
    if (rc == 0 && l->out->list.len == before && !trouble_is_set(l->why))
        trouble_set(l->why, l->arena, "5.4.4", "unable to look up host %s: %s", host,
                    "No address of a usable family");
    return rc;
}

/* --- MX --- */

static int compare_preference(const void *a, const void *b)
{
    const struct dns_record *x = a, *y = b;

    return (int)x->mx.preference - (int)y->mx.preference;
}

/* Enough, when the addresses of a better preference fill what will be tried. */
static bool is_enough(const struct look_up *l, unsigned preference)
{
    size_t n = l->out->list.len;

    return l->s->address_limit > 0 && n >= l->s->address_limit &&
           l->out->list.items[n - 1].preference < preference;
}

static int look_up_exchangers(struct look_up *l, struct dns_answer *mx)
{
    int rc = 0;

    qsort(mx->records, mx->count, sizeof(*mx->records), compare_preference);
    for (size_t i = 0; rc == 0 && i < mx->count && i < EXCHANGERS_MAX; i++) {
        const struct dns_record *r = &mx->records[i];

        if (is_enough(l, r->mx.preference))
            break;
        if (r->mx.host[0] != '\0')
            rc = look_up_host(l, r->mx.host, r->mx.preference);
    }
    if (rc == 0 && l->out->list.len == 0) {
        log_warn("no MX host for %s has a valid address record", l->name);
        if (l->s->defer_if_no_mx_address)
            trouble_soften(l->why);
    }
    return rc;
}

/* RFC 5321 5.1: what is not better than this host itself would send mail in circles. */
static void drop_own(struct look_up *l, unsigned best, bool *is_mx)
{
    unsigned first = l->out->list.len > 0 ? l->out->list.items[0].preference : best;

    if (!l->is_loop_checked || !exchangers_drop_own(l->out, l->s))
        return;
    *is_mx = true;
    if (l->out->list.len > 0)
        return;
    if (first != best) {
        trouble_set(l->why, l->arena, "4.4.4", "unable to find primary relay for %s", l->name);
    } else {
        trouble_set(l->why, l->arena, "5.4.6", "mail for %s loops back to myself", l->name);
        l->why->is_final = true;
    }
}

static bool is_null_mx(const struct dns_answer *mx)
{
    return mx->count == 1 && mx->records[0].mx.host[0] == '\0';
}

static int look_up_domain(struct look_up *l, bool *is_mx)
{
    struct dns_answer mx = {0};
    int rc = dns_query(l->s->resolver, l->name, DNS_MX, 0, &mx, DEADLINE_NONE);

    if (rc == -ECANCELED) {
        dns_answer_fini(&mx);
        return rc;
    }
    rc = 0;
    switch (mx.status) {
    case DNS_FOUND:
        if (is_null_mx(&mx)) {
            trouble_set(l->why, l->arena, "5.1.10", "Domain %s does not accept mail (nullMX)",
                        l->name);
            l->why->is_final = true;
            break;
        }
        rc = look_up_exchangers(l, &mx);
        if (rc == 0 && l->out->list.len > 0)
            drop_own(l, mx.records[0].mx.preference, is_mx);
        break;
    case DNS_NODATA:
        rc = look_up_host(l, l->name, 0);
        break;
    case DNS_NXDOMAIN:
        /* No name below DNS either (RFC 8020), but hosts(5) may have it. */
        note_failure(l, l->name, DNS_MX, &mx);
        if (l->s->use_hosts)
            rc = look_up_host(l, l->name, 0);
        break;
    case DNS_TEMPORARY:
    case DNS_BAD_NAME:
        note_failure(l, l->name, DNS_MX, &mx);
        if (l->s->ignore_mx_error)
            rc = look_up_host(l, l->name, 0);
        break;
    }
    dns_answer_fini(&mx);
    return rc;
}

static int look_up_literal(struct look_up *l)
{
    int rc = look_up_host(l, l->name, 0);

    if (rc == 0 && l->out->list.len > 0 && l->is_loop_checked &&
        exchangers_drop_own(l->out, l->s)) {
        trouble_set(l->why, l->arena, "5.4.6", "mail for %s loops back to myself", l->name);
        l->why->is_final = true;
    }
    return rc;
}

int resolve_nexthop(const struct settings *s, const struct nexthop *hop, struct exchangers *out,
                    struct arena *arena, struct trouble *why, bool *is_mx)
{
    struct look_up l = {.s = s, .out = out, .arena = arena, .why = why};
    struct str name = {0};
    bool am_mx = false;
    int rc;

    *why = (struct trouble){0};
    l.port = hop->port != 0 ? hop->port : s->port;
    l.is_loop_checked = l.port == PORT_SMTP;
    if (address_domain_to_ascii(&name, hop->name) < 0)
        str_set(&name, hop->name);
    l.name = str_cstr(&name);
    rc = s->use_mx && !hop->is_host ? look_up_domain(&l, &am_mx) : look_up_literal(&l);
    str_fini(&name);
    if (is_mx != NULL)
        *is_mx = am_mx;
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0)
        trouble_set(why, arena, "4.3.0", "%s", error_text(rc));
    if (out->list.len == 0 || rc < 0) {
        why->site = true;
        return rc < 0 ? rc : ERR_NOT_FOUND;
    }
    exchangers_arrange(out, s->preference, s->randomize);
    if (s->balance && s->address_limit > 0)
        exchangers_balance(out, s->address_limit);
    *why = (struct trouble){0};
    return 0;
}
