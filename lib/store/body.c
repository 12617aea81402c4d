/* Reading messages: heads, whole bodies. */
#include "store/body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "store/blob.h"

/* --- one message --- */

int body_record(struct store_account *a, const struct index_message *m, struct str *text,
                struct record *r, struct journal_record *record)
{
    int rc =
        journal_shared_read_head(a->journal, m->segment, m->offset, BODY_HEAD_MAX, text, record);

    if (rc == 0)
        rc = record_decode(record->kind, record->head, r);
    if (rc == 0 && (record->kind != RECORD_DELIVER && record->kind != RECORD_MOVED))
        rc = ERR_CORRUPT;
    if (rc == 0 && memcmp(r->hot.guid, m->guid, GUID_SIZE) != 0)
        rc = ERR_CORRUPT;
    return rc;
}

static int locate_blob(struct store_account *a, const struct index_message *m,
                       struct store_body *out)
{
    out->offset = 0;
    out->length = m->size;
    return blob_open(a->dirfd, m->guid, &out->fd);
}

/* In the journal; out->fd stays the journal's. */
static int locate_record(struct store_account *a, const struct index_message *m,
                         struct store_body *out)
{
    struct journal_record record;
    struct disk_file *file;
    struct str text = {0};
    struct record r;
    int rc = body_record(a, m, &text, &r, &record);

    str_fini(&text);
    if (rc == 0)
        rc = journal_shared_file(a->journal, m->segment, &file);
    if (rc < 0)
        return rc;
    out->offset = record.at.offset + record.at.length - record.body.n;
    out->length = record.body.n;
    out->fd = disk_real_descriptor(file);
    return 0;
}

int body_locate(struct store_account *a, const struct index_message *m, struct store_body *out)
{
    int rc;

    out->fd = -1;
    if (m->segment == 0)
        return locate_blob(a, m, out);
    rc = locate_record(a, m, out);
    if (rc < 0)
        return rc;
    out->fd = fcntl(out->fd, F_DUPFD_CLOEXEC, 0);
    return out->fd < 0 ? -errno : 0;
}

struct one {
    uint32_t box, uid;
    struct index_message message;
};

static int read_one(struct index_txn *t, void *arg)
{
    struct one *one = arg;

    return index_message(t, one->box, one->uid, &one->message);
}

int body_with_message(struct store_account *a, uint32_t box, uint32_t uid, body_message_fn *fn,
                      void *arg)
{
    struct one one = {.box = box, .uid = uid};
    int rc = account_need_index(a);

    for (int i = 0; rc == 0 && i < 2; i++) {
        rc = i == 0 ? index_view(a->index, read_one, &one) : account_view(a, read_one, &one);
        if (rc == ERR_NOT_FOUND && i == 0) {
            rc = 0;
            continue; /* not applied yet */
        }
        if (rc == 0)
            rc = fn(a, &one.message, arg);
        if (rc != ERR_NOT_FOUND || i > 0)
            break;
        rc = 0;
    }
    return rc;
}

/* --- bodies --- */

struct body_job {
    struct store_view *view;
    uint32_t uid;
    struct store_body body;
    struct str *out;
};

static int locate(struct store_account *a, const struct index_message *m, void *arg)
{
    return body_locate(a, m, &((struct body_job *)arg)->body);
}

static int open_body(struct store_account *a, void *arg)
{
    struct body_job *job = arg;

    return body_with_message(a, job->view->mailbox, job->uid, locate, job);
}

int store_body_open(struct store_view *v, uint32_t uid, struct store_body *out)
{
    struct body_job job = {.view = v, .uid = uid};
    int rc = account_run(v->account, TASK_POOL_STORE, open_body, &job);

    *out = job.body;
    if (rc < 0)
        out->fd = -1;
    return rc;
}

