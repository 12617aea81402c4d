/* Mailboxes and subscriptions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "store/change.h"
#include "store/clean.h"
#include "store/names.h"

/* --- listing --- */

static int describe(struct index_txn *t, const struct index_box *b, struct arena *arena,
                    struct store_mailbox *out)
{
    *out = (struct store_mailbox){.id = b->id,
                                  .uidvalidity = b->uidvalidity,
                                  .is_selectable = b->is_selectable,
                                  .is_subscribed = index_is_subscribed(t, index_box_name(b)),
                                  .uidnext = b->uidnext,
                                  .messages = b->messages,
                                  .unseen = b->unseen,
                                  .recent = b->recent,
                                  .bytes = b->bytes,
                                  .modseq = b->modseq};
    if (arena_copy(arena, index_box_name(b), &out->name) < 0 ||
        arena_copy(arena, index_box_special(b), &out->special_use) < 0)
        return -ENOMEM;
    return 0;
}

struct listing_job {
    struct arena *arena;
    struct store_listing *out;
};

static int add_subscription(void *arg, struct span name)
{
    struct listing_job *job = arg;
    struct span *item = array_push(&job->out->subscriptions);

    return item == NULL ? -ENOMEM : arena_copy(job->arena, name, item);
}

static int compare_boxes(const void *a, const void *b)
{
    const struct store_mailbox *x = a, *y = b;

    if ((x->id == STORE_INBOX) != (y->id == STORE_INBOX))
        return x->id == STORE_INBOX ? -1 : 1;
    return span_cmp(x->name, y->name);
}

static int list_boxes(struct index_txn *t, void *arg)
{
    struct listing_job *job = arg;
    struct index_boxes all = {0};
    int rc = index_box_list(t, &all);

    array_clear(&job->out->boxes);
    array_clear(&job->out->subscriptions);
    for (size_t i = 0; rc == 0 && i < all.items.len; i++) {
        struct store_mailbox *box = array_push(&job->out->boxes);
        rc = box == NULL ? -ENOMEM : describe(t, &all.items.items[i], job->arena, box);
    }
    array_free(&all.items);
    if (rc == 0 && job->out->boxes.len > 0)
        qsort(job->out->boxes.items, job->out->boxes.len, sizeof(struct store_mailbox),
              compare_boxes);
    return rc < 0 ? rc : index_subscriptions(t, add_subscription, job);
}

static int list_job(struct store_account *a, void *arg)
{
    return account_view(a, list_boxes, arg);
}

int store_list(struct store_account *a, struct arena *arena, struct store_listing *out)
{
    struct listing_job job = {arena, out};
    int rc;

    *out = (struct store_listing){0};
    rc = account_run(a, TASK_POOL_STORE, list_job, &job);
    if (rc < 0)
        store_listing_free(out);
    return rc;
}

void store_listing_free(struct store_listing *l)
{
    array_free(&l->boxes);
    array_free(&l->subscriptions);
}

struct find_job {
    struct span name;
    struct arena *arena;
    struct store_mailbox *out;
};

static int find_box(struct index_txn *t, void *arg)
{
    struct find_job *job = arg;
    struct index_box *box;
    uint32_t id;
    int rc = index_box_find(t, job->name, &id);

    if (rc == 0)
        rc = index_box(t, id, &box);
    return rc < 0 ? rc : describe(t, box, job->arena, job->out);
}

static int find_in_job(struct store_account *a, void *arg)
{
    return account_view(a, find_box, arg);
}

int store_find(struct store_account *a, struct span name, struct arena *arena,
               struct store_mailbox *out)
{
    struct find_job job = {.arena = arena, .out = out};
    struct str normal = {0};
    int rc = name_normalise(&normal, name);

    job.name = str_span(&normal);
    if (rc == 0)
        rc = account_run(a, TASK_POOL_STORE, find_in_job, &job);
    str_fini(&normal);
    return rc;
}

/* --- changes --- */

struct box_change {
    struct store *store;
    struct span name, other;
    bool on;
    uint32_t uidvalidity; /* the last one given */
    uint64_t octets;      /* of messages that went */
};

