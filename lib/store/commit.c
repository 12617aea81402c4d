/* How a change is made: lock, bring the index to the end, build the records, append
 * them, apply them, unlock, sync. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/fault.h"
#include "store/account.h"

int commit_add(struct index_txn *t, struct commit *c, struct record *r, uint32_t count,
               struct span body, uint64_t *number)
{
    struct journal_record *record;
    struct str head = {0};
    char *copy;
    int rc;

    if (c->number + count > UINT32_MAX)
        return ERR_LIMIT; /* UIDs have 32 bits */
    r->flags |= RECORD_TOTALS;
    r->bytes = c->bytes;
    r->messages = c->messages;
    rc = record_encode(r, &head);
    if (rc < 0) {
        str_fini(&head);
        return rc;
    }
    copy = arena_strdup(&c->arena, str_span(&head));
    record = copy == NULL ? NULL : array_push(&c->records);
    if (record == NULL) {
        str_fini(&head);
        return -ENOMEM;
    }
    c->number += count;
    *record = (struct journal_record){.kind = r->kind,
                                      .flags = r->kind == RECORD_MOVED ? JOURNAL_MOVED : 0,
                                      .count = count,
                                      .head = span_make(copy, head.len),
                                      .body = body};
    str_fini(&head);
    if (number != NULL)
        *number = c->number;
    return 0;
}

struct work {
    struct commit commit;
    account_fn *prepare;
    commit_build_fn *build;
    void *arg;
    struct journal_commit pending;
    bool is_appended, is_synced;
    int synced; /* how that ended */
    struct journal_cursor end;
};

/* In the transaction, under the lock. A second run (the map was too small) finds the
 * records in the tail. */
static int change(struct index_txn *t, void *arg)
{
    struct work *w = arg;
    struct store_account *a = w->commit.account;
    /* Nothing to read, mostly, and a reader would open the segment to find that: without
     * it a change of flags takes half the CPU. */
    bool more = w->is_appended || !journal_cursor_eq(&t->meta.applied, &w->end);
    int rc = 0;

    while (rc == 0 && more)
        rc = apply_tail(t, &a->disk.disk, UINT32_MAX, &more);
    if (rc < 0 || w->is_appended)
        return rc;
    a->txn = t;
    w->commit.number = w->end.number;
    w->commit.bytes = t->meta.bytes;
    w->commit.messages = t->meta.messages;
    rc = w->build(t, &w->commit, w->arg);
    if (rc == 0 && w->commit.records.len > 0) {
        rc = journal_shared_append(a->journal, w->commit.records.items, w->commit.records.len,
                                   &w->pending);
        w->is_appended = rc == 0;
    }
    a->txn = NULL;
    for (size_t i = 0; rc == 0 && i < w->commit.records.len; i++)
        rc = apply_record(t, &w->commit.records.items[i]);
    if (rc == 0 && w->is_appended) {
        t->meta.applied = w->pending.end;
        t->is_meta_dirty = true;
    }
    return rc;
}

static int sync_pending(struct store_account *a, void *arg)
{
    struct work *w = arg;

    w->is_synced = true;
    w->synced = journal_shared_sync(&w->pending);
    return w->synced;
}

static int commit_job(struct store_account *a, void *arg)
{
    struct work *w = arg;
    int rc = account_catch_up(a); /* most of it without the lock */

    if (rc == 0 && w->prepare != NULL)
        rc = w->prepare(a, w->arg);
    if (rc < 0)
        return rc;
    rc = journal_shared_lock(a->journal, &w->end);
    if (rc < 0)
        return rc;
    rc = index_update(a->index, change, w);
    journal_shared_unlock(a->journal);
    if (w->is_appended) {
        /* What is in the journal counts; the index can be made anew. */
        rc = FAULT("store_commit_appended");
        a->end_segment = w->pending.end.segment;
        a->end_offset = w->pending.end.offset;
        if (rc == 0 && atomic_load(&a->waiting) == 0)
            rc = sync_pending(a, w);
    }
    return rc;
}

static void sync_job(void *arg)
{
    struct work *w = arg;

    (void)sync_pending(NULL, w);
}

