/*
 * DNS messages (RFC 1035 4): building questions and parsing answers. Pure; every
 * loop is bounded by the packet's size or by a constant.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/dns.h"

enum {
    HEADER = 12,
    NAME_OCTETS = 255,
    NAME_TEXT = 1024, /* every octet as \DDD, and dots */
    POINTERS_MAX = 64,
    CHAIN_MAX = 16,     /* CNAMEs that are followed */
    RECORDS_MAX = 4096, /* 64 KiB hold no more */
    TYPE_SOA = 6,
    TYPE_OPT = 41,
    CLASS_IN = 1,
    FLAG_QR = 0x8000,
    FLAG_AD = 0x0020,
    FLAG_RD = 0x0100,
};

/* --- names --- */

static uint16_t get16(const char *p)
{
    return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static uint32_t get32(const char *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static bool is_plain(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_' || c == '/';
}

static void print_label(char *text, size_t *at, const char *label, size_t n)
{
    if (*at > 0)
        text[(*at)++] = '.';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)label[i];

        if (is_plain(label[i])) {
            text[(*at)++] = label[i];
            continue;
        }
        text[(*at)++] = '\\';
        text[(*at)++] = (char)('0' + c / 100);
        text[(*at)++] = (char)('0' + c / 10 % 10);
        text[(*at)++] = (char)('0' + c % 10);
    }
}

/* A name at *at as text (NAME_TEXT octets); *at moves behind it. Compression
 * pointers must point backwards. */
static int take_name(struct span packet, size_t *at, char *text)
{
    size_t from = *at, length = 0, used = 0, end = 0;

    for (int pointers = 0; pointers <= POINTERS_MAX;) {
        unsigned char n;

        if (from >= packet.n)
            return ERR_PROTOCOL;
        n = (unsigned char)packet.p[from];
        if (n >= 0xc0) {
            size_t to;

            if (from + 2 > packet.n)
                return ERR_PROTOCOL;
            to = get16(packet.p + from) & 0x3fff;
            if (end == 0)
                end = from + 2;
            if (to >= from)
                return ERR_PROTOCOL;
            from = to;
            pointers++;
            continue;
        }
        length += n + 1u;
        if (n > 63 || length > NAME_OCTETS || from + 1 + n > packet.n)
            return ERR_PROTOCOL;
        if (n == 0) {
            text[used] = '\0';
            *at = end != 0 ? end : from + 1;
            return 0;
        }
        print_label(text, &used, packet.p + from + 1, n);
        from += n + 1u;
    }
    return ERR_PROTOCOL;
}

/* One octet of a name's text: itself or \DDD. */
static int take_octet(struct span *text, char *c)
{
    unsigned value;

    if (text->p[0] != '\\') {
        *c = text->p[0];
        *text = span_drop(*text, 1);
        return 0;
    }
    if (text->n < 4 || !ascii_is_digit(text->p[1]) || !ascii_is_digit(text->p[2]) ||
        !ascii_is_digit(text->p[3]))
        return ERR_SYNTAX;
    value = (unsigned)(text->p[1] - '0') * 100 + (unsigned)(text->p[2] - '0') * 10 +
            (unsigned)(text->p[3] - '0');
    if (value > 255)
        return ERR_SYNTAX;
    *c = (char)value;
    *text = span_drop(*text, 4);
    return 0;
}

static int put_label(struct str *out, struct span label)
{
    char octets[63];
    size_t n = 0;

    while (label.n > 0) {
        if (n == sizeof(octets) || take_octet(&label, &octets[n]) < 0)
            return ERR_SYNTAX;
        n++;
    }
    if (n == 0)
        return ERR_SYNTAX;
    str_append_char(out, (char)n);
    return str_append(out, span_make(octets, n));
}