/* A change of one mailbox without a name. */
static int add_change(struct index_txn *t, struct commit *c, uint32_t id, uint8_t op,
                      uint32_t value, struct span other)
{
    struct record r = {
        .kind = RECORD_MAILBOX, .op = op, .mailbox = id, .value = value, .other = other};

    return commit_add(t, c, &r, 1, SPAN_NONE, NULL);
}

static int add_create(struct index_txn *t, struct commit *c, struct box_change *b, struct span name,
                      struct span special_use, uint32_t *id)
{
    struct record r = {.kind = RECORD_MAILBOX,
                       .op = RECORD_BOX_CREATE,
                       .value = change_uidvalidity(t, &b->uidvalidity),
                       .name = name,
                       .other = special_use};
    uint64_t number;
    int rc = commit_add(t, c, &r, 1, SPAN_NONE, &number);

    if (rc == 0)
        *id = (uint32_t)number;
    return rc;
}

/* Parents that are not there become \Noselect names. */
static int add_parents(struct index_txn *t, struct commit *c, struct box_change *b,
                       struct span name)
{
    for (size_t i = 1; i < name.n; i++) {
        struct span parent = span_take(name, i);
        uint32_t id;
        int rc;
        if (name.p[i] != '/')
            continue;
        rc = index_box_find(t, parent, &id);
        if (rc == 0)
            continue;
        if (rc == ERR_NOT_FOUND)
            rc = add_create(t, c, b, parent, SPAN_NONE, &id);
        if (rc == 0)
            rc = add_change(t, c, id, RECORD_BOX_SELECTABLE, 0, SPAN_NONE);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int build_create(struct index_txn *t, struct commit *c, void *arg)
{
    struct box_change *b = arg;
    struct index_box *box;
    uint32_t id;
    int rc = index_box_find(t, b->name, &id);

    if (rc == ERR_NOT_FOUND) {
        rc = add_parents(t, c, b, b->name);
        return rc < 0 ? rc : add_create(t, c, b, b->name, b->other, &id);
    }
    if (rc == 0)
        rc = index_box(t, id, &box);
    if (rc < 0)
        return rc;
    if (box->is_selectable)
        return ERR_EXISTS;
    rc = add_change(t, c, id, RECORD_BOX_SELECTABLE, change_uidvalidity(t, &b->uidvalidity),
                    SPAN_NONE);
    if (rc == 0 && b->other.n > 0)
        rc = add_change(t, c, id, RECORD_BOX_SPECIAL_USE, 0, b->other);
    return rc;
}

/* Whether any mailbox lies below name. */
static int has_children(struct index_txn *t, struct span name, bool *yes)
{
    struct index_boxes all = {0};
    int rc = index_box_list(t, &all);

    *yes = false;
    for (size_t i = 0; i < all.items.len; i++)
        *yes = *yes || name_is_below(index_box_name(&all.items.items[i]), name);
    array_free(&all.items);
    return rc;
}

static int build_delete(struct index_txn *t, struct commit *c, void *arg)
{
    struct box_change *b = arg;
    struct index_box *box;
    bool is_parent = false;
    uint32_t id;
    int rc = index_box_find(t, b->name, &id);

    if (rc == 0 && id == STORE_INBOX)
        rc = ERR_DENIED;
    if (rc == 0)
        rc = has_children(t, b->name, &is_parent);
    if (rc == 0)
        rc = index_box(t, id, &box);
    if (rc < 0)
        return rc;
    if (is_parent && !box->is_selectable)
        return ERR_DENIED;
    c->bytes -= box->bytes;
    c->messages -= box->messages;
    b->octets = box->bytes;
    return add_change(t, c, id, is_parent ? RECORD_BOX_SELECTABLE : RECORD_BOX_DELETE, 0,
                      SPAN_NONE);
}

/* RFC 3501 6.3.5: the messages move to a new mailbox, INBOX and what lies below stay. */
static int rename_inbox(struct index_txn *t, struct commit *c, struct box_change *b)
{
    struct selection_source source = {.box = STORE_INBOX};
    uint32_t id;
    int rc = add_parents(t, c, b, b->other);

    if (rc == 0)
        rc = add_create(t, c, b, b->other, SPAN_NONE, &id);
    return rc < 0 ? rc : change_add_copy(t, c, &source, id, true, NULL);
}

static int rename_tree(struct index_txn *t, struct commit *c, struct box_change *b)
{
    struct index_boxes all = {0};
    int rc = index_box_list(t, &all);

    for (size_t i = 0; rc == 0 && i < all.items.len; i++) {
        struct span name = index_box_name(&all.items.items[i]);
        struct str to = {0};
        if (!span_eq(name, b->name) && !name_is_below(name, b->name))
            continue;
        str_append(&to, b->other);
        str_append(&to, span_drop(name, b->name.n));
        rc = name_check(str_span(&to), b->store->options.name_limit, b->store->options.depth_limit);
        if (rc == 0)
            rc = add_change(t, c, all.items.items[i].id, RECORD_BOX_RENAME, 0, str_span(&to));
        str_fini(&to);
    }
    array_free(&all.items);
    return rc;
}

static int build_rename(struct index_txn *t, struct commit *c, void *arg)
{
    struct box_change *b = arg;
    uint32_t id, other;
    int rc = index_box_find(t, b->name, &id);

    if (rc < 0)
        return rc;
    if (index_box_find(t, b->other, &other) == 0)
        return ERR_EXISTS;
    if (id == STORE_INBOX)
        return rename_inbox(t, c, b);
    if (name_is_below(b->other, b->name))
        return ERR_DENIED;
    rc = add_parents(t, c, b, b->other);
    return rc < 0 ? rc : rename_tree(t, c, b);
}

static int build_subscribe(struct index_txn *t, struct commit *c, void *arg)
{
    struct box_change *b = arg;
    struct record r = {
        .kind = RECORD_MAILBOX, .op = RECORD_BOX_SUBSCRIBE, .value = b->on, .name = b->name};

    if (index_is_subscribed(t, b->name) == b->on)
        return 0;
    return commit_add(t, c, &r, 1, SPAN_NONE, NULL);
}

/* --- the functions of store.h --- */

static int change_box(struct store_account *a, commit_build_fn *build, struct span name,
                      struct span other, bool is_other_name, bool on)
{
    const struct store_options *o = &a->store->options;
    struct box_change b = {.store = a->store, .on = on};
    struct str normal = {0}, normal_other = {0};
    int rc = name_normalise(&normal, name);

    if (rc == 0 && is_other_name)
        rc = name_normalise(&normal_other, other);
    else if (rc == 0)
        rc = str_append(&normal_other, other);
    b.name = str_span(&normal);
    b.other = str_span(&normal_other);
    if (rc == 0 && (build == build_create || build == build_subscribe) && on)
        rc = name_check(b.name, o->name_limit, o->depth_limit);
    if (rc == 0 && is_other_name)
        rc = name_check(b.other, o->name_limit, o->depth_limit);
    if (rc == 0 && b.name.n > INDEX_NAME_MAX)
        rc = ERR_NOT_FOUND;
    if (rc == 0)
        rc = account_commit(a, NULL, build, &b);
    if (rc == 0)
        clean_consider(a, b.octets);
    str_fini(&normal);
    str_fini(&normal_other);
    return rc;
}

int store_create(struct store_account *a, struct span name, struct span special_use)
{
    if (special_use.n > 0 && !name_is_special_use(special_use))
        return ERR_SYNTAX;
    return change_box(a, build_create, name, special_use, false, true);
}

int store_delete(struct store_account *a, struct span name)
{
    return change_box(a, build_delete, name, SPAN_NONE, false, false);
}

int store_rename(struct store_account *a, struct span from, struct span to)
{
    return change_box(a, build_rename, from, to, true, false);
}

int store_subscribe(struct store_account *a, struct span name, bool on)
{
    return change_box(a, build_subscribe, name, SPAN_NONE, false, on);
}
