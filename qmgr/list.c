#include "qmgr/list.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fd.h"
#include "qmgr/active.h"
#include "queue/admin.h"

enum { PACKET_MAX = 40 << 10, CONTENT_PIECE = 60000 };

static int by_number(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

    return a < b ? -1 : a > b;
}

int list_all(struct list_numbers *numbers)
{
    struct hash_walk walk = {0};
    struct entry *e;

    while ((e = entry_walk(&walk)) != NULL) {
        uint64_t *slot = array_push(numbers);
        if (slot == NULL)
            return -ENOMEM;
        *slot = e->id.number;
    }
    if (numbers->len > 0)
        qsort(numbers->items, numbers->len, sizeof(numbers->items[0]), by_number);
    return 0;
}

static enum queue_name queue_of(const struct entry *e)
{
    switch (e->place) {
    case ENTRY_INCOMING:
        return QUEUE_INCOMING;
    case ENTRY_ACTIVE:
    case ENTRY_PARKED:
        return QUEUE_ACTIVE;
    case ENTRY_ON_HOLD:
        return QUEUE_HOLD;
    default:
        return QUEUE_DEFERRED;
    }
}

static int send_listing(struct ipc_conn *c, const struct queue_listing *l, bool has_more,
                        deadline_t deadline)
{
    struct ipc_out m = {0};
    struct str text = {0};

    queue_listing_encode(l, &text);
    ipc_begin(&m, "message");
    ipc_put(&m, "listing", str_span(&text));
    ipc_put_bool(&m, "more", has_more);
    int rc = str_error(&text) < 0 ? str_error(&text) : ipc_send(c, &m, deadline);
    ipc_out_fini(&m);
    str_fini(&text);
    return rc;
}

/* Recipients that are not done, in as many packets as they need. */
static int send_loaded(struct ipc_conn *c, struct queue_listing *l, const struct loaded *from,
                       deadline_t deadline)
{
    size_t octets = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < from->outcomes.len; i++) {
        const struct outcome *o = &from->outcomes.items[i];
        struct queue_listed_recipient *r;

        if (o->state != QUEUE_RECIPIENT_PENDING && o->state != QUEUE_RECIPIENT_FAILED)
            continue;
        if (octets > PACKET_MAX) {
            rc = send_listing(c, l, true, deadline);
            array_clear(&l->recipients);
            octets = 0;
        }
        r = array_push(&l->recipients);
        if (r == NULL)
            return -ENOMEM;
        r->address = from->message.recipients.items[i].address;
        r->reason = o->attempt > 0 ? o->result.reason : SPAN_NONE;
        octets += r->address.n + r->reason.n + 32;
    }
    return rc < 0 ? rc : send_listing(c, l, false, deadline);
}

static void describe(const struct entry *e, struct queue_listing *l)
{
    *l = (struct queue_listing){.queue = queue_of(e),
                                .id = e->id,
                                .arrival_s = e->arrival_us / 1000000,
                                .size = e->size,
                                .is_forced_to_expire = (e->flags & ENTRY_EXPIRE) != 0};
}

int list_send(struct ipc_conn *c, uint64_t number, deadline_t deadline)
{
    struct entry *e = entry_find(number);
    struct queue_listing l;
    struct loaded loaded;

    if (e == NULL)
        return ERR_NOT_FOUND;
    int rc = ledger_load(e, &loaded, false);
    e = entry_find(number);
    if (e == NULL)
        rc = ERR_NOT_FOUND;
    if (rc == 0) {
        describe(e, &l);
        l.sender = loaded.message.sender;
        rc = send_loaded(c, &l, &loaded, deadline);
        queue_listing_fini(&l);
    }
    loaded_fini(&loaded);
    return rc;
}

/* --- postcat --- */

static int send_envelope(struct ipc_conn *c, const struct loaded *l, deadline_t deadline)
{
    struct str text = {0};
    int rc = queue_message_encode(&l->message, &text);
    struct span rest = str_span(&text);

    while (rc == 0 && rest.n > 0) {
        struct ipc_out m = {0};

        ipc_begin(&m, "envelope");
        ipc_put(&m, "part", span_take(rest, PACKET_MAX));
        rest = span_drop(rest, PACKET_MAX);
        rc = ipc_send(c, &m, deadline);
        ipc_out_fini(&m);
    }
    str_fini(&text);
    return rc;
}

struct read_job {
    const struct queue_content *content;
    uint64_t offset;
    char *buf;
    ssize_t got;
};

static void run_read(void *arg)
{
    struct read_job *job = arg;

    job->got = queue_content_read(job->content, job->offset, job->buf, CONTENT_PIECE);
}

static int send_content(struct ipc_conn *c, const struct queue_content *content,
                        deadline_t deadline)
{
    struct read_job job = {.content = content, .buf = malloc(CONTENT_PIECE)};
    int rc = job.buf == NULL ? -ENOMEM : 0;

    while (rc == 0) {
        struct ipc_out m = {0};

        rc = task_offload(TASK_POOL_STORE, run_read, &job);
        if (rc == 0 && job.got < 0)
            rc = (int)job.got;
        if (rc < 0 || job.got == 0)
            break;
        ipc_begin(&m, "content");
        ipc_put_content(&m, span_make(job.buf, (size_t)job.got));
        job.offset += (uint64_t)job.got;
        rc = ipc_send(c, &m, deadline);
        ipc_out_fini(&m);
    }
    free(job.buf);
    return rc;
}

int list_send_whole(struct ipc_conn *c, uint64_t number, deadline_t deadline)
{
    struct entry *e = entry_find(number);
    struct queue_content content;
    struct loaded loaded;

    if (e == NULL)
        return ERR_NOT_FOUND;
    int rc = ledger_load(e, &loaded, true);
    queue_content_init(&content);
    for (size_t i = 0; rc == 0 && i < loaded.message.extents.len; i++) {
        struct queue_extent *x = array_push(&content.extents);
        if (x == NULL)
            rc = -ENOMEM;
        else
            *x = loaded.message.extents.items[i];
    }
    content.inline_octets = str_span(&loaded.content);
    if (rc == 0 && loaded.message.file != 0)
        rc = ledger_open_file(loaded.message.file, &content.fd);
    if (rc == 0)
        rc = send_envelope(c, &loaded, deadline);
    if (rc == 0)
        rc = send_content(c, &content, deadline);
    queue_content_fini(&content);
    loaded_fini(&loaded);
    return rc;
}