/* Outside the turn, so that others append meanwhile. */
static int sync_outside(struct store_account *a, struct work *w)
{
    int rc;

    account_begin_sync(a);
    rc = task_offload(TASK_POOL_SYNC, sync_job, w);
    account_end_sync(a);
    return rc < 0 ? rc : w->synced;
}

static int finish(struct store_account *a, struct work *w, int rc)
{
    if (!w->is_appended)
        return rc;
    if (rc == 0 && !w->is_synced)
        rc = sync_outside(a, w);
    if (!w->is_synced)
        journal_shared_forget(&w->pending);
    watch_notify(a);
    return rc;
}

int account_commit(struct store_account *a, account_fn *prepare, commit_build_fn *build, void *arg)
{
    struct work w = {.commit.account = a, .prepare = prepare, .build = build, .arg = arg};
    bool was;
    int rc;

    if (task_is_cancelled())
        return -ECANCELED;
    was = task_shield(true);
    rc = account_go_on(a, TASK_POOL_STORE, commit_job, &w);
    rc = finish(a, &w, rc);
    task_shield(was);
    array_free(&w.commit.records);
    arena_reset(&w.commit.arena);
    return rc;
}

/* --- delivery without an index --- */

struct delivery {
    struct work work;
    bool create;
    delivery_fn *prepare;
    void *arg;
    struct delivery_parts parts;
};

/* What the account holds, by the last record; without an index this is exact too. Behind
 * one of the journal's own records the index must be asked: once in some 65,536. */
bool account_totals(struct store_account *a, uint64_t *bytes, uint64_t *messages)
{
    unsigned char head[RECORD_COMMON_SIZE];
    uint16_t kind;

    if (journal_shared_last(a->journal, &kind, head, sizeof(head)) < 0)
        return false;
    return kind == JOURNAL_OPEN ? snapshot_totals(head, bytes, messages)
                                : record_totals(kind, head, bytes, messages);
}

static void count_delivery(struct store_account *a, struct record *r)
{
    r->flags &= (uint16_t)~RECORD_TOTALS;
    if (!account_totals(a, &r->bytes, &r->messages))
        return;
    r->bytes += r->hot.size;
    r->messages++;
    r->flags |= RECORD_TOTALS;
}

static int deliver_job(struct store_account *a, void *arg)
{
    struct delivery *d = arg;
    struct work *w = &d->work;
    struct journal_record record;
    struct str head = {0};
    int rc = d->create ? account_make_journal(a) : account_need_journal(a);

    if (rc == 0)
        rc = d->prepare(a, d->arg, &d->parts);
    if (rc == 0)
        rc = journal_shared_lock(a->journal, &w->end);
    if (rc < 0)
        return rc;
    count_delivery(a, &d->parts.record);
    rc = record_encode(&d->parts.record, &head);
    record = (struct journal_record){
        .kind = RECORD_DELIVER, .count = 1, .head = str_span(&head), .body = d->parts.body};
    if (rc == 0 && w->end.number >= UINT32_MAX)
        rc = ERR_LIMIT;
    if (rc == 0)
        rc = journal_shared_append(a->journal, &record, 1, &w->pending);
    journal_shared_unlock(a->journal);
    str_fini(&head);
    if (rc < 0)
        return rc;
    w->is_appended = true;
    w->commit.number = record.number;
    a->end_segment = w->pending.end.segment;
    a->end_offset = w->pending.end.offset;
    rc = FAULT("store_deliver_appended");
    if (rc == 0 && atomic_load(&a->waiting) == 0)
        rc = sync_pending(a, w);
    return rc;
}

int account_deliver(struct store_account *a, bool create, delivery_fn *prepare, void *arg,
                    uint64_t *number)
{
    struct delivery d = {
        .work.commit.account = a, .create = create, .prepare = prepare, .arg = arg};
    bool was;
    int rc;

    if (task_is_cancelled())
        return -ECANCELED;
    was = task_shield(true);
    rc = account_go_on(a, TASK_POOL_SYNC, deliver_job, &d);
    rc = finish(a, &d.work, rc);
    task_shield(was);
    *number = d.work.commit.number;
    return rc;
}
