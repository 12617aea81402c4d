#include "qmgr/receiver.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/array.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "qmgr/active.h"
#include "qmgr/commit.h"
#include "qmgr/ledger.h"
#include "queue/internal.h"

enum {
    IDS_MAX = 1024,
    PARTS_MAX = 16, /* long envelopes that one receiver sends at once */
};

struct receiver {
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

static struct list receivers = {&receivers, &receivers};
static int queue_directory_fd = -1;

void receiver_init(int queue_fd)
{
    queue_directory_fd = queue_fd;
}

void receiver_hold(struct receiver *r)
{
    r->references++;
}

void receiver_release(struct receiver *r)
{
    if (--r->references > 0)
        return;
    while (!list_is_empty(&r->parts)) {
        struct part *p = LIST_ITEM(list_pop(&r->parts), struct part, link);
        str_fini(&p->envelope);
        free(p);
    }
    for (size_t i = 0; i < r->files.len; i++)
        ledger_drop_file(r->files.items[i]);
    array_free(&r->files);
    free(r);
}

/* --- replies --- */

static void begin_reply(struct ipc_out *m, const struct ipc_in *request, int error)
{
    *m = (struct ipc_out){0};
    ipc_begin_reply(m, request);
    ipc_put_i64(m, "error", error);
}

/* A receiver that does not read loses its connection, not our time. */
static void send_reply(struct receiver *r, struct ipc_out *m)
{
    if (r->ipc != NULL && ipc_post(r->ipc, m) < 0) {
        struct ipc_conn *ipc = r->ipc;

        r->ipc = NULL;
        ipc_close(ipc);
    }
    ipc_out_fini(m);
}

void receiver_reply_error(struct receiver *r, const struct ipc_in *request, int error)
{
    struct ipc_out m;

    begin_reply(&m, request, error);
    send_reply(r, &m);
}

/* --- what it has begun --- */

static struct part *find_part(struct receiver *r, uint64_t key)
{
    LIST_FOR(item, &r->parts)
    {
        struct part *p = LIST_ITEM(item, struct part, link);
        if (p->key == key)
            return p;
    }
    return NULL;
}

int receiver_take_part(struct receiver *r, uint64_t key, struct str *envelope)
{
    struct part *p = find_part(r, key);

    if (p == NULL)
        return ERR_PROTOCOL;
    *envelope = p->envelope;
    list_remove(&p->link);
    r->part_count--;
    free(p);
    return 0;
}

bool receiver_forget_file(struct receiver *r, uint64_t file)
{
    for (size_t i = 0; i < r->files.len; i++) {
        if (r->files.items[i] == file) {
            array_remove(&r->files, i);
            return true;
        }
    }
    return false;
}

/* --- requests --- */

static int answer_ids(struct receiver *r, const struct ipc_in *request)
{
    struct ipc_out m;
    uint64_t count, first = 0;

    if (ipc_get_u64(request, "count", &count) < 0 || count == 0)
        return ERR_PROTOCOL;
    if (count > IDS_MAX)
        count = IDS_MAX;
    int rc = ledger_error();
    /* A queue that is read-only: there is no use in beginning a transaction. */
    if (rc == 0)
        rc = ledger_take_ids((uint32_t)count, &first);
    begin_reply(&m, request, rc);
    ipc_put_u64(&m, "first", first);
    ipc_put_u64(&m, "count", count);
    send_reply(r, &m);
    return 0;
}

static int answer_space(struct receiver *r, const struct ipc_in *request)
{
    struct ipc_out m;
    struct statvfs fs;
    int rc = fstatvfs(queue_directory_fd, &fs) < 0 ? -errno : 0;

    begin_reply(&m, request, rc);
    if (rc == 0)
        ipc_put_u64(&m, "free", (uint64_t)fs.f_bavail * fs.f_frsize);
    send_reply(r, &m);
    return 0;
}

static int answer_content(struct receiver *r, const struct ipc_in *request)
{
    struct ipc_out m;
    uint64_t file = 0;
    int fd = -1;
    int rc = ledger_error();

    if (rc == 0)
        rc = ledger_new_file(&file, &fd);
    if (rc == 0) {
        uint64_t *slot = array_push(&r->files);

        if (slot != NULL) {
            *slot = file;
        } else {
            ledger_drop_file(file);
            rc = -ENOMEM;
        }
    }
    begin_reply(&m, request, rc);
    if (rc == 0) {
        ipc_put_u64(&m, "file", file);
        ipc_put_fd(&m, "descriptor", fd);
    }
    send_reply(r, &m);
    fd_close(&fd);
    return 0;
}

static int answer_drop(struct receiver *r, const struct ipc_in *request)
{
    uint64_t file;

    if (ipc_get_u64(request, "file", &file) < 0)
        return ERR_PROTOCOL;
    if (receiver_forget_file(r, file))
        ledger_drop_file(file);
    receiver_reply_error(r, request, 0);
    return 0;
}

static int answer_part(struct receiver *r, const struct ipc_in *request)
{
    struct span piece;
    uint64_t key;

    if (ipc_get_u64(request, "key", &key) < 0 || ipc_get(request, "envelope", &piece) < 0)
        return ERR_PROTOCOL;
    struct part *p = find_part(r, key);
    if (p == NULL) {
        p = r->part_count < PARTS_MAX ? NEW(struct part) : NULL;
        if (p == NULL) {
            receiver_reply_error(r, request, -ENOMEM);
            return 0;
        }
        p->key = key;
        p->envelope.max = QUEUE_ENVELOPE_MAX;
        list_append(&r->parts, &p->link);
        r->part_count++;
    }
    receiver_reply_error(r, request, str_append(&p->envelope, piece));
    return 0;
}

static int answer_committed(struct receiver *r, const struct ipc_in *request)
{
    struct ipc_out m;
    struct span commit;
    uint64_t number;
    int rc;

    if (ipc_get_u64(request, "number", &number) < 0 || ipc_get(request, "commit", &commit) < 0)
        return ERR_PROTOCOL;
    rc = commit_wait(number);
    if (rc < 0)
        return rc;
    begin_reply(&m, request, 0);
    ipc_put_bool(&m, "committed", ledger_was_committed(number, ledger_commit_hash(commit)));
    send_reply(r, &m);
    return 0;
}

/* An agent presents what it could not tell the qmgr before. That it had the
 * message shows in the commit id, which nobody else knows: otherwise any
 * receiver could end the mail of all others. */
static int answer_results(struct receiver *r, const struct ipc_in *request)
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
    receiver_reply_error(r, request, rc);
    return 0;
}

