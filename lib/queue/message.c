/*
 * Encoding of messages by name. Message attributes come first; the attribute
 * "recipient" begins a recipient, and what follows with "r." in front belongs to
 * it. Values that are unset are not written.
 */
#include "queue/message.h"

#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "queue/attr.h"

/* --- what is written as it is --- */

struct text_field {
    const char *name;
    size_t offset;
};

#define MESSAGE_TEXT(name, member)                   \
    {                                                \
        name, offsetof(struct queue_message, member) \
    }
#define RECIPIENT_TEXT(name, member)                   \
    {                                                  \
        name, offsetof(struct queue_recipient, member) \
    }

static const struct text_field message_texts[] = {
    MESSAGE_TEXT("envid", envid),
    MESSAGE_TEXT("login", login),
    MESSAGE_TEXT("login-method", login_method),
    MESSAGE_TEXT("login-sender", login_sender),
    MESSAGE_TEXT("client-name", client_name),
    MESSAGE_TEXT("client-address", client_address),
    MESSAGE_TEXT("client-port", client_port),
    MESSAGE_TEXT("client-helo", client_helo),
    MESSAGE_TEXT("client-protocol", client_protocol),
    MESSAGE_TEXT("client-tls", client_tls),
    MESSAGE_TEXT("listener", listener),
    MESSAGE_TEXT("rewrite", rewrite_context),
    MESSAGE_TEXT("transport", transport),
    MESSAGE_TEXT("next-hop", next_hop),
    MESSAGE_TEXT("trace", trace_id),
    MESSAGE_TEXT("tenant", tenant),
    MESSAGE_TEXT("message-id", message_id),
    MESSAGE_TEXT("commit", commit),
};

static const struct text_field recipient_texts[] = {
    RECIPIENT_TEXT("r.original", original),
    RECIPIENT_TEXT("r.orcpt", orcpt),
    RECIPIENT_TEXT("r.transport", transport),
    RECIPIENT_TEXT("r.next-hop", next_hop),
};

static const struct {
    const char *name;
    uint32_t flag;
} message_flags[] = {
    {"smtputf8", QUEUE_MESSAGE_SMTPUTF8},
    {"!requiretls", QUEUE_MESSAGE_REQUIRETLS},
    {"hold", QUEUE_MESSAGE_HOLD},
    {"bounce", QUEUE_MESSAGE_BOUNCE},
    {"double-bounce", QUEUE_MESSAGE_DOUBLE_BOUNCE},
    {"internal", QUEUE_MESSAGE_INTERNAL},
    {"!probe", QUEUE_MESSAGE_PROBE},
};

static struct span *field_of(void *base, const struct text_field *field)
{
    return (struct span *)((char *)base + field->offset);
}

static void put_texts(struct str *out, const void *base, const struct text_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct span *value = field_of((void *)base, &fields[i]);

        if (value->n > 0)
            queue_attr_put(out, fields[i].name, *value);
    }
}

/* 1: taken; 0: not one of these; -ENOMEM. */
static int take_text(void *base, const struct text_field *fields, size_t n, struct arena *arena,
                     struct span name, struct span value)
{
    for (size_t i = 0; i < n; i++) {
        if (span_eq(name, span_cstr(fields[i].name))) {
            int rc = arena_copy(arena, value, field_of(base, &fields[i]));
            return rc < 0 ? rc : 1;
        }
    }
    return 0;
}

/* --- life --- */

void queue_message_init(struct queue_message *m, struct budget *budget)
{
    *m = (struct queue_message){0};
    arena_init(&m->arena, budget);
}

void queue_message_fini(struct queue_message *m)
{
    array_free(&m->recipients);
    array_free(&m->extents);
    arena_reset(&m->arena);
}

struct queue_recipient *queue_message_add(struct queue_message *m, struct span address)
{
    struct span copy;

    if (arena_copy(&m->arena, address, &copy) < 0)
        return NULL;
    struct queue_recipient *r = array_push(&m->recipients);
    if (r != NULL) {
        r->index = (uint32_t)(m->recipients.len - 1);
        r->address = copy;
    }
    return r;
}

/* --- encoding --- */

static void put_extents(const struct queue_message *m, struct str *out)
{
    for (size_t i = 0; i < m->extents.len; i++) {
        const struct queue_extent *e = &m->extents.items[i];
        struct str value = {0};

        str_printf(&value, "%llu %llu %u", (unsigned long long)e->offset,
                   (unsigned long long)e->length, e->flags);
        queue_attr_put(out, "extent", str_span(&value));
        str_fini(&value);
    }
}

static void put_by(const struct queue_message *m, struct str *out)
{
    if (m->by_mode == 0)
        return;
    char mode[2] = {m->by_mode, 'T'};
    queue_attr_put_i64(out, "by", m->by_seconds);
    queue_attr_put(out, "by-mode", span_make(mode, m->by_trace ? 2 : 1));
}

