#include "queue/drop.h"

#include <errno.h>

#include "base/error.h"
#include "queue/attr.h"

void drop_fini(struct drop *d)
{
    array_free(&d->recipients);
}

void drop_encode(const struct drop *d, struct str *out)
{
    if (d->is_sender_set)
        queue_attr_put(out, "sender", d->sender);
    if (d->full_name.n > 0)
        queue_attr_put(out, "full-name", d->full_name);
    if (d->envid.n > 0)
        queue_attr_put(out, "envid", d->envid);
    if (d->ret.n > 0)
        queue_attr_put(out, "ret", d->ret);
    if (d->notify != 0)
        queue_attr_put_u64(out, "notify", d->notify);
    if (d->is_smtputf8)
        queue_attr_put_u64(out, "smtputf8", 1);
    for (size_t i = 0; i < d->recipients.len; i++)
        queue_attr_put(out, "recipient", d->recipients.items[i]);
    queue_attr_put(out, "content", SPAN_NONE);
}

static int take(struct drop *d, struct span name, struct span value)
{
    if (span_eq(name, SPAN_LIT("sender"))) {
        d->sender = value;
        d->is_sender_set = true;
    } else if (span_eq(name, SPAN_LIT("full-name"))) {
        d->full_name = value;
    } else if (span_eq(name, SPAN_LIT("envid"))) {
        d->envid = value;
    } else if (span_eq(name, SPAN_LIT("ret"))) {
        d->ret = value;
        return span_eq(value, SPAN_LIT("full")) || span_eq(value, SPAN_LIT("hdrs")) ? 0
                                                                                    : ERR_SYNTAX;
    } else if (span_eq(name, SPAN_LIT("notify"))) {
        return span_to_u32(value, &d->notify) < 0 || d->notify > 15 ? ERR_SYNTAX : 0;
    } else if (span_eq(name, SPAN_LIT("smtputf8"))) {
        d->is_smtputf8 = true;
    } else if (span_eq(name, SPAN_LIT("recipient"))) {
        if (d->recipients.len >= DROP_RECIPIENTS_MAX)
            return ERR_LIMIT;
        struct span *r = array_push(&d->recipients);
        if (r == NULL)
            return -ENOMEM;
        *r = value;
    }
    return 0;
}

int drop_decode(struct drop *d, struct span front, size_t *used)
{
    struct span rest = front, name, value;
    int rc;

    *d = (struct drop){0};
    while ((rc = queue_attr_next(&rest, &name, &value)) == 1) {
        if (span_eq(name, SPAN_LIT("content"))) {
            *used = front.n - rest.n;
            return value.n == 0 ? 0 : ERR_SYNTAX;
        }
        rc = take(d, name, value);
        if (rc < 0)
            return rc;
    }
    /* An attribute that is cut off looks like a malformed one. */
    return front.n < DROP_HEAD_MAX ? ERR_TRUNCATED : ERR_LIMIT;
}
