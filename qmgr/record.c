#include "qmgr/record.h"

#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "queue/attr.h"

void loaded_init(struct loaded *l)
{
    *l = (struct loaded){0};
    queue_message_init(&l->message, NULL);
}

void loaded_fini(struct loaded *l)
{
    queue_message_fini(&l->message);
    array_free(&l->outcomes);
    str_fini(&l->content);
}

size_t loaded_pending(const struct loaded *l)
{
    size_t pending = 0;

    for (size_t i = 0; i < l->outcomes.len; i++)
        pending += l->outcomes.items[i].state == QUEUE_RECIPIENT_PENDING;
    return pending;
}

int loaded_from_message(struct loaded *l, const struct journal_record *r, bool keep_content)
{
    int rc = queue_message_decode(&l->message, r->head);

    if (rc < 0)
        return rc;
    l->original_count = l->message.recipients.len;
    for (size_t i = 0; i < l->original_count; i++) {
        l->message.recipients.items[i].index = (uint32_t)i;
        struct outcome *o = array_push(&l->outcomes);
        if (o == NULL)
            return -ENOMEM;
    }
    if (l->message.flags & QUEUE_MESSAGE_HOLD)
        l->flags |= ENTRY_HOLD;
    l->has_content = keep_content || l->message.file != 0;
    if (keep_content && l->message.file == 0)
        return str_set(&l->content, r->body);
    return 0;
}

/* --- recipients --- */

/* A recipient that came later, from an alias or a STATE record. */
static int add_recipient(struct loaded *l, const struct queue_recipient *from)
{
    struct queue_recipient *r = queue_message_add(&l->message, from->address);
    struct arena *arena = &l->message.arena;

    struct outcome *o = array_push(&l->outcomes);
    if (r == NULL || o == NULL)
        return -ENOMEM;
    r->notify = from->notify;
    if (arena_copy(arena, from->original, &r->original) < 0 ||
        arena_copy(arena, from->orcpt, &r->orcpt) < 0 ||
        arena_copy(arena, from->transport, &r->transport) < 0 ||
        arena_copy(arena, from->next_hop, &r->next_hop) < 0 ||
        arena_copy(arena, from->unknown, &r->unknown) < 0)
        return -ENOMEM;
    return 0;
}

static int copy_result(struct arena *arena, const struct deliver_result *from,
                       struct deliver_result *to)
{
    *to = *from;
    to->expansion = NULL;
    to->expansion_count = 0;
    to->dsn = arena_strdup(arena, span_cstr(from->dsn));
    if (to->dsn == NULL || arena_copy(arena, from->reason, &to->reason) < 0 ||
        arena_copy(arena, from->relay, &to->relay) < 0 ||
        arena_copy(arena, from->remote_host, &to->remote_host) < 0 ||
        arena_copy(arena, from->remote_reply, &to->remote_reply) < 0)
        return -ENOMEM;
    return 0;
}

static enum queue_recipient_state state_after(enum deliver_status status)
{
    switch (status) {
    case DELIVER_DEFERRED:
        return QUEUE_RECIPIENT_PENDING;
    case DELIVER_BOUNCED:
    case DELIVER_EXPIRED:
        return QUEUE_RECIPIENT_FAILED;
    default:
        return QUEUE_RECIPIENT_DONE;
    }
}

int loaded_take_result(struct loaded *l, uint32_t index, uint32_t attempt, int64_t at_s,
                       const struct deliver_result *result)
{
    if (index >= l->outcomes.len)
        return ERR_SYNTAX;
    struct outcome *o = &l->outcomes.items[index];
    if (o->state != QUEUE_RECIPIENT_PENDING)
        return 0;
    if (result->status == DELIVER_DEFERRED && attempt <= o->attempt)
        return 0;
    struct deliver_result copy;
    int rc = copy_result(&l->message.arena, result, &copy);
    for (size_t i = 0; rc == 0 && i < result->expansion_count; i++)
        rc = add_recipient(l, &result->expansion[i]);
    if (rc < 0)
        return rc;
    o = &l->outcomes.items[index]; /* the array may have moved */
    o->result = copy;
    o->state = state_after(result->status);
    o->attempt = attempt;
    o->at_s = at_s;
    return 1;
}

/* --- RESULT --- */

void record_result_begin(struct str *head, uint64_t number, uint32_t sequence, uint32_t attempt,
                         int64_t at_s)
{
    queue_attr_put_u64(head, "number", number);
    queue_attr_put_u64(head, "sequence", sequence);
    queue_attr_put_u64(head, "attempt", attempt);
    queue_attr_put_i64(head, "time", at_s);
}

void record_result_add(struct str *head, struct span encoded_result)
{
    queue_attr_put(head, "result", encoded_result);
}

static int apply_result(struct loaded *l, struct span head)
{
    struct span name, value;
    uint64_t attempt = 0;
    int64_t at_s = 0;
    int rc;

    while ((rc = queue_attr_next(&head, &name, &value)) == 1) {
        if (span_eq(name, SPAN_LIT("attempt"))) {
            rc = span_to_u64(value, &attempt);
        } else if (span_eq(name, SPAN_LIT("time"))) {
            rc = span_to_i64(value, &at_s);
        } else if (span_eq(name, SPAN_LIT("result"))) {
            struct arena arena = {0};
            struct deliver_result result;
            uint32_t index;

            rc = deliver_result_decode(&result, &index, &arena, value);
            if (rc == 0)
                rc = loaded_take_result(l, index, (uint32_t)attempt, at_s, &result);
            arena_reset(&arena);
        }
        if (rc < 0)
            break;
    }
    return rc < 0 ? rc : 0;
}

/* --- STATE --- */