static int put_name(struct str *out, struct span name)
{
    struct span label;
    size_t before = out->len;

    if (name.n > NAME_TEXT)
        return ERR_SYNTAX;
    if (span_eq(name, SPAN_LIT("."))) /* the root */
        return str_append_char(out, '\0');
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    while (name.n > 0 && span_next(&name, '.', &label)) {
        if (put_label(out, label) < 0)
            return ERR_SYNTAX;
    }
    if (out->len == before)
        return ERR_SYNTAX;
    str_append_char(out, '\0');
    return out->len - before > NAME_OCTETS ? ERR_SYNTAX : str_error(out);
}

bool dns_is_hostname(struct span name)
{
    struct span label;

    if (name.n == 0 || name.n > 253)
        return false;
    while (span_next(&name, '.', &label)) {
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++) {
            char c = label.p[i];

            if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_')
                return false;
        }
    }
    return true;
}

/* --- questions --- */

static void put16(struct str *out, unsigned value)
{
    str_append_char(out, (char)(value >> 8));
    str_append_char(out, (char)value);
}

int dns_build_query(struct str *out, uint16_t id, const char *name, enum dns_type type,
                    unsigned flags, uint16_t edns_size)
{
    bool is_secure = (flags & DNS_SECURE) != 0;

    put16(out, id);
    put16(out, FLAG_RD | (is_secure ? FLAG_AD : 0));
    put16(out, 1);
    put16(out, 0);
    put16(out, 0);
    put16(out, edns_size > 0 ? 1 : 0);
    if (put_name(out, span_cstr(name)) < 0)
        return str_error(out) < 0 ? str_error(out) : ERR_SYNTAX;
    put16(out, type);
    put16(out, CLASS_IN);
    if (edns_size > 0) {
        /* OPT (RFC 6891 6.1.2): root, type, size, version and DO, no options. */
        str_append_char(out, '\0');
        put16(out, TYPE_OPT);
        put16(out, edns_size);
        put16(out, 0);
        put16(out, is_secure ? 0x8000 : 0);
        put16(out, 0);
    }
    return str_error(out);
}

/* --- answers --- */

struct raw_record {
    uint16_t type, class;
    uint32_t ttl;
    size_t data, n; /* position and length in the packet */
};

static int take_record(struct span packet, size_t *at, char *name, struct raw_record *r)
{
    if (take_name(packet, at, name) < 0 || *at + 10 > packet.n)
        return ERR_PROTOCOL;
    r->type = get16(packet.p + *at);
    r->class = get16(packet.p + *at + 2);
    r->ttl = get32(packet.p + *at + 4);
    if (r->ttl > INT32_MAX) /* RFC 2181 8 */
        r->ttl = 0;
    r->n = get16(packet.p + *at + 8);
    r->data = *at + 10;
    *at = r->data + r->n;
    return *at > packet.n ? ERR_PROTOCOL : 0;
}

/* A name inside of a record's data, which must end with it. */
static int parse_host(struct arena *arena, struct span packet, const struct raw_record *r,
                      size_t skip, const char **host)
{
    char text[NAME_TEXT];
    size_t at = r->data + skip;

    if (r->n <= skip || take_name(packet, &at, text) < 0 || at != r->data + r->n)
        return ERR_PROTOCOL;
    *host = arena_strdup(arena, span_cstr(text));
    return *host == NULL ? -ENOMEM : 0;
}

static int parse_text(struct arena *arena, struct span data, struct span *text)
{
    char *to = arena_alloc(arena, data.n + 1);
    size_t used = 0;

    if (to == NULL)
        return -ENOMEM;
    while (data.n > 0) {
        size_t n = (unsigned char)data.p[0];

        if (n + 1 > data.n)
            return ERR_PROTOCOL;
        memcpy(to + used, data.p + 1, n);
        used += n;
        data = span_drop(data, n + 1);
    }
    *text = span_make(to, used);
    return 0;
}

static int parse_address(struct span data, sa_family_t family, struct net_address *address)
{
    size_t n = family == AF_INET ? 4 : 16;

    if (data.n != n)
        return ERR_PROTOCOL;
    address->family = family;
    memcpy(address->octets, data.p, n);
    return 0;
}

