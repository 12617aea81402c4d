#include "qmgr/commit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "qmgr/active.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "qmgr/large.h"
#include "qmgr/ledger.h"
#include "queue/internal.h"
#include "qmgr/tasks.h"

enum {
    IDS_MAX = 1024,
    HELLO_MS = 10000,
    BATCH_MAX = 256,           /* messages of one call of the journal */
    PARTS_MAX = 16,            /* long envelopes that one receiver sends at once */
    KEEP_CONTENT_BELOW = 2000, /* active messages whose content stays in memory */
};

struct client {
    struct list link;
    struct ipc_conn *ipc; /* NULL once it is closed */
    unsigned references;  /* the serving task, and commits under way */
    struct list parts;    /* struct part.link */
    unsigned part_count;
    ARRAY(uint64_t) files; /* made for it and not yet committed */
};

struct part {
    struct list link;
    uint64_t key;
    struct str envelope;
};

/* A message on its way into the journal. */
struct commit {
    struct list link;
    struct hash_node by_number; /* in `in_flight` while is_in_flight */
    bool is_in_flight;
    struct client *client;
    struct ipc_in *request; /* holds the content */
    struct str joined;      /* envelope that came in parts */
    struct span envelope;
    struct loaded loaded;
    uint64_t commit_hash;
};

static struct list clients = {&clients, &clients};
static struct list waiting = {&waiting, &waiting};
static struct task_cond arrived = {{&arrived.waiters, &arrived.waiters}};
/* Commits whose outcome is not known yet, by the number of their message. */
static struct hash in_flight;
static struct task_cond concluded = {{&concluded.waiters, &concluded.waiters}};
static int queue_directory_fd = -1;

void commit_init(int queue_fd)
{
    queue_directory_fd = queue_fd;
}

static void client_release(struct client *c)
{
    if (--c->references > 0)
        return;
    while (!list_is_empty(&c->parts)) {
        struct part *p = LIST_ITEM(list_pop(&c->parts), struct part, link);
        str_fini(&p->envelope);
        free(p);
    }
    for (size_t i = 0; i < c->files.len; i++)
        ledger_drop_file(c->files.items[i]);
    array_free(&c->files);
    free(c);
}

/* --- replies --- */

static void begin_reply(struct ipc_out *m, const struct ipc_in *request, int error)
{
    *m = (struct ipc_out){0};
    ipc_begin_reply(m, request);
    ipc_put_i64(m, "error", error);
}

/* A receiver that does not read loses its connection, not our time. */
static void send_reply(struct client *c, struct ipc_out *m)
{
    if (c->ipc != NULL && ipc_post(c->ipc, m) < 0) {
        struct ipc_conn *ipc = c->ipc;

        c->ipc = NULL;
        ipc_close(ipc);
    }
    ipc_out_fini(m);
}

static void reply_error(struct client *c, const struct ipc_in *request, int error)
{
    struct ipc_out m;

    begin_reply(&m, request, error);
    send_reply(c, &m);
}

/* --- space --- */

/* queue_minfree, looked at once a second. */
static int check_space(void)
{
    static int64_t looked_at;
    static int verdict;
    int64_t now = clock_mono_ms();
    struct statvfs fs;

    if (ledger_error() < 0)
        return ledger_error();
    if (looked_at != 0 && now - looked_at < 1000)
        return verdict;
    looked_at = now;
    if (qmgr_config.minfree == 0 || fstatvfs(queue_directory_fd, &fs) < 0) {
        verdict = 0;
        return verdict;
    }
    uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
    int before = verdict;
    verdict = available < qmgr_config.minfree ? -ENOSPC : 0;
    if (verdict < 0 && before == 0)
        log_warn("not enough free space in mail queue: %llu bytes < queue_minfree %llu",
                 (unsigned long long)available, (unsigned long long)qmgr_config.minfree);
    return verdict;
}

/* --- commit --- */

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
    client_release(k->client);
    ipc_in_free(k->request);
    loaded_fini(&k->loaded);
    str_fini(&k->joined);
    free(k);
}

