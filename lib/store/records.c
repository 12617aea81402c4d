#include "store/records.h"

#include "base/error.h"
#include "store/octets.h"

void record_pair(struct span list, size_t i, uint32_t *first, uint32_t *second)
{
    *first = (uint32_t)octets_get(list.p + 8 * i, 4);
    *second = (uint32_t)octets_get(list.p + 8 * i + 4, 4);
}

int record_append_pair(struct str *list, uint32_t first, uint32_t second)
{
    unsigned char octets[8];

    octets_put(octets, first, 4);
    octets_put(octets + 4, second, 4);
    return str_append(list, span_make(octets, sizeof(octets)));
}

/* --- encoding --- */

static void encode_hot(const struct record *r, struct str *head)
{
    const struct record_hot *h = &r->hot;
    unsigned char p[RECORD_HOT_SIZE];

    octets_put(p, h->flags, 2);
    octets_put(p + 2, (uint16_t)h->zone, 2);
    octets_put(p + 4, h->bare, 4);
    octets_put(p + 8, h->keywords, 8);
    octets_put(p + 16, (uint64_t)h->date, 8);
    octets_put(p + 24, h->size, 8);
    memcpy(p + 32, h->guid, GUID_SIZE);
    octets_put(p + 48, h->delivery, 8);
    octets_put(p + 56, r->envelope.n, 4);
    octets_put(p + 60, r->bodystructure.n, 4);
    str_append(head, span_make(p, sizeof(p)));
    str_append(head, r->envelope);
    str_append(head, r->bodystructure);
}

static void encode_named(const struct record *r, struct str *head)
{
    octets_append(head, r->op, 1);
    octets_append(head, 0, 3);
    octets_append(head, r->value, 4);
    octets_append(head, r->name.n, 2);
    octets_append(head, r->other.n, 2);
    str_append(head, r->name);
    str_append(head, r->other);
}

int record_encode(const struct record *r, struct str *head)
{
    octets_append(head, RECORD_VERSION, 2);
    octets_append(head, r->flags, 2);
    octets_append(head, r->mailbox, 4);
    octets_append(head, r->flags & RECORD_TOTALS ? r->bytes : 0, 8);
    octets_append(head, r->flags & RECORD_TOTALS ? r->messages : 0, 8);
    switch (r->kind) {
    case RECORD_DELIVER:
        encode_hot(r, head);
        break;
    case RECORD_MOVED:
        encode_hot(r, head);
        str_append(head, r->owners);
        break;
    case RECORD_FLAGS:
        octets_append(head, r->op, 1);
        octets_append(head, 0, 1);
        octets_append(head, r->message_flags, 2);
        octets_append(head, 0, 4);
        octets_append(head, r->keywords, 8);
        str_append(head, r->uids);
        break;
    case RECORD_EXPUNGE:
        str_append(head, r->uids);
        break;
    case RECORD_COPY:
        octets_append(head, r->to, 4);
        octets_append(head, 0, 4);
        str_append(head, r->uids);
        break;
    case RECORD_MAILBOX:
    case RECORD_KEYWORD:
        encode_named(r, head);
        break;
    default:
        return ERR_VERSION;
    }
    return str_error(head);
}

bool record_totals(uint16_t kind, const void *head, uint64_t *bytes, uint64_t *messages)
{
    const char *p = head;

    if (kind < JOURNAL_KIND_USER || kind >= RECORD_KINDS_END || octets_get(p, 2) > RECORD_VERSION ||
        !(octets_get(p + 2, 2) & RECORD_TOTALS))
        return false;
    *bytes = octets_get(p + 8, 8);
    *messages = octets_get(p + 16, 8);
    return true;
}

/* --- decoding --- */