static void put_outcome(struct str *head, const struct outcome *o, uint32_t index)
{
    struct str one = {0};

    queue_attr_put_u64(&one, "index", index);
    queue_attr_put_u64(&one, "state", o->state);
    queue_attr_put_u64(&one, "attempt", o->attempt);
    queue_attr_put_i64(&one, "time", o->at_s);
    if (o->success_notified)
        queue_attr_put_u64(&one, "success-notified", 1);
    if (o->attempt > 0)
        deliver_result_encode(&o->result, index, &one);
    queue_attr_put(head, "outcome", str_span(&one));
    str_fini(&one);
}

int record_state(struct str *head, const struct loaded *l, uint64_t number)
{
    queue_attr_put_u64(head, "number", number);
    queue_attr_put_u64(head, "sequence", l->sequence);
    queue_attr_put_u64(head, "flags", l->flags);
    queue_attr_put_i64(head, "next-attempt", l->next_attempt_s);
    for (size_t i = l->original_count; i < l->message.recipients.len; i++) {
        struct str one = {0};

        queue_recipient_encode(&l->message.recipients.items[i], &one);
        queue_attr_put(head, "added", str_span(&one));
        str_fini(&one);
    }
    for (size_t i = 0; i < l->outcomes.len; i++)
        if (l->outcomes.items[i].attempt > 0 ||
            l->outcomes.items[i].state != QUEUE_RECIPIENT_PENDING)
            put_outcome(head, &l->outcomes.items[i], (uint32_t)i);
    return str_error(head);
}

static int apply_added(struct loaded *l, struct span encoded)
{
    struct queue_message m;
    int rc;

    queue_message_init(&m, NULL);
    rc = queue_message_decode(&m, encoded);
    if (rc == 0)
        rc = m.recipients.len == 1 ? add_recipient(l, &m.recipients.items[0]) : ERR_SYNTAX;
    queue_message_fini(&m);
    return rc;
}

static int apply_outcome(struct loaded *l, struct span encoded)
{
    uint64_t index, state, attempt, notified = 0;
    struct span time;
    int64_t at_s;
    int rc;

    if (queue_attr_get_u64(encoded, "index", &index) < 0 || index >= l->outcomes.len ||
        queue_attr_get_u64(encoded, "state", &state) < 0 || state > QUEUE_RECIPIENT_NOTIFIED ||
        queue_attr_get_u64(encoded, "attempt", &attempt) < 0 || attempt > UINT32_MAX ||
        queue_attr_get(encoded, "time", &time) < 0 || span_to_i64(time, &at_s) < 0)
        return ERR_SYNTAX;
    struct outcome *o = &l->outcomes.items[index];
    if (attempt > 0) {
        struct arena arena = {0};
        struct deliver_result result;
        uint32_t again;

        rc = deliver_result_decode(&result, &again, &arena, encoded);
        if (rc == 0)
            rc = copy_result(&l->message.arena, &result, &o->result);
        arena_reset(&arena);
        if (rc < 0)
            return rc;
    }
    queue_attr_get_u64(encoded, "success-notified", &notified);
    o->success_notified = notified != 0;
    o->state = (enum queue_recipient_state)state;
    o->attempt = (uint32_t)attempt;
    o->at_s = at_s;
    return 0;
}

static int apply_state(struct loaded *l, struct span head, const struct record_summary *s)
{
    struct span name, value;
    int rc;

    l->flags = s->flags;
    l->next_attempt_s = s->next_attempt_s;
    /* What came from earlier records is in this one too. */
    l->message.recipients.len = l->outcomes.len = l->original_count;
    while ((rc = queue_attr_next(&head, &name, &value)) == 1) {
        if (span_eq(name, SPAN_LIT("added")))
            rc = apply_added(l, value);
        else if (span_eq(name, SPAN_LIT("outcome")))
            rc = apply_outcome(l, value);
        if (rc < 0)
            break;
    }
    return rc < 0 ? rc : 0;
}

int loaded_apply(struct loaded *l, const struct journal_record *r)
{
    struct record_summary s;
    int rc = record_summarise(r->head, &s);

    if (rc < 0)
        return rc;
    if (s.sequence <= l->sequence)
        return 0;
    rc = r->kind == RECORD_STATE ? apply_state(l, r->head, &s) : apply_result(l, r->head);
    if (rc == 0)
        l->sequence = s.sequence;
    return rc;
}

/* --- the rest --- */

void record_removed(struct str *head, uint64_t number, uint64_t oldest, uint64_t newest)
{
    queue_attr_put_u64(head, "number", number);
    queue_attr_put_u64(head, "oldest", oldest);
    queue_attr_put_u64(head, "newest", newest);
}

int record_summarise(struct span head, struct record_summary *out)
{
    struct span name, value;
    int rc;

    *out = (struct record_summary){0};
    /* These stand in front of everything long. */
    while ((rc = queue_attr_next(&head, &name, &value)) == 1) {
        if (span_eq(name, SPAN_LIT("number")))
            rc = span_to_u64(value, &out->number);
        else if (span_eq(name, SPAN_LIT("sequence")))
            rc = span_to_u32(value, &out->sequence);
        else if (span_eq(name, SPAN_LIT("flags")))
            rc = span_to_u32(value, &out->flags);
        else if (span_eq(name, SPAN_LIT("next-attempt")))
            rc = span_to_i64(value, &out->next_attempt_s);
        else if (span_eq(name, SPAN_LIT("oldest")))
            rc = span_to_u64(value, &out->oldest);
        else if (span_eq(name, SPAN_LIT("newest")))
            rc = span_to_u64(value, &out->newest);
        else if (span_eq(name, SPAN_LIT("outcome")) || span_eq(name, SPAN_LIT("result")))
            break;
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : out->number > 0 ? 0 : ERR_SYNTAX;
}
