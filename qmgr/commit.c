#include "qmgr/commit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"
#include "qmgr/active.h"
#include "qmgr/large.h"
#include "qmgr/ledger.h"
#include "qmgr/tasks.h"

enum {
    BATCH_MAX = 256,           /* messages of one call of the journal */
    KEEP_CONTENT_BELOW = 2000, /* active messages whose content stays in memory */
};

/* A message on its way into the journal. */
struct commit {
    struct list link;
    struct hash_node by_number; /* in `in_flight` while is_in_flight */
    bool is_in_flight;
    struct receiver *receiver;
    struct ipc_in *request; /* holds the content */
    struct str joined;      /* envelope that came in parts */
    struct span envelope;
    struct loaded loaded;
    uint64_t commit_hash;
};

static struct list waiting = {&waiting, &waiting};
static struct task_cond arrived = {{&arrived.waiters, &arrived.waiters}};
/* Commits whose outcome is not known yet, by the number of their message. */
static struct hash in_flight;
static struct task_cond concluded = {{&concluded.waiters, &concluded.waiters}};

static uint64_t hash_number(uint64_t number)
{
    return span_hash(span_make(&number, sizeof(number)));
}

static struct commit *find_in_flight(uint64_t number)
{
    for (struct hash_node *n = hash_first(&in_flight, hash_number(number)); n; n = hash_next(n)) {
        struct commit *k = CONTAINER_OF(n, struct commit, by_number);
        if (k->loaded.message.id.number == number)
            return k;
    }
    return NULL;
}

int commit_wait(uint64_t number)
{
    int rc = 0;

    while (rc == 0 && find_in_flight(number) != NULL)
        rc = task_cond_wait(&concluded, DEADLINE_NONE);
    return rc;
}

static void leave_flight(struct commit *k)
{
    if (!k->is_in_flight)
        return;
    k->is_in_flight = false;
    hash_remove(&in_flight, &k->by_number);
    task_cond_broadcast(&concluded);
}

static void commit_free(struct commit *k)
{
    leave_flight(k);
    receiver_release(k->receiver);
    ipc_in_free(k->request);
    loaded_fini(&k->loaded);
    str_fini(&k->joined);
    free(k);
}

/* The last piece of the envelope is in the request, what went before in parts. */
static int join_envelope(struct commit *k)
{
    struct span last;
    uint64_t key;

    if (ipc_get(k->request, "envelope", &last) < 0)
        return ERR_PROTOCOL;
    k->envelope = last;
    if (ipc_get_u64(k->request, "key", &key) < 0)
        return 0;
    int rc = receiver_take_part(k->receiver, key, &k->joined);
    if (rc == 0)
        rc = str_append(&k->joined, last);
    k->envelope = str_span(&k->joined);
    return rc;
}

/* Everything a hostile receiver could say wrong. */
static int check_message(const struct commit *k, const struct queue_message *m)
{
    struct span content = ipc_content(k->request);
    uint64_t number, size = 0;

    if (ipc_get_u64(k->request, "number", &number) < 0 || number != m->id.number || number == 0 ||
        m->commit.n != 16 || m->recipients.len == 0 || m->id.time_us <= 0 || m->arrival_us <= 0)
        return ERR_PROTOCOL;
    for (size_t i = 0; i < m->extents.len; i++) {
        const struct queue_extent *e = &m->extents.items[i];

        if (m->file == 0 && (e->offset > content.n || e->length > content.n - e->offset))
            return ERR_PROTOCOL;
        size += e->length;
    }
    if (size != m->size || (m->file != 0 && content.n > 0))
        return ERR_PROTOCOL;
    return m->file != 0 && ledger_file_is_used(m->file) ? ERR_DENIED : 0;
}

static uint64_t stored_end(const struct queue_message *m)
{
    uint64_t end = 0;

    for (size_t i = 0; i < m->extents.len; i++)
        if (m->extents.items[i].offset + m->extents.items[i].length > end)
            end = m->extents.items[i].offset + m->extents.items[i].length;
    return end;
}

static int decode_commit(struct commit *k)
{
    int rc = join_envelope(k);

    if (rc == 0)
        rc = ledger_error();
    if (rc < 0)
        return rc;
    struct journal_record r = {.head = k->envelope, .body = ipc_content(k->request)};
    rc = loaded_from_message(&k->loaded, &r, active_count() < KEEP_CONTENT_BELOW);
    if (rc == 0)
        rc = check_message(k, &k->loaded.message);
    if (rc == 0)
        k->commit_hash = ledger_commit_hash(k->loaded.message.commit);
    return rc;
}

