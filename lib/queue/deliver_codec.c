/* Results as messages and records hold them. */
#include <errno.h>

#include "base/error.h"
#include "queue/attr.h"
#include "queue/deliver.h"

enum { TEXT_MAX = 2048, EXPANSION_MAX = 10000 };

/* RFC 3463: class.subject.detail, 1 to 3 digits each; classes 2, 4 and 5. */
static bool is_dsn(struct span s)
{
    struct span part;
    int parts = 0;

    if (s.n < 5 || s.n > 9 || strchr("245", s.p[0]) == NULL || s.p[1] != '.')
        return false;
    while (span_next(&s, '.', &part)) {
        uint32_t value;
        if (part.n > 3 || span_to_u32(part, &value) < 0)
            return false;
        parts++;
    }
    return parts == 3;
}

static void put_text(struct str *out, const char *name, struct span text)
{
    if (text.n > 0)
        queue_attr_put(out, name, span_take(text, TEXT_MAX));
}

void deliver_result_encode(const struct deliver_result *r, uint32_t index, struct str *out)
{
    queue_attr_put_u64(out, "recipient", index);
    queue_attr_put_u64(out, "status", r->status);
    queue_attr_put(out, "dsn", span_cstr(r->dsn));
    put_text(out, "reason", r->reason);
    put_text(out, "relay", r->relay);
    put_text(out, "remote-host", r->remote_host);
    put_text(out, "remote-reply", r->remote_reply);
    if (r->site)
        queue_attr_put_u64(out, "site", 1);
    if (r->relayed_without_dsn)
        queue_attr_put_u64(out, "relayed", 1);
    for (size_t i = 0; i < r->expansion_count; i++) {
        struct str one = {0};

        queue_recipient_encode(&r->expansion[i], &one);
        queue_attr_put(out, "expansion", str_span(&one));
        str_fini(&one);
    }
}

/* A recipient is coded as in a message: decode it as one. */
static int decode_expansion(struct queue_recipient *r, struct arena *arena, struct span encoded)
{
    struct queue_message m;
    int rc;

    queue_message_init(&m, NULL);
    rc = queue_message_decode(&m, encoded);
    if (rc == 0 && m.recipients.len != 1)
        rc = ERR_SYNTAX;
    if (rc == 0) {
        struct span *texts[] = {&r->address,   &r->original, &r->orcpt,
                                &r->transport, &r->next_hop, &r->unknown};

        *r = m.recipients.items[0];
        for (size_t i = 0; rc == 0 && i < COUNT_OF(texts); i++)
            rc = arena_copy(arena, *texts[i], texts[i]);
    }
    queue_message_fini(&m);
    return rc;
}

static int count_expansions(struct span list, size_t *count)
{
    struct span name, value;
    int rc;

    *count = 0;
    while ((rc = queue_attr_next(&list, &name, &value)) == 1)
        *count += span_eq(name, SPAN_LIT("expansion"));
    return *count > EXPANSION_MAX ? ERR_LIMIT : rc;
}

static int take(struct deliver_result *r, uint32_t *index, struct arena *arena, struct span name,
                struct span value, struct queue_recipient *expansion)
{
    const struct {
        const char *name;
        struct span *where;
    } texts[] = {{"reason", &r->reason},
                 {"relay", &r->relay},
                 {"remote-host", &r->remote_host},
                 {"remote-reply", &r->remote_reply}};
    uint32_t number;

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (span_eq(name, span_cstr(texts[i].name)))
            return arena_copy(arena, span_take(value, TEXT_MAX), texts[i].where);
    if (span_eq(name, SPAN_LIT("recipient")))
        return span_to_u32(value, index);
    if (span_eq(name, SPAN_LIT("status"))) {
        if (span_to_u32(value, &number) < 0 || number >= DELIVER_STATUSES)
            return ERR_SYNTAX;
        r->status = (enum deliver_status)number;
    } else if (span_eq(name, SPAN_LIT("dsn"))) {
        r->dsn = is_dsn(value) ? arena_strdup(arena, value) : NULL;
        return r->dsn == NULL ? ERR_SYNTAX : 0;
    } else if (span_eq(name, SPAN_LIT("site"))) {
        r->site = true;
    } else if (span_eq(name, SPAN_LIT("relayed"))) {
        r->relayed_without_dsn = true;
    } else if (span_eq(name, SPAN_LIT("expansion"))) {
        return decode_expansion(&expansion[r->expansion_count++], arena, value);
    }
    return 0;
}

int deliver_result_decode(struct deliver_result *r, uint32_t *index, struct arena *arena,
                          struct span encoded)
{
    struct queue_recipient *expansion = NULL;
    struct span name, value;
    size_t count;
    int rc = count_expansions(encoded, &count);

    *r = (struct deliver_result){.status = DELIVER_STATUSES};
    *index = UINT32_MAX;
    if (rc == 0 && count > 0) {
        expansion = ARENA_NEW_N(arena, struct queue_recipient, count);
        rc = expansion == NULL ? -ENOMEM : 0;
    }
    while (rc == 0 && (rc = queue_attr_next(&encoded, &name, &value)) == 1)
        rc = take(r, index, arena, name, value, expansion);
    r->expansion = expansion;
    if (rc == 0 && (r->status == DELIVER_STATUSES || *index == UINT32_MAX || r->dsn == NULL))
        rc = ERR_SYNTAX;
    return rc;
}
