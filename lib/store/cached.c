/* What the index keeps of messages: made at delivery, else by who reads first. */
#include "store/cached.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "mail/header.h"
#include "mail/imap.h"
#include "store/body.h"

enum {
    DESCRIBE_BUDGET = 64 * 1024 * 1024,
    FIELDS_MAX = 64 * 1024, /* more are read from the message each time */
    HEAD_OCTETS = 8192,     /* most headers are shorter */
};

int cached_describe(struct span message, struct str *envelope, struct str *bodystructure)
{
    struct budget budget;
    struct arena scratch;
    int rc;

    budget_init(&budget, DESCRIBE_BUDGET);
    arena_init(&scratch, &budget);
    rc = imap_describe(&scratch, message, envelope, bodystructure);
    arena_reset(&scratch);
    return rc;
}

struct span cached_fields(struct span message, struct str *text)
{
    str_clear(text);
    if (imap_envelope_fields(text, message) < 0 || text->len > FIELDS_MAX) {
        str_fini(text); /* a caller has hundreds of them at once */
        return SPAN_NONE;
    }
    return str_span(text);
}

/* What was made from the message itself, for who asks next. */
static int keep(struct index_txn *t, uint32_t box, uint32_t uid, const struct index_cached *made)
{
    struct index_message m;
    struct index_cached c = {0};
    int rc = index_message(t, box, uid, &m);

    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    rc = index_cached(t, box, uid, &c);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    if (c.envelope.n == 0) {
        c.envelope = made->envelope;
        c.bodystructure = made->bodystructure;
    }
    if (c.fields.n == 0)
        c.fields = made->fields;
    return index_cached_put(t, box, uid, &c);
}

/* --- ENVELOPE and BODYSTRUCTURE --- */

struct cached_job {
    struct store_view *view;
    const uint32_t *uids;
    size_t count;
    struct arena *arena;
    struct store_cached *out;
    size_t octets, octets_max;
    size_t missing; /* not in the index, which lost them at a rebuild */
};

/* Message i is the last one that there is room for. */
static bool is_enough(struct cached_job *job, size_t i)
{
    job->octets += job->out[i].envelope.n + job->out[i].bodystructure.n;
    return job->octets >= job->octets_max;
}

static int copy_cached(struct cached_job *job, size_t i, const struct index_cached *from)
{
    struct store_cached *c = &job->out[i];

    if (from->envelope.n == 0)
        return 0;
    if (arena_copy(job->arena, from->envelope, &c->envelope) < 0 ||
        arena_copy(job->arena, from->bodystructure, &c->bodystructure) < 0)
        return -ENOMEM;
    return 0;
}

static int read_cached(struct index_txn *t, void *arg)
{
    struct cached_job *job = arg;
    int rc = 0;

    job->missing = 0;
    job->octets = 0;
    for (size_t i = 0; rc == 0 && i < job->count; i++) {
        struct index_cached c;
        job->out[i] = (struct store_cached){0};
        rc = index_cached(t, job->view->mailbox, job->uids[i], &c);
        if (rc == 0)
            rc = copy_cached(job, i, &c);
        else if (rc == ERR_NOT_FOUND)
            rc = 0;
        job->missing += job->out[i].envelope.p == NULL;
        if (is_enough(job, i))
            job->count = i + 1;
    }
    return rc;
}

/* From the message's own octets: its record had no room for them. */
static int describe_body(struct store_account *a, const struct index_message *m,
                         struct str *envelope, struct str *bodystructure)
{
    struct str text = {0};
    int rc = body_read(a, m, UINT64_MAX, &text);

    if (rc == 0)
        rc = cached_describe(str_span(&text), envelope, bodystructure);
    str_fini(&text);
    return rc;
}

struct restore {
    struct cached_job *job;
    size_t i;
};

static int restore_cached(struct store_account *a, const struct index_message *m, void *arg)
{
    struct restore *restore = arg;
    struct str text = {0}, envelope = {0}, bodystructure = {0};
    struct index_cached c = {0};
    struct journal_record record;
    struct record r = {0};
    int rc = m->segment == 0 ? 0 : body_record(a, m, &text, &r, &record);

    if (rc == 0 && r.envelope.n == 0) {
        rc = describe_body(a, m, &envelope, &bodystructure);
        r.envelope = str_span(&envelope);
        r.bodystructure = str_span(&bodystructure);
    }
    c.envelope = r.envelope;
    c.bodystructure = r.bodystructure;
    if (rc == 0)
        rc = copy_cached(restore->job, restore->i, &c);
    str_fini(&text);
    str_fini(&envelope);
    str_fini(&bodystructure);
    return rc;
}