static int read_range(const struct store_body *body, uint64_t length, struct str *out)
{
    size_t start = out->len;
    int rc;

    if (length > SIZE_MAX / 2)
        return ERR_TOO_LONG;
    rc = str_reserve(out, (size_t)length);
    if (rc < 0)
        return rc;
    rc = fd_pread_full(body->fd, out->data + start, (size_t)length, body->offset);
    if (rc < 0)
        return rc == ERR_EOF ? ERR_CORRUPT : rc;
    out->len = start + (size_t)length;
    out->data[out->len] = '\0';
    return 0;
}

int body_read(struct store_account *a, const struct index_message *m, uint64_t limit,
              struct str *out)
{
    struct store_body body = {.fd = -1};
    bool is_blob = m->segment == 0;
    int rc = is_blob ? locate_blob(a, m, &body) : locate_record(a, m, &body);

    if (rc == 0)
        rc = read_range(&body, body.length < limit ? body.length : limit, out);
    if (is_blob)
        fd_close(&body.fd);
    return rc;
}

static int read_whole(struct store_account *a, const struct index_message *m, void *arg)
{
    return body_read(a, m, UINT64_MAX, ((struct body_job *)arg)->out);
}

static int read_body(struct store_account *a, void *arg)
{
    struct body_job *job = arg;

    return body_with_message(a, job->view->mailbox, job->uid, read_whole, job);
}

int store_body_read(struct store_view *v, uint32_t uid, struct str *out)
{
    struct body_job job = {.view = v, .uid = uid, .out = out};

    return account_run(v->account, TASK_POOL_STORE, read_body, &job);
}

/* --- pieces of an open body --- */

struct piece_job {
    const struct store_body *body;
    uint64_t offset;
    char *data;
    size_t n;
    int rc;
};

static void read_piece(void *arg)
{
    struct piece_job *job = arg;

    job->rc = fd_pread_full(job->body->fd, job->data, job->n, job->offset);
}

int store_body_read_at(const struct store_body *body, uint64_t offset, char *data, size_t n)
{
    struct piece_job job = {body, body->offset + offset, data, n, 0};
    struct iovec iov = {data, n};
    int rc;

    if (preadv2(body->fd, &iov, 1, (off_t)job.offset, RWF_NOWAIT) == (ssize_t)n)
        return 0;
    rc = task_offload(TASK_POOL_STORE, read_piece, &job);
    return rc < 0 ? rc : job.rc;
}

/* --- heads --- */

struct heads_job {
    struct store_view *view;
    const uint32_t *uids;
    size_t count, limit;
    store_text_fn *each;
    void *arg;
    struct str text;
};

static int read_head(struct store_account *a, const struct index_message *m, void *arg)
{
    struct heads_job *job = arg;

    str_clear(&job->text);
    return body_read(a, m, job->limit, &job->text);
}

static int read_heads(struct store_account *a, void *arg)
{
    struct heads_job *job = arg;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->count; i++) {
        rc = body_with_message(a, job->view->mailbox, job->uids[i], read_head, job);
        if (rc == 0)
            job->each(job->arg, i, str_span(&job->text));
        else if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT)
            rc = 0;
    }
    str_fini(&job->text);
    return rc;
}

int store_each_head(struct store_view *v, const uint32_t *uids, size_t count, size_t limit,
                    store_text_fn *each, void *arg)
{
    struct heads_job job = {
        .view = v, .uids = uids, .count = count, .limit = limit, .each = each, .arg = arg};

    return account_run(v->account, TASK_POOL_STORE, read_heads, &job);
}

struct kept_heads {
    struct arena *arena;
    struct span *out;
    int rc;
};

static void keep_head(void *arg, size_t i, struct span text)
{
    struct kept_heads *kept = arg;

    if (kept->rc == 0)
        kept->rc = arena_copy(kept->arena, text, &kept->out[i]);
}

int store_heads(struct store_view *v, const uint32_t *uids, size_t count, size_t limit,
                struct arena *arena, struct span *out)
{
    struct kept_heads kept = {.arena = arena, .out = out};
    int rc;

    for (size_t i = 0; i < count; i++)
        out[i] = SPAN_NONE;
    rc = store_each_head(v, uids, count, limit, keep_head, &kept);
    return rc < 0 ? rc : kept.rc;
}