static int decode_hot(struct span *in, struct record *r)
{
    struct record_hot *h = &r->hot;
    const char *p = in->p;

    if (in->n < RECORD_HOT_SIZE)
        return ERR_CORRUPT;
    h->flags = (uint16_t)octets_get(p, 2);
    h->zone = (int16_t)octets_get(p + 2, 2);
    h->bare = (uint32_t)octets_get(p + 4, 4);
    h->keywords = octets_get(p + 8, 8);
    h->date = (int64_t)octets_get(p + 16, 8);
    h->size = octets_get(p + 24, 8);
    memcpy(h->guid, p + 32, GUID_SIZE);
    h->delivery = octets_get(p + 48, 8);
    *in = span_drop(*in, RECORD_HOT_SIZE);
    if (!octets_take_span(in, octets_get(p + 56, 4), &r->envelope) ||
        !octets_take_span(in, octets_get(p + 60, 4), &r->bodystructure))
        return ERR_CORRUPT;
    return 0;
}

/* Ascending pairs, at least one; UIDs are not 0. */
static int decode_uids(struct span in, struct record *r)
{
    uint32_t before = 0, first, last;

    if (in.n == 0 || in.n % 8 != 0)
        return ERR_CORRUPT;
    for (size_t i = 0; i < record_pairs(in); i++) {
        record_pair(in, i, &first, &last);
        if (first <= before || last < first)
            return ERR_CORRUPT;
        before = last;
    }
    r->uids = in;
    return 0;
}

static int decode_owners(struct span in, struct record *r)
{
    if (in.n == 0 || in.n % 8 != 0)
        return ERR_CORRUPT;
    r->owners = in;
    return 0;
}

static int decode_flags(struct span in, struct record *r)
{
    if (in.n < 16)
        return ERR_CORRUPT;
    r->op = (uint8_t)octets_get(in.p, 1);
    r->message_flags = (uint16_t)octets_get(in.p + 2, 2);
    r->keywords = octets_get(in.p + 8, 8);
    if (r->op > 2)
        return ERR_VERSION;
    return decode_uids(span_drop(in, 16), r);
}

static int decode_copy(struct span in, struct record *r)
{
    if (in.n < 8)
        return ERR_CORRUPT;
    r->to = (uint32_t)octets_get(in.p, 4);
    return decode_uids(span_drop(in, 8), r);
}

static int decode_named(struct span in, struct record *r)
{
    size_t name, other;

    if (in.n < 12)
        return ERR_CORRUPT;
    r->op = (uint8_t)octets_get(in.p, 1);
    r->value = (uint32_t)octets_get(in.p + 4, 4);
    name = octets_get(in.p + 8, 2);
    other = octets_get(in.p + 10, 2);
    in = span_drop(in, 12);
    if (!octets_take_span(&in, name, &r->name) || !octets_take_span(&in, other, &r->other) ||
        in.n != 0)
        return ERR_CORRUPT;
    return 0;
}

int record_decode(uint16_t kind, struct span head, struct record *r)
{
    struct span in = head;
    int rc;

    *r = (struct record){.kind = kind};
    if (kind < JOURNAL_KIND_USER || kind >= RECORD_KINDS_END)
        return ERR_VERSION;
    if (head.n < RECORD_COMMON_SIZE)
        return ERR_CORRUPT;
    if (octets_get(head.p, 2) > RECORD_VERSION)
        return ERR_VERSION;
    r->flags = (uint16_t)octets_get(head.p + 2, 2);
    r->mailbox = (uint32_t)octets_get(head.p + 4, 4);
    r->bytes = octets_get(head.p + 8, 8);
    r->messages = octets_get(head.p + 16, 8);
    in = span_drop(in, RECORD_COMMON_SIZE);
    switch (kind) {
    case RECORD_DELIVER:
        rc = decode_hot(&in, r);
        return rc < 0 ? rc : in.n == 0 ? 0 : ERR_CORRUPT;
    case RECORD_MOVED:
        rc = decode_hot(&in, r);
        return rc < 0 ? rc : decode_owners(in, r);
    case RECORD_FLAGS:
        return decode_flags(in, r);
    case RECORD_EXPUNGE:
        return decode_uids(in, r);
    case RECORD_COPY:
        return decode_copy(in, r);
    case RECORD_MAILBOX:
        rc = decode_named(in, r);
        if (rc == 0 && (r->op == 0 || r->op >= RECORD_BOX_OPS_END))
            rc = ERR_VERSION;
        return rc;
    default:
        rc = decode_named(in, r);
        return rc == 0 && r->value >= 64 ? ERR_CORRUPT : rc;
    }
}