int queue_message_encode_envelope(const struct queue_message *m, struct str *out)
{
    queue_attr_put_u64(out, "format", QUEUE_FORMAT);
    queue_attr_put_u64(out, "id", m->id.number);
    queue_attr_put_i64(out, "time", m->id.time_us);
    queue_attr_put_i64(out, "arrival", m->arrival_us);
    queue_attr_put(out, "sender", m->sender);
    queue_attr_put_u64(out, "size", m->size);
    if (m->file != 0)
        queue_attr_put_u64(out, "file", m->file);
    if (m->ret != QUEUE_RETURN_UNSET)
        queue_attr_put(out, "ret",
                       m->ret == QUEUE_RETURN_FULL ? SPAN_LIT("FULL") : SPAN_LIT("HDRS"));
    if (m->body != QUEUE_BODY_UNSET)
        queue_attr_put_u64(out, "body", m->body);
    if (m->hold_until_s != 0)
        queue_attr_put_i64(out, "hold-until", m->hold_until_s);
    if (m->priority != 0)
        queue_attr_put_i64(out, "priority", m->priority);
    put_by(m, out);
    for (size_t i = 0; i < COUNT_OF(message_flags); i++)
        if (m->flags & message_flags[i].flag)
            queue_attr_put(out, message_flags[i].name, SPAN_LIT("1"));
    put_texts(out, m, message_texts, COUNT_OF(message_texts));
    str_append(out, m->unknown);
    put_extents(m, out);
    return str_error(out);
}

int queue_recipient_encode(const struct queue_recipient *r, struct str *out)
{
    queue_attr_put(out, "recipient", r->address);
    queue_attr_put_u64(out, "r.index", r->index);
    if (r->notify != 0)
        queue_attr_put_u64(out, "r.notify", r->notify);
    put_texts(out, r, recipient_texts, COUNT_OF(recipient_texts));
    str_append(out, r->unknown);
    return str_error(out);
}

int queue_message_encode(const struct queue_message *m, struct str *out)
{
    size_t before = out->len;
    int rc = queue_message_encode_envelope(m, out);

    for (size_t i = 0; rc == 0 && i < m->recipients.len; i++) {
        rc = queue_recipient_encode(&m->recipients.items[i], out);
        if (out->len - before > QUEUE_ENVELOPE_MAX)
            return ERR_TOO_LONG;
    }
    return rc;
}

/* --- decoding --- */

static int take_extent(struct queue_message *m, struct span value)
{
    struct queue_extent e;
    struct span token[3];
    uint32_t flags;

    for (int i = 0; i < 3; i++)
        if (!span_token(&value, " ", &token[i]))
            return ERR_SYNTAX;
    if (span_to_u64(token[0], &e.offset) < 0 || span_to_u64(token[1], &e.length) < 0 ||
        span_to_u32(token[2], &flags) < 0 || e.offset > INT64_MAX || e.length > INT64_MAX ||
        e.offset + e.length > INT64_MAX)
        return ERR_SYNTAX;
    if (m->extents.len >= QUEUE_EXTENTS_MAX)
        return ERR_LIMIT;
    struct queue_extent *slot = array_push(&m->extents);
    if (slot == NULL)
        return -ENOMEM;
    e.flags = flags;
    *slot = e;
    return 0;
}

static int take_by_mode(struct queue_message *m, struct span value)
{
    if (value.n < 1 || value.n > 2 || (value.p[0] != 'R' && value.p[0] != 'N') ||
        (value.n == 2 && value.p[1] != 'T'))
        return ERR_SYNTAX;
    m->by_mode = value.p[0];
    m->by_trace = value.n == 2;
    return 0;
}

static int take_small(struct span value, uint32_t max, uint32_t *out)
{
    int rc = span_to_u32(value, out);

    return rc == 0 && *out > max ? ERR_SYNTAX : rc;
}