static struct part *find_part(struct client *c, uint64_t key)
{
    LIST_FOR(item, &c->parts)
    {
        struct part *p = LIST_ITEM(item, struct part, link);
        if (p->key == key)
            return p;
    }
    return NULL;
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
    struct part *p = find_part(k->client, key);
    if (p == NULL)
        return ERR_PROTOCOL;
    k->joined = p->envelope;
    list_remove(&p->link);
    k->client->part_count--;
    free(p);
    int rc = str_append(&k->joined, last);
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
        rc = check_space();
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
    reply_error(k->client, k->request, rc);
    commit_free(k);
}

/* The same number twice at once would be two messages with one id. A commit that
 * is under way owns its file: the client cannot drop it any more. */
static int enter_flight(struct commit *k)
{
    uint64_t number = k->loaded.message.id.number, file = k->loaded.message.file;
    struct client *c = k->client;

    if (entry_find(number) != NULL)
        return ledger_was_committed(number, k->commit_hash) ? ERR_EXISTS : ERR_DENIED;
    if (find_in_flight(number) != NULL)
        return ERR_TEMPORARY;
    if (hash_insert(&in_flight, &k->by_number, hash_number(number)) < 0)
        return -ENOMEM;
    k->is_in_flight = true;
    for (size_t i = 0; file != 0 && i < c->files.len; i++) {
        if (c->files.items[i] == file) {
            array_remove(&c->files, i);
            break;
        }
    }
    return 0;
}

/* Takes the request. */
static void answer_commit(struct client *c, struct ipc_in *request)
{
    struct commit *k = NEW(struct commit);

    if (k == NULL) {
        reply_error(c, request, -ENOMEM);
        ipc_in_free(request);
        return;
    }
    k->client = c;
    c->references++;
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
    reply_error(c, request, rc == ERR_EXISTS ? 0 : rc);
    commit_free(k);
}

