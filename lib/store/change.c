/* Flags, expunge, copy and move. */
#include "store/change.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "store/clean.h"

/* --- which messages --- */

static void selection_clear(struct selection *s)
{
    str_clear(&s->pairs);
    array_clear(&s->uids);
    s->count = 0;
    s->bytes = 0;
}

static void selection_fini(struct selection *s)
{
    str_fini(&s->pairs);
    array_free(&s->uids);
}

struct run {
    uint32_t first, last; /* 0: none */
};

static int take(struct selection *out, struct run *run, const struct index_message *m,
                bool is_adjacent, bool keep)
{
    if (run->first != 0 && !is_adjacent) {
        record_append_pair(&out->pairs, run->first, run->last);
        run->first = 0;
    }
    if (run->first == 0)
        run->first = m->uid;
    run->last = m->uid;
    out->count++;
    out->bytes += m->size;
    if (keep) {
        uint32_t *uid = array_push(&out->uids);
        if (uid == NULL)
            return -ENOMEM;
        *uid = m->uid;
    }
    return 0;
}

/* The next message of the source at or behind the walk's place: 1, or 0. *skipped:
 * messages of the mailbox lie between it and the one before. */
static int next_message(struct selection_source *source, struct index_walk *w,
                        struct index_message *m, bool *skipped)
{
    int rc = index_walk_next(w, m);

    if (source->uids == NULL)
        return rc;
    while (rc > 0) {
        while (source->next < source->count && source->uids[source->next] < m->uid)
            source->next++;
        if (source->next == source->count)
            return 0;
        if (source->uids[source->next] == m->uid) {
            source->next++;
            return 1;
        }
        *skipped = true;
        index_walk_seek(w, source->uids[source->next]);
        rc = index_walk_next(w, m);
    }
    return rc;
}

/* At most max messages; out->count 0: there are no more. */
static int selection_read(struct index_txn *t, struct selection_source *source, uint32_t max,
                          struct selection *out)
{
    bool is_adjacent = true;
    struct index_message m;
    struct index_walk w;
    struct run run = {0};
    uint32_t from = source->above + 1;
    int rc = 0;

    selection_clear(out);
    if (source->uids != NULL && source->next >= source->count)
        return 0;
    if (source->uids != NULL)
        from = source->uids[source->next];
    else if (source->above == UINT32_MAX)
        return 0;
    rc = index_walk_begin(t, source->box, from, &w);
    while (rc >= 0 && out->count < max) {
        bool skipped = false;
        rc = next_message(source, &w, &m, &skipped);
        if (rc <= 0)
            break;
        source->above = m.uid;
        is_adjacent = is_adjacent && !skipped;
        rc = source->filter == NULL ? 1 : source->filter(source->arg, &m);
        if (rc == 0)
            is_adjacent = false;
        if (rc > 0) {
            rc = take(out, &run, &m, is_adjacent, source->keep_uids);
            is_adjacent = true;
        }
    }
    index_walk_end(&w);
    if (run.first != 0)
        record_append_pair(&out->pairs, run.first, run.last);
    return rc < 0 ? rc : str_error(&out->pairs);
}

/* --- flags --- */

struct flag_change {
    struct selection_source source;
    struct record record;
    struct store_flag_change *wanted;
    ARRAY(uint32_t) refused;
};

/* Not those that would not change, nor (CONDSTORE) those that changed meanwhile. */
static int wants_flags(void *arg, const struct index_message *m)
{
    struct flag_change *f = arg;
    uint16_t flags = m->flags;
    uint64_t keywords = m->keywords;

    if (f->wanted->unchanged_since != 0 && m->modseq > f->wanted->unchanged_since) {
        uint32_t *uid = array_push(&f->refused);
        if (uid == NULL)
            return -ENOMEM;
        *uid = m->uid;
        return 0;
    }
    if (f->record.op == STORE_FLAGS_SET)
        return flags != f->record.message_flags || keywords != f->record.keywords;
    if (f->record.op == STORE_FLAGS_ADD)
        return (flags | f->record.message_flags) != flags ||
               (keywords | f->record.keywords) != keywords;
    return (flags & f->record.message_flags) != 0 || (keywords & f->record.keywords) != 0;
}

static int build_flags(struct index_txn *t, struct commit *c, void *arg)
{
    struct flag_change *f = arg;
    struct store_flag_change *w = f->wanted;
    struct selection sel = {0};
    int rc = change_add_keywords(t, c, w->keywords, w->keyword_count, w->op != STORE_FLAGS_REMOVE,
                                 &w->keyword_bits);

    f->record.keywords = w->keyword_bits;
    if (rc < 0)
        return rc;
    while ((rc = selection_read(t, &f->source, RECORD_COUNT_MAX, &sel)) == 0 && sel.count > 0) {
        f->record.uids = str_span(&sel.pairs);
        rc = commit_add(t, c, &f->record, 1, SPAN_NONE, NULL);
        if (rc < 0)
            break;
    }
    selection_fini(&sel);
    return rc;
}

/* Parked views have no messages to refer to. */
static int check_view(const struct store_view *v)
{
    return v->is_parked ? -EINVAL : 0;
}