/* The numbers: 1 taken, 0 not known, negative: bad value. */
static int take_number(struct queue_message *m, struct span name, struct span value)
{
    uint32_t small = 0;
    int64_t wide = 0;
    int rc;

    if (span_eq(name, SPAN_LIT("format"))) {
        rc = span_to_u32(value, &small);
        if (rc == 0 && small > QUEUE_FORMAT)
            rc = ERR_VERSION;
    } else if (span_eq(name, SPAN_LIT("id"))) {
        rc = span_to_u64(value, &m->id.number);
    } else if (span_eq(name, SPAN_LIT("time"))) {
        rc = span_to_i64(value, &m->id.time_us);
    } else if (span_eq(name, SPAN_LIT("arrival"))) {
        rc = span_to_i64(value, &m->arrival_us);
    } else if (span_eq(name, SPAN_LIT("size"))) {
        rc = span_to_u64(value, &m->size);
    } else if (span_eq(name, SPAN_LIT("file"))) {
        rc = span_to_u64(value, &m->file);
    } else if (span_eq(name, SPAN_LIT("ret"))) {
        rc = span_eq(value, SPAN_LIT("FULL")) || span_eq(value, SPAN_LIT("HDRS")) ? 0 : ERR_SYNTAX;
        m->ret = value.n > 0 && value.p[0] == 'F' ? QUEUE_RETURN_FULL : QUEUE_RETURN_HEADERS;
    } else if (span_eq(name, SPAN_LIT("body"))) {
        rc = take_small(value, QUEUE_BODY_BINARYMIME, &small);
        m->body = (enum queue_body_type)small;
    } else if (span_eq(name, SPAN_LIT("hold-until"))) {
        rc = span_to_i64(value, &m->hold_until_s);
    } else if (span_eq(name, SPAN_LIT("priority"))) {
        rc = span_to_i64(value, &wide);
        rc = rc == 0 && (wide < -9 || wide > 9) ? ERR_SYNTAX : rc;
        m->priority = (int32_t)wide;
    } else if (span_eq(name, SPAN_LIT("by"))) {
        rc = span_to_i64(value, &m->by_seconds);
    } else if (span_eq(name, SPAN_LIT("by-mode"))) {
        rc = take_by_mode(m, value);
    } else {
        return 0;
    }
    return rc < 0 ? rc : 1;
}

static int take_flag(struct queue_message *m, struct span name)
{
    for (size_t i = 0; i < COUNT_OF(message_flags); i++) {
        if (span_eq(name, span_cstr(message_flags[i].name))) {
            m->flags |= message_flags[i].flag;
            return 1;
        }
    }
    return 0;
}

/* Attributes of a message; `unknown` collects what nobody here knows. */
static int take_message(struct queue_message *m, struct span name, struct span value,
                        struct str *unknown)
{
    int rc = take_number(m, name, value);

    if (rc == 0)
        rc = take_flag(m, name);
    if (rc == 0)
        rc = take_text(m, message_texts, COUNT_OF(message_texts), &m->arena, name, value);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (span_eq(name, SPAN_LIT("sender")))
        return arena_copy(&m->arena, value, &m->sender);
    if (span_eq(name, SPAN_LIT("extent")))
        return take_extent(m, value);
    if (name.p[0] == '!')
        return ERR_VERSION;
    queue_attr_put_span(unknown, name, value);
    return str_error(unknown);
}

static int take_recipient(struct queue_message *m, struct queue_recipient *r, struct span name,
                          struct span value, struct str *unknown)
{
    int rc = take_text(r, recipient_texts, COUNT_OF(recipient_texts), &m->arena, name, value);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (span_eq(name, SPAN_LIT("r.index")))
        return span_to_u32(value, &r->index);
    if (span_eq(name, SPAN_LIT("r.notify")))
        return take_small(value, 15, &r->notify);
    if (span_starts(name, SPAN_LIT("r.!")))
        return ERR_VERSION;
    queue_attr_put_span(unknown, name, value);
    return str_error(unknown);
}

/* What was collected belongs to the last recipient, or to the message. */
static int settle_unknown(struct queue_message *m, struct str *unknown)
{
    struct span *where = m->recipients.len > 0 ? &array_last(&m->recipients)->unknown : &m->unknown;
    int rc = unknown->len > 0 ? arena_copy(&m->arena, str_span(unknown), where) : 0;

    str_clear(unknown);
    return rc;
}

static int decode(struct queue_message *m, struct span encoded, bool with_recipients)
{
    struct str unknown = {0};
    struct span name, value;
    int rc;

    while ((rc = queue_attr_next(&encoded, &name, &value)) == 1) {
        if (span_eq(name, SPAN_LIT("recipient"))) {
            if (!with_recipients) {
                rc = 0;
                break;
            }
            rc = settle_unknown(m, &unknown);
            if (rc == 0 && queue_message_add(m, value) == NULL)
                rc = -ENOMEM;
        } else if (span_starts(name, SPAN_LIT("r."))) {
            rc = m->recipients.len == 0
                     ? ERR_SYNTAX
                     : take_recipient(m, array_last(&m->recipients), name, value, &unknown);
        } else {
            rc = m->recipients.len > 0 ? ERR_SYNTAX : take_message(m, name, value, &unknown);
        }
        if (rc < 0)
            break;
    }
    if (rc == 0)
        rc = settle_unknown(m, &unknown);
    str_fini(&unknown);
    return rc;
}

int queue_message_decode(struct queue_message *m, struct span encoded)
{
    return encoded.n > QUEUE_ENVELOPE_MAX ? ERR_LIMIT : decode(m, encoded, true);
}

int queue_message_decode_envelope(struct queue_message *m, struct span encoded)
{
    return decode(m, encoded, false);
}
