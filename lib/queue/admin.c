#include "queue/admin.h"

#include <errno.h>

#include "base/error.h"
#include "queue/attr.h"

enum { LISTED_MAX = 1000000 };

const char *queue_name_text(enum queue_name name)
{
    static const char *const names[QUEUE_NAMES] = {"incoming", "active", "deferred", "hold"};

    return names[name];
}

const char *queue_verb_text(enum queue_verb verb)
{
    static const char *const verbs[QUEUE_VERBS] = {"delete", "hold", "release", "requeue",
                                                   "expire"};
    return verbs[verb];
}

void queue_listing_encode(const struct queue_listing *l, struct str *out)
{
    queue_attr_put_u64(out, "queue", l->queue);
    queue_attr_put_u64(out, "id", l->id.number);
    queue_attr_put_i64(out, "time", l->id.time_us);
    queue_attr_put_i64(out, "arrival", l->arrival_s);
    queue_attr_put_u64(out, "size", l->size);
    queue_attr_put(out, "sender", l->sender);
    if (l->is_forced_to_expire)
        queue_attr_put_u64(out, "expire", 1);
    for (size_t i = 0; i < l->recipients.len; i++) {
        queue_attr_put(out, "recipient", l->recipients.items[i].address);
        if (l->recipients.items[i].reason.n > 0)
            queue_attr_put(out, "reason", l->recipients.items[i].reason);
    }
}

static int take(struct queue_listing *l, struct arena *arena, struct span name, struct span value)
{
    uint32_t queue;

    if (span_eq(name, SPAN_LIT("queue"))) {
        if (span_to_u32(value, &queue) < 0 || queue >= QUEUE_NAMES)
            return ERR_SYNTAX;
        l->queue = (enum queue_name)queue;
    } else if (span_eq(name, SPAN_LIT("id"))) {
        return span_to_u64(value, &l->id.number);
    } else if (span_eq(name, SPAN_LIT("time"))) {
        return span_to_i64(value, &l->id.time_us);
    } else if (span_eq(name, SPAN_LIT("arrival"))) {
        return span_to_i64(value, &l->arrival_s);
    } else if (span_eq(name, SPAN_LIT("size"))) {
        return span_to_u64(value, &l->size);
    } else if (span_eq(name, SPAN_LIT("sender"))) {
        return arena_copy(arena, value, &l->sender);
    } else if (span_eq(name, SPAN_LIT("expire"))) {
        l->is_forced_to_expire = true;
    } else if (span_eq(name, SPAN_LIT("recipient"))) {
        if (l->recipients.len >= LISTED_MAX)
            return ERR_LIMIT;
        struct queue_listed_recipient *r = array_push(&l->recipients);
        return r == NULL ? -ENOMEM : arena_copy(arena, value, &r->address);
    } else if (span_eq(name, SPAN_LIT("reason"))) {
        return l->recipients.len == 0
                   ? ERR_SYNTAX
                   : arena_copy(arena, value, &array_last(&l->recipients)->reason);
    }
    return 0;
}

int queue_listing_decode(struct queue_listing *l, struct arena *arena, struct span encoded)
{
    struct span name, value;
    int rc;

    *l = (struct queue_listing){0};
    while ((rc = queue_attr_next(&encoded, &name, &value)) == 1) {
        rc = take(l, arena, name, value);
        if (rc < 0)
            break;
    }
    return rc;
}

void queue_listing_fini(struct queue_listing *l)
{
    array_free(&l->recipients);
}