static int parse_data(struct arena *arena, struct span packet, const struct raw_record *r,
                      struct dns_record *record)
{
    struct span data = span_make(packet.p + r->data, r->n);

    record->type = (enum dns_type)r->type;
    record->ttl = r->ttl;
    switch (record->type) {
    case DNS_A:
        return parse_address(data, AF_INET, &record->address);
    case DNS_AAAA:
        return parse_address(data, AF_INET6, &record->address);
    case DNS_MX:
        if (data.n < 3)
            return ERR_PROTOCOL;
        record->mx.preference = get16(data.p);
        return parse_host(arena, packet, r, 2, &record->mx.host);
    case DNS_PTR:
    case DNS_CNAME:
        return parse_host(arena, packet, r, 0, &record->host);
    case DNS_TXT:
        return parse_text(arena, data, &record->text);
    case DNS_TLSA:
        if (data.n < 3)
            return ERR_PROTOCOL;
        record->tlsa.usage = (uint8_t)data.p[0];
        record->tlsa.selector = (uint8_t)data.p[1];
        record->tlsa.matching = (uint8_t)data.p[2];
        return arena_copy(arena, span_drop(data, 3), &record->tlsa.data);
    }
    return ERR_PROTOCOL;
}

struct parser {
    struct span packet;
    size_t at, answers_at;
    unsigned answers, authorities;
    enum dns_type type;
    struct dns_answer *answer;
};

/* The header and the question, which must be ours. */
static int parse_question(struct parser *p, const char *name)
{
    char asked[NAME_TEXT], wanted[NAME_TEXT];
    struct str wire = {0};
    uint16_t flags;
    size_t at = 0;
    int rc;

    if (p->packet.n < HEADER || get16(p->packet.p + 4) != 1)
        return ERR_PROTOCOL;
    flags = get16(p->packet.p + 2);
    if (!(flags & FLAG_QR))
        return ERR_PROTOCOL;
    p->answer->is_secure = (flags & FLAG_AD) != 0;
    p->answers = get16(p->packet.p + 6);
    p->authorities = get16(p->packet.p + 8);
    p->at = HEADER;
    if (take_name(p->packet, &p->at, asked) < 0 || p->at + 4 > p->packet.n)
        return ERR_PROTOCOL;
    if (get16(p->packet.p + p->at) != p->type || get16(p->packet.p + p->at + 2) != CLASS_IN)
        return ERR_PROTOCOL;
    p->at += 4;
    p->answers_at = p->at;
    /* The same name whatever way it is written. */
    rc = put_name(&wire, span_cstr(name));
    if (rc == 0)
        rc = take_name(str_span(&wire), &at, wanted);
    str_fini(&wire);
    if (rc == 0 && !span_ieq(span_cstr(asked), span_cstr(wanted)))
        rc = ERR_PROTOCOL;
    if (rc == 0) {
        p->answer->canonical = arena_strdup(&p->answer->arena, span_cstr(asked));
        rc = p->answer->canonical == NULL ? -ENOMEM : 0;
    }
    return rc;
}

/* Follow the CNAMEs that stand in the answer, in any order. */
static int follow_aliases(struct parser *p)
{
    for (int hops = 0; hops < CHAIN_MAX; hops++) {
        size_t at = p->answers_at;
        const char *next = NULL;

        for (unsigned i = 0; i < p->answers && i < RECORDS_MAX && next == NULL; i++) {
            char name[NAME_TEXT];
            struct raw_record r;
            int rc = take_record(p->packet, &at, name, &r);

            if (rc < 0)
                return rc;
            if (r.type != DNS_CNAME || r.class != CLASS_IN ||
                !span_ieq(span_cstr(name), span_cstr(p->answer->canonical)))
                continue;
            rc = parse_host(&p->answer->arena, p->packet, &r, 0, &next);
            if (rc < 0)
                return rc;
            if (r.ttl < p->answer->ttl)
                p->answer->ttl = r.ttl;
        }
        if (next == NULL)
            return 0;
        p->answer->canonical = next;
    }
    return ERR_PROTOCOL;
}