static int keep_cached(struct index_txn *t, void *arg)
{
    struct cached_job *job = arg;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->count; i++) {
        const struct store_cached *c = &job->out[i];
        struct index_cached made = {.envelope = c->envelope, .bodystructure = c->bodystructure};
        if (made.envelope.n > 0)
            rc = keep(t, job->view->mailbox, job->uids[i], &made);
    }
    return rc;
}

static int cached_job(struct store_account *a, void *arg)
{
    struct cached_job *job = arg;
    int rc = account_need_index(a);

    if (rc == 0)
        rc = index_view(a->index, read_cached, job);
    if (rc < 0 || job->missing == 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < job->count; i++) {
        struct restore restore = {job, i};
        if (job->out[i].envelope.p != NULL)
            continue;
        rc = body_with_message(a, job->view->mailbox, job->uids[i], restore_cached, &restore);
        if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT)
            rc = 0;
        if (is_enough(job, i))
            job->count = i + 1;
    }
    if (rc == 0)
        (void)index_update(a->index, keep_cached, job);
    return rc;
}

int store_cached(struct store_view *v, const uint32_t *uids, size_t *count, size_t octets_max,
                 struct arena *arena, struct store_cached *out)
{
    struct cached_job job = {.view = v,
                             .uids = uids,
                             .count = *count,
                             .arena = arena,
                             .out = out,
                             .octets_max = octets_max};
    int rc = account_run(v->account, TASK_POOL_STORE, cached_job, &job);

    *count = job.count;
    return rc;
}

/* --- fields --- */

struct fields_job {
    struct store_view *view;
    const uint32_t *uids;
    size_t count;
    store_text_fn *each;
    void *arg;
    struct missing {
        size_t i;
        struct str text;
        struct span fields; /* made now */
    } * missing;
    size_t missing_count;
};

/* The ones that the index does not have are noted. */
static int read_fields(struct index_txn *t, void *arg)
{
    struct fields_job *job = arg;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->count; i++) {
        struct index_cached c = {0};
        rc = index_cached(t, job->view->mailbox, job->uids[i], &c);
        if (rc == ERR_NOT_FOUND)
            rc = 0;
        if (rc == 0 && c.fields.n > 0)
            job->each(job->arg, i, c.fields);
        else
            job->missing[job->missing_count++].i = i;
    }
    return rc;
}

/* The header alone, or the whole message when it is no longer than that. */
static int read_header(struct store_account *a, const struct index_message *m, struct str *text)
{
    int rc = body_read(a, m, HEAD_OCTETS, text);

    if (rc < 0 || m->size <= text->len || header_size(str_span(text)) < text->len)
        return rc;
    str_clear(text);
    return body_read(a, m, UINT64_MAX, text);
}

struct missing_message {
    struct fields_job *job;
    struct missing *missing;
};

static int make_fields(struct store_account *a, const struct index_message *m, void *arg)
{
    struct missing_message *one = arg;
    struct missing *missing = one->missing;
    struct str header = {0};
    int rc = read_header(a, m, &header);

    if (rc == 0) {
        missing->fields = cached_fields(str_span(&header), &missing->text);
        one->job->each(one->job->arg, missing->i,
                       missing->fields.n > 0 ? missing->fields : str_span(&header));
    }
    str_fini(&header);
    return rc;
}

static int keep_fields(struct index_txn *t, void *arg)
{
    struct fields_job *job = arg;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->missing_count; i++) {
        struct index_cached made = {.fields = job->missing[i].fields};
        if (made.fields.n > 0)
            rc = keep(t, job->view->mailbox, job->uids[job->missing[i].i], &made);
    }
    return rc;
}

static int restore_fields(struct store_account *a, struct fields_job *job)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->missing_count; i++) {
        struct missing_message one = {job, &job->missing[i]};
        uint32_t uid = job->uids[job->missing[i].i];
        rc = body_with_message(a, job->view->mailbox, uid, make_fields, &one);
        if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT)
            rc = 0;
    }
    if (rc == 0)
        (void)index_update(a->index, keep_fields, job);
    return rc;
}

static int fields_job(struct store_account *a, void *arg)
{
    struct fields_job *job = arg;
    int rc = account_need_index(a);

    if (rc == 0)
        rc = index_view(a->index, read_fields, job);
    if (rc == 0 && job->missing_count > 0)
        rc = restore_fields(a, job);
    return rc;
}

int store_fields(struct store_view *v, const uint32_t *uids, size_t count, store_text_fn *each,
                 void *arg)
{
    struct fields_job job = {.view = v, .uids = uids, .count = count, .each = each, .arg = arg};
    int rc;

    job.missing = calloc(count + 1, sizeof(*job.missing));
    if (job.missing == NULL)
        return -ENOMEM;
    rc = account_run(v->account, TASK_POOL_STORE, fields_job, &job);
    for (size_t i = 0; i < job.missing_count; i++)
        str_fini(&job.missing[i].text);
    free(job.missing);
    return rc;
}