static void queue_commit_record(struct commit *k)
{
    list_append(&waiting, &k->link);
    task_cond_signal(&arrived);
}

/* Large content is durable before the record that names it. */
static void run_file_commit(void *arg)
{
    struct commit *k = arg;
    const struct queue_message *m = &k->loaded.message;
    int rc = ledger_sync_file(m->file, stored_end(m));

    if (rc == 0) {
        queue_commit_record(k);
        return;
    }
    log_error("queue: large message %016llx: %s", (unsigned long long)m->file, error_text(rc));
    ledger_drop_file(m->file);
    receiver_reply_error(k->receiver, k->request, rc);
    commit_free(k);
}

/* The same number twice at once would be two messages with one id. A commit that
 * is under way owns its file: the client cannot drop it any more. */
static int enter_flight(struct commit *k)
{
    uint64_t number = k->loaded.message.id.number, file = k->loaded.message.file;

    if (entry_find(number) != NULL)
        return ledger_was_committed(number, k->commit_hash) ? ERR_EXISTS : ERR_DENIED;
    if (find_in_flight(number) != NULL)
        return ERR_TEMPORARY;
    if (hash_insert(&in_flight, &k->by_number, hash_number(number)) < 0)
        return -ENOMEM;
    k->is_in_flight = true;
    (void)receiver_forget_file(k->receiver, file);
    return 0;
}

void commit_begin(struct receiver *r, struct ipc_in *request)
{
    struct commit *k = NEW(struct commit);

    if (k == NULL) {
        receiver_reply_error(r, request, -ENOMEM);
        ipc_in_free(request);
        return;
    }
    k->receiver = r;
    receiver_hold(r);
    k->request = request;
    list_init(&k->link);
    loaded_init(&k->loaded);
    int rc = decode_commit(k);
    if (rc == 0)
        rc = enter_flight(k);
    if (rc == 0 && k->loaded.message.file != 0) {
        if (tasks_spawn("commit-file", run_file_commit, k) == 0)
            return;
        ledger_drop_file(k->loaded.message.file);
        rc = -ENOMEM;
    }
    if (rc == 0) {
        queue_commit_record(k);
        return;
    }
    /* The same commit again, after a lost connection: it is there. */
    receiver_reply_error(r, request, rc == ERR_EXISTS ? 0 : rc);
    commit_free(k);
}

/* The record is durable (rc 0): the message exists from here on. */
static void conclude(struct commit *k, const struct journal_record *r, int rc)
{
    struct queue_message *m = &k->loaded.message;
    struct entry *e = rc == 0 ? entry_new(m->id.number) : NULL;

    if (rc == 0 && e == NULL)
        rc = -ENOMEM; /* it comes back at the next start: a duplicate at worst */
    receiver_reply_error(k->receiver, k->request, rc);
    if (rc < 0) {
        log_warn("queue: a message was not accepted: %s", error_text(rc));
        /* The next start may find its record all the same: its file is not
         * removed now, but when it is stale. */
        large_forget(m->file);
        commit_free(k);
        return;
    }
    e->id = m->id;
    e->file = m->file;
    e->size = m->size;
    e->arrival_us = m->arrival_us;
    e->commit_hash = k->commit_hash;
    e->flags = (uint8_t)(k->loaded.flags & ENTRY_FLAGS);
    entry_set_message(e, &r->at);
    large_use(m->file);
    leave_flight(k); /* while it has its number */
    active_accept(e, &k->loaded);
    loaded_init(&k->loaded);
    commit_free(k);
}

static void write_batch(struct commit **batch, struct journal_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        records[i] = (struct journal_record){.kind = RECORD_MESSAGE,
                                             .head = batch[i]->envelope,
                                             .body = ipc_content(batch[i]->request)};
    int rc = FAULT("qmgr-commit");
    if (rc == 0)
        rc = ledger_commit(records, count);
    for (size_t i = 0; i < count; i++)
        conclude(batch[i], &records[i], rc);
}

void commit_run_writer(void *arg)
{
    struct commit **batch = mem_new_or_die(BATCH_MAX * sizeof(*batch));
    struct journal_record *records = mem_new_or_die(BATCH_MAX * sizeof(*records));
    int rc = 0;

    while (rc == 0) {
        size_t count = 0;

        while (count < BATCH_MAX && !list_is_empty(&waiting))
            batch[count++] = LIST_ITEM(list_pop(&waiting), struct commit, link);
        if (count > 0)
            write_batch(batch, records, count);
        else
            rc = task_cond_wait(&arrived, DEADLINE_NONE);
    }
    free(batch);
    free(records);
}