static int collect_records(struct parser *p)
{
    struct dns_answer *a = p->answer;
    unsigned count = p->answers < RECORDS_MAX ? p->answers : RECORDS_MAX;

    p->at = p->answers_at;
    if ((size_t)count * 11 > p->packet.n) /* the least a record takes */
        return ERR_PROTOCOL;
    a->records = ARENA_NEW_N(&a->arena, struct dns_record, count + 1);
    if (a->records == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        char name[NAME_TEXT];
        struct raw_record r;
        int rc = take_record(p->packet, &p->at, name, &r);

        if (rc < 0)
            return rc;
        if (r.type != p->type || r.class != CLASS_IN ||
            !span_ieq(span_cstr(name), span_cstr(a->canonical)))
            continue;
        rc = parse_data(&a->arena, p->packet, &r, &a->records[a->count]);
        if (rc < 0)
            return rc;
        a->count++;
        if (r.ttl < a->ttl)
            a->ttl = r.ttl;
    }
    return 0;
}

/* The SOA record of a negative answer says how long it holds (RFC 2308 5). */
static void negative_ttl(struct parser *p)
{
    uint32_t ttl = 0;

    for (unsigned i = 0; i < p->authorities && i < RECORDS_MAX; i++) {
        char name[NAME_TEXT];
        struct raw_record r;

        if (take_record(p->packet, &p->at, name, &r) < 0)
            break;
        if (r.type == TYPE_SOA && r.n >= 22) {
            uint32_t minimum = get32(p->packet.p + r.data + r.n - 4);

            ttl = r.ttl < minimum ? r.ttl : minimum;
            break;
        }
    }
    p->answer->ttl = ttl;
}

int dns_parse(struct span packet, const char *name, enum dns_type type, struct dns_answer *answer)
{
    struct parser p = {.packet = packet, .type = type, .answer = answer};
    unsigned rcode;
    int rc;

    *answer = (struct dns_answer){.status = DNS_TEMPORARY, .ttl = UINT32_MAX};
    answer->reason = "malformed name server reply";
    rc = parse_question(&p, name);
    if (rc < 0)
        return rc;
    rcode = (unsigned char)packet.p[3] & 15;
    if (rcode != 0 && rcode != 3) {
        answer->reason = rcode == 2   ? "Name server failure"
                         : rcode == 5 ? "Name server refused the query"
                                      : "Name server error";
        answer->ttl = 0;
        return 0;
    }
    /* An alias that is the question itself is not followed. */
    rc = type == DNS_CNAME ? 0 : follow_aliases(&p);
    if (rc == 0)
        rc = collect_records(&p);
    if (rc < 0) {
        answer->count = 0;
        return rc;
    }
    if (answer->count > 0) {
        answer->status = DNS_FOUND;
        answer->reason = "";
    } else {
        answer->status = rcode == 3 ? DNS_NXDOMAIN : DNS_NODATA;
        answer->reason =
            rcode == 3 ? "Host not found" : "Host found but no data record of requested type";
        negative_ttl(&p);
    }
    return 0;
}

void dns_answer_fini(struct dns_answer *answer)
{
    arena_reset(&answer->arena);
    *answer = (struct dns_answer){0};
}

const char *dns_type_name(enum dns_type type)
{
    switch (type) {
    case DNS_A:
        return "A";
    case DNS_CNAME:
        return "CNAME";
    case DNS_PTR:
        return "PTR";
    case DNS_MX:
        return "MX";
    case DNS_TXT:
        return "TXT";
    case DNS_AAAA:
        return "AAAA";
    case DNS_TLSA:
        return "TLSA";
    }
    return "unknown";
}