/* The record is durable (rc 0): the message exists from here on. */
static void conclude(struct commit *k, const struct journal_record *r, int rc)
{
    struct queue_message *m = &k->loaded.message;
    struct entry *e = rc == 0 ? entry_new(m->id.number) : NULL;

    if (rc == 0 && e == NULL)
        rc = -ENOMEM; /* it comes back at the next start: a duplicate at worst */
    reply_error(k->client, k->request, rc);
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

/* --- the other requests --- */

static int answer_ids(struct client *c, const struct ipc_in *request)
{
    struct ipc_out m;
    uint64_t count, first = 0;

    if (ipc_get_u64(request, "count", &count) < 0 || count == 0)
        return ERR_PROTOCOL;
    if (count > IDS_MAX)
        count = IDS_MAX;
    int rc = check_space();
    /* Without space there is no use in beginning a transaction. */
    if (rc == 0)
        rc = ledger_take_ids((uint32_t)count, &first);
    begin_reply(&m, request, rc);
    ipc_put_u64(&m, "first", first);
    ipc_put_u64(&m, "count", count);
    send_reply(c, &m);
    return 0;
}

static int answer_content(struct client *c, const struct ipc_in *request)
{
    struct ipc_out m;
    uint64_t file = 0;
    int fd = -1;
    int rc = check_space();

    if (rc == 0)
        rc = ledger_new_file(&file, &fd);
    if (rc == 0) {
        uint64_t *slot = array_push(&c->files);
        if (slot != NULL)
            *slot = file;
    }
    begin_reply(&m, request, rc);
    if (rc == 0) {
        ipc_put_u64(&m, "file", file);
        ipc_put_fd(&m, "descriptor", fd);
    }
    send_reply(c, &m);
    fd_close(&fd);
    return 0;
}

static int answer_drop(struct client *c, const struct ipc_in *request)
{
    uint64_t file;

    if (ipc_get_u64(request, "file", &file) < 0)
        return ERR_PROTOCOL;
    for (size_t i = 0; i < c->files.len; i++) {
        if (c->files.items[i] == file) {
            array_remove(&c->files, i);
            ledger_drop_file(file);
            break;
        }
    }
    reply_error(c, request, 0);
    return 0;
}

static int answer_part(struct client *c, const struct ipc_in *request)
{
    struct span piece;
    uint64_t key;

    if (ipc_get_u64(request, "key", &key) < 0 || ipc_get(request, "envelope", &piece) < 0)
        return ERR_PROTOCOL;
    struct part *p = find_part(c, key);
    if (p == NULL) {
        p = c->part_count < PARTS_MAX ? NEW(struct part) : NULL;
        if (p == NULL) {
            reply_error(c, request, -ENOMEM);
            return 0;
        }
        p->key = key;
        p->envelope.max = QUEUE_ENVELOPE_MAX;
        list_append(&c->parts, &p->link);
        c->part_count++;
    }
    reply_error(c, request, str_append(&p->envelope, piece));
    return 0;
}

static int answer_committed(struct client *c, const struct ipc_in *request)
{
    struct ipc_out m;
    struct span commit;
    uint64_t number;
    int rc = 0;

    if (ipc_get_u64(request, "number", &number) < 0 || ipc_get(request, "commit", &commit) < 0)
        return ERR_PROTOCOL;
    while (rc == 0 && find_in_flight(number) != NULL)
        rc = task_cond_wait(&concluded, DEADLINE_NONE);
    if (rc < 0)
        return rc;
    begin_reply(&m, request, 0);
    ipc_put_bool(&m, "committed", ledger_was_committed(number, ledger_commit_hash(commit)));
    send_reply(c, &m);
    return 0;
}

/* An agent presents what it could not tell the qmgr before. That it had the
 * message shows in the commit id, which nobody else knows: otherwise any
 * receiver could end the mail of all others. */
static int answer_results(struct client *c, const struct ipc_in *request)
{
    struct ipc_walk walk = {0};
    struct queue_id id;
    struct span text, commit;
    uint64_t attempt;
    int rc = 0;

    if (ipc_get(request, "queue-id", &text) < 0 || queue_id_parse(text, &id) < 0 ||
        ipc_get(request, "commit", &commit) < 0 || ipc_get_u64(request, "attempt", &attempt) < 0 ||
        attempt > UINT32_MAX)
        return ERR_PROTOCOL;
    if (entry_find(id.number) != NULL &&
        !ledger_was_committed(id.number, ledger_commit_hash(commit)))
        return ERR_PROTOCOL;
    while (rc == 0 && ipc_walk(request, &walk)) {
        struct entry *e = entry_find(id.number);

        if (e == NULL)
            break; /* gone: all its results were known */
        if (span_eq(walk.name, SPAN_LIT("result")))
            rc = active_late_result(e, (uint32_t)attempt, walk.value);
    }
    if (rc == 0)
        rc = ledger_flush();
    reply_error(c, request, rc);
    return 0;
}

static const struct {
    const char *kind;
    int (*answer)(struct client *c, const struct ipc_in *request);
} requests[] = {
    {"ids", answer_ids},   {"content", answer_content},     {"drop", answer_drop},
    {"part", answer_part}, {"committed", answer_committed}, {"results", answer_results},
};

/* Takes the request. Negative: the peer broke the protocol. */
static int answer(struct client *c, struct ipc_in *request)
{
    int rc = ERR_PROTOCOL;

    if (ipc_is(request, "commit")) {
        answer_commit(c, request);
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        if (ipc_is(request, requests[i].kind))
            rc = requests[i].answer(c, request);
    ipc_in_free(request);
    return rc;
}

void commit_serve(int fd)
{
    struct client *c = NEW(struct client);
    struct ipc_in *request;
    int rc;

    if (c == NULL) {
        fd_close(&fd);
        return;
    }
    c->references = 1;
    list_init(&c->parts);
    list_append(&clients, &c->link);
    rc = ipc_accept(&c->ipc, fd, QUEUE_PROTOCOL, QUEUE_PROTOCOL_VERSION, deadline_in(HELLO_MS));
    while (rc == 0 && c->ipc != NULL) {
        rc = ipc_receive(c->ipc, &request, DEADLINE_NONE);
        if (rc == 0)
            rc = answer(c, request);
        if (rc == ERR_PROTOCOL && c->ipc != NULL)
            log_warn("queue: process %d broke the protocol", (int)ipc_peer_pid(c->ipc));
    }
    list_remove(&c->link);
    if (c->ipc != NULL)
        ipc_close(c->ipc);
    c->ipc = NULL;
    client_release(c);
}

void commit_close_all(void)
{
    LIST_FOR(item, &clients)
    {
        struct client *c = LIST_ITEM(item, struct client, link);
        struct ipc_conn *ipc = c->ipc;

        c->ipc = NULL;
        ipc_close(ipc);
    }
}