int store_set_flags(struct store_view *v, const uint32_t *uids, size_t count,
                    struct store_flag_change *change, struct store_uids *modified)
{
    struct flag_change f = {.source = {.box = v->mailbox, .uids = uids, .count = count},
                            .record = {.kind = RECORD_FLAGS,
                                       .mailbox = v->mailbox,
                                       .op = (uint8_t)change->op,
                                       .message_flags = (uint16_t)change->flags},
                            .wanted = change};
    int rc = check_view(v);

    if (rc < 0 || count == 0)
        return rc;
    f.source.filter = wants_flags;
    f.source.arg = &f;
    rc = account_commit(v->account, NULL, build_flags, &f);
    for (size_t i = 0; rc == 0 && modified != NULL && i < f.refused.len; i++) {
        uint32_t *uid = array_push(&modified->items);
        if (uid == NULL)
            rc = -ENOMEM;
        else
            *uid = f.refused.items[i];
    }
    array_free(&f.refused);
    return rc;
}

/* --- expunge --- */

static int is_deleted(void *arg, const struct index_message *m)
{
    return (m->flags & STORE_DELETED) != 0;
}

struct expunge_change {
    struct selection_source source;
    uint64_t octets;
};

static int build_expunge(struct index_txn *t, struct commit *c, void *arg)
{
    struct expunge_change *change = arg;
    struct selection_source *source = &change->source;
    struct selection sel = {0};
    int rc;

    while ((rc = selection_read(t, source, RECORD_COUNT_MAX, &sel)) == 0 && sel.count > 0) {
        struct record r = {
            .kind = RECORD_EXPUNGE, .mailbox = source->box, .uids = str_span(&sel.pairs)};
        c->bytes -= sel.bytes;
        c->messages -= sel.count;
        change->octets += sel.bytes;
        rc = commit_add(t, c, &r, 1, SPAN_NONE, NULL);
        if (rc < 0)
            break;
    }
    selection_fini(&sel);
    return rc;
}

int store_expunge(struct store_view *v, const uint32_t *uids, size_t count, bool any_flag)
{
    struct expunge_change change = {
        .source = {.box = v->mailbox,
                   .uids = uids,
                   .count = count,
                   .filter = any_flag ? NULL : is_deleted},
    };
    int rc = check_view(v);

    if (rc < 0 || (uids != NULL && count == 0))
        return rc;
    return account_commit(v->account, NULL, build_expunge, &change);
}

/* --- copy and move --- */

static int note_copied(struct store_copied *copied, const struct selection *sel, uint64_t last)
{
    uint32_t to = (uint32_t)(last - sel->uids.len);

    for (size_t i = 0; i < sel->uids.len; i++) {
        uint32_t *source = array_push(&copied->from), *target = array_push(&copied->to);
        if (source == NULL || target == NULL)
            return -ENOMEM;
        *source = sel->uids.items[i];
        *target = ++to;
    }
    return 0;
}

int change_add_copy(struct index_txn *t, struct commit *c, struct selection_source *source,
                    uint32_t to, bool move, struct store_copied *copied)
{
    struct selection sel = {0};
    int rc;

    source->keep_uids = copied != NULL;
    while ((rc = selection_read(t, source, RECORD_COUNT_MAX, &sel)) == 0 && sel.count > 0) {
        struct record r = {.kind = RECORD_COPY,
                           .flags = move ? RECORD_MOVE : 0,
                           .mailbox = source->box,
                           .to = to,
                           .uids = str_span(&sel.pairs)};
        uint64_t last;
        c->bytes += move ? 0 : sel.bytes;
        c->messages += move ? 0 : sel.count;
        rc = commit_add(t, c, &r, sel.count, SPAN_NONE, &last);
        if (rc == 0 && copied != NULL)
            rc = note_copied(copied, &sel, last);
        if (rc < 0)
            break;
    }
    selection_fini(&sel);
    return rc;
}

struct copy_change {
    struct selection_source source;
    uint32_t to;
    bool move;
    struct store_copied *copied;
};

static int build_copy(struct index_txn *t, struct commit *c, void *arg)
{
    struct copy_change *change = arg;
    struct index_box *box;
    int rc = index_box(t, change->to, &box);

    if (rc == 0 && !box->is_selectable)
        rc = ERR_NOT_FOUND;
    if (rc < 0)
        return rc;
    change->copied->uidvalidity = box->uidvalidity;
    return change_add_copy(t, c, &change->source, change->to, change->move, change->copied);
}

int store_copy(struct store_view *v, const uint32_t *uids, size_t count, uint32_t to_mailbox,
               bool move, struct store_copied *out)
{
    struct copy_change change = {.source = {.box = v->mailbox, .uids = uids, .count = count},
                                 .to = to_mailbox,
                                 .move = move,
                                 .copied = out};
    int rc = check_view(v);

    *out = (struct store_copied){0};
    if (rc < 0 || count == 0)
        return rc;
    rc = account_commit(v->account, NULL, build_copy, &change);
    if (rc < 0)
        store_copied_free(out);
    return rc;
}

void store_copied_free(struct store_copied *c)
{
    array_free(&c->from);
    array_free(&c->to);
}

uint32_t change_uidvalidity(const struct index_txn *t, uint32_t *last)
{
    uint32_t now = (uint32_t)clock_wall_s();

    if (*last < t->meta.uidvalidity)
        *last = t->meta.uidvalidity;
    *last = now > *last ? now : *last + 1;
    return *last;
}