static const struct {
    const char *kind;
    int (*answer)(struct receiver *r, const struct ipc_in *request);
} requests[] = {
    {"ids", answer_ids},     {"content", answer_content},     {"drop", answer_drop},
    {"part", answer_part},   {"committed", answer_committed}, {"results", answer_results},
    {"space", answer_space},
};

/* Takes the request. Negative: the peer broke the protocol. */
static int answer(struct receiver *r, struct ipc_in *request)
{
    int rc = ERR_PROTOCOL;

    if (ipc_is(request, "commit")) {
        commit_begin(r, request);
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        if (ipc_is(request, requests[i].kind))
            rc = requests[i].answer(r, request);
    ipc_in_free(request);
    return rc;
}

void receiver_serve(int fd)
{
    struct receiver *r = NEW(struct receiver);
    struct ipc_in *request;
    int rc;

    if (r == NULL) {
        fd_close(&fd);
        return;
    }
    r->references = 1;
    list_init(&r->parts);
    list_append(&receivers, &r->link);
    rc = ipc_accept(&r->ipc, fd, QUEUE_PROTOCOL, QUEUE_PROTOCOL_VERSION, deadline_in(IPC_HELLO_MS));
    while (rc == 0 && r->ipc != NULL) {
        rc = ipc_receive(r->ipc, &request, DEADLINE_NONE);
        if (rc == 0)
            rc = answer(r, request);
        if (rc == ERR_PROTOCOL && r->ipc != NULL)
            log_warn("queue: process %d broke the protocol", (int)ipc_peer_pid(r->ipc));
    }
    list_remove(&r->link);
    if (r->ipc != NULL)
        ipc_close(r->ipc);
    r->ipc = NULL;
    receiver_release(r);
}

void receiver_close_all(void)
{
    LIST_FOR(item, &receivers)
    {
        struct receiver *r = LIST_ITEM(item, struct receiver, link);
        struct ipc_conn *ipc = r->ipc;

        r->ipc = NULL;
        ipc_close(ipc);
    }
}

bool receiver_is_any(void)
{
    return !list_is_empty(&receivers);
}
