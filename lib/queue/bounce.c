#include "queue/bounce.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "queue/attr.h"

int bounce_request_encode(const struct bounce_request *r, struct ipc_out *m)
{
    struct str text = {0};

    ipc_begin(m, "notify");
    ipc_put_u64(m, "kind", r->kind);
    ipc_put_i64(m, "retry-until", r->retry_until_s);
    int rc = queue_message_encode(&r->message, &text);
    ipc_put(m, "envelope", str_span(&text));
    for (size_t i = 0; rc == 0 && i < r->message.recipients.len; i++) {
        str_clear(&text);
        deliver_result_encode(&r->results[i], r->message.recipients.items[i].index, &text);
        ipc_put(m, "result", str_span(&text));
        ipc_put_i64(m, "last-attempt", r->last_attempt_s[i]);
        rc = str_error(&text);
    }
    str_fini(&text);
    return rc;
}

static int decode_extents(struct bounce_request *r)
{
    for (size_t i = 0; i < r->message.extents.len; i++) {
        struct queue_extent *e = array_push(&r->content.extents);
        if (e == NULL)
            return -ENOMEM;
        *e = r->message.extents.items[i];
    }
    return 0;
}

/* Results and times stand in the order of the recipients. */
static int decode_results(struct bounce_request *r, struct ipc_in *m)
{
    struct arena *arena = &r->message.arena;
    size_t count = r->message.recipients.len, results = 0, times = 0;
    struct ipc_walk walk = {0};
    uint32_t index;
    int rc = 0;

    r->results = ARENA_NEW_N(arena, struct deliver_result, count);
    r->last_attempt_s = ARENA_NEW_N(arena, int64_t, count);
    if (r->results == NULL || r->last_attempt_s == NULL)
        return -ENOMEM;
    while (rc == 0 && ipc_walk(m, &walk)) {
        if (span_eq(walk.name, SPAN_LIT("result"))) {
            if (results == count)
                return ERR_PROTOCOL;
            rc = deliver_result_decode(&r->results[results], &index, arena, walk.value);
            if (rc == 0 && index != r->message.recipients.items[results].index)
                rc = ERR_PROTOCOL;
            results++;
        } else if (span_eq(walk.name, SPAN_LIT("last-attempt"))) {
            if (times == count)
                return ERR_PROTOCOL;
            rc = span_to_i64(walk.value, &r->last_attempt_s[times++]);
        }
    }
    return rc < 0 ? rc : results == count && times == count ? 0 : ERR_PROTOCOL;
}

int bounce_request_decode(struct bounce_request *r, struct ipc_in *m)
{
    struct span envelope;
    uint64_t kind;

    *r = (struct bounce_request){0};
    queue_content_init(&r->content);
    queue_message_init(&r->message, NULL);
    if (ipc_get_u64(m, "kind", &kind) < 0 || kind >= BOUNCE_KINDS ||
        ipc_get_i64(m, "retry-until", &r->retry_until_s) < 0 ||
        ipc_get(m, "envelope", &envelope) < 0)
        return ERR_PROTOCOL;
    r->kind = (enum bounce_kind)kind;
    int rc = queue_message_decode(&r->message, envelope);
    if (rc == 0)
        rc = r->message.recipients.len == 0 ? ERR_PROTOCOL : decode_results(r, m);
    if (rc == 0)
        rc = decode_extents(r);
    if (rc == 0) {
        r->content.inline_octets = ipc_content(m);
        ipc_take_fd(m, "descriptor", &r->content.fd);
    }
    return rc;
}

void bounce_request_fini(struct bounce_request *r)
{
    queue_content_fini(&r->content);
    queue_message_fini(&r->message);
}
