/* A resolver that answers from a table: for tests. It makes wire answers and has
 * them parsed, so that tests run the parser as well. */
#include <errno.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/error.h"
#include "net/resolver.h"

enum { FAKE_TTL = 300, CHAIN_MAX = 16 };

struct fake_resolver {
    struct resolver base;
    char *table;
};

struct row {
    struct span name, type, value;
};

static bool next_row(struct span *rest, struct row *row)
{
    struct span line;

    while (span_next(rest, '\n', &line)) {
        if (span_token(&line, " \t", &row->name) && span_token(&line, " \t", &row->type)) {
            row->value = span_trim(line);
            return true;
        }
    }
    return false;
}

static void put16(struct str *out, unsigned value)
{
    str_append_char(out, (char)(value >> 8));
    str_append_char(out, (char)value);
}

/* The wire form of a name, cut out of a question for it. */
static void put_name(struct str *out, struct span name)
{
    struct str question = {0}, text = {0};

    str_append(&text, name);
    if (dns_build_query(&question, 0, str_cstr(&text), DNS_A, 0, 0) == 0)
        str_append(out, span_make(question.data + 12, question.len - 16));
    str_fini(&question);
    str_fini(&text);
}

static void put_data(struct str *out, struct span type, struct span value)
{
    struct net_address address;
    struct span word;
    uint32_t number;

    if (span_ieq(type, SPAN_LIT("A")) || span_ieq(type, SPAN_LIT("AAAA"))) {
        if (net_address_parse(value, &address) == 0)
            str_append(out, span_make(address.octets, address.family == AF_INET ? 4 : 16));
    } else if (span_ieq(type, SPAN_LIT("MX"))) {
        if (span_token(&value, " \t", &word) && span_to_u32(word, &number) == 0)
            put16(out, number);
        put_name(out, span_trim(value));
    } else if (span_ieq(type, SPAN_LIT("TXT"))) {
        for (; value.n > 0; value = span_drop(value, 255)) {
            struct span piece = span_take(value, 255);

            str_append_char(out, (char)piece.n);
            str_append(out, piece);
        }
    } else if (span_ieq(type, SPAN_LIT("TLSA"))) {
        for (int i = 0; i < 3; i++) {
            if (span_token(&value, " \t", &word) && span_to_u32(word, &number) == 0)
                str_append_char(out, (char)number);
        }
        hex_decode(out, span_trim(value));
    } else {
        put_name(out, value);
    }
}

static void put_record(struct str *out, const struct row *row, enum dns_type type)
{
    struct str data = {0};

    put_data(&data, row->type, row->value);
    put_name(out, row->name);
    put16(out, type);
    put16(out, 1);
    put16(out, 0);
    put16(out, FAKE_TTL);
    put16(out, (unsigned)data.len);
    str_append(out, str_span(&data));
    str_fini(&data);
}

struct reply {
    struct str records;
    unsigned count;
    bool is_known, is_secure, is_broken, is_silent;
};

static void scan_rows(const struct fake_resolver *f, struct span name, enum dns_type type,
                      struct reply *reply, struct span *alias)
{
    struct span rest = span_cstr(f->table);
    struct row row;

    while (next_row(&rest, &row)) {
        if (!span_ieq(row.name, name))
            continue;
        reply->is_known = true;
        if (span_eq(row.type, SPAN_LIT("*"))) {
            reply->is_secure |= span_eq(row.value, SPAN_LIT("AD"));
            reply->is_broken |= span_eq(row.value, SPAN_LIT("SERVFAIL"));
            reply->is_silent |= span_eq(row.value, SPAN_LIT("TIMEOUT"));
        } else if (span_ieq(row.type, span_cstr(dns_type_name(type)))) {
            put_record(&reply->records, &row, type);
            reply->count++;
        } else if (span_ieq(row.type, SPAN_LIT("CNAME"))) {
            put_record(&reply->records, &row, DNS_CNAME);
            reply->count++;
            *alias = row.value;
        }
    }
}

static int parse_reply(const struct reply *reply, const char *name, enum dns_type type,
                       struct dns_answer *answer)
{
    struct str packet = {0};
    int rc = dns_build_query(&packet, 0, name, type, 0, 0);

    if (rc == 0)
        rc = str_append(&packet, str_span(&reply->records));
    if (rc == 0) {
        packet.data[2] |= (char)0x80;
        packet.data[3] = (char)((reply->is_secure ? 0x20 : 0) | (reply->is_broken ? 2 : 0) |
                                (reply->is_known || reply->is_broken ? 0 : 3));
        packet.data[6] = (char)(reply->count >> 8);
        packet.data[7] = (char)reply->count;
        rc = dns_parse(str_span(&packet), name, type, answer);
    }
    str_fini(&packet);
    return rc < 0 ? rc : dns_status_code(answer->status);
}

static int fake_query(struct resolver *base, const char *name, enum dns_type type, unsigned flags,
                      struct dns_answer *answer, deadline_t deadline)
{
    struct span at = span_cstr(name);
    struct reply reply = {0};
    int rc;

    if (at.n > 0 && at.p[at.n - 1] == '.')
        at.n--;
    for (int hops = 0; hops < CHAIN_MAX && at.n > 0; hops++) {
        struct span alias = SPAN_NONE;

        scan_rows((struct fake_resolver *)base, at, type, &reply, &alias);
        at = alias;
    }
    if (reply.is_silent)
        rc = dns_answer_fail(answer, DNS_TEMPORARY, "timeout");
    else
        rc = parse_reply(&reply, name, type, answer);
    str_fini(&reply.records);
    return rc;
}

static void fake_free(struct resolver *base)
{
    struct fake_resolver *f = (struct fake_resolver *)base;

    free(f->table);
    free(f);
}

int resolver_new_fake(struct resolver **out, const char *table)
{
    static const struct resolver_ops ops = {fake_query, fake_free};
    struct fake_resolver *f = NEW(struct fake_resolver);

    *out = NULL;
    if (f == NULL)
        return -ENOMEM;
    f->base.ops = &ops;
    f->table = mem_strdup(span_cstr(table));
    if (f->table == NULL) {
        free(f);
        return -ENOMEM;
    }
    *out = &f->base;
    return 0;
}
