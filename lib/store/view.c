/* A mailbox as a session sees it. */
#include "store/view.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/error.h"

/* --- messages --- */

static void fill_message(struct store_message *out, const struct index_message *m)
{
    *out = (struct store_message){.uid = m->uid,
                                  .flags = m->flags,
                                  .keywords = m->keywords,
                                  .modseq = m->modseq,
                                  .internal_date = m->date,
                                  .date_zone = m->zone,
                                  .size = m->size + m->bare};
}

static int add_message(struct store_view *v, const struct index_message *m)
{
    struct store_message *item = array_push(&v->messages);

    if (item == NULL)
        return -ENOMEM;
    fill_message(item, m);
    if (m->uid > v->own->last_uid)
        v->own->last_uid = m->uid;
    return 0;
}

static int add_uid(struct uid_list *list, uint32_t uid)
{
    uint32_t *item = array_push(list);

    if (item == NULL)
        return -ENOMEM;
    *item = uid;
    return 0;
}

size_t store_view_find(const struct store_view *v, uint32_t uid)
{
    size_t low = 0, high = v->messages.len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->messages.items[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Everything from last_uid on. */
static int read_arrivals(struct index_txn *t, struct store_view *v, uint32_t *count)
{
    struct index_message m;
    struct index_walk w;
    int rc;

    *count = 0;
    if (v->own->last_uid == UINT32_MAX)
        return 0;
    rc = index_walk_begin(t, v->mailbox, v->own->last_uid + 1, &w);
    while (rc >= 0 && (rc = index_walk_next(&w, &m)) > 0) {
        rc = add_message(v, &m);
        ++*count;
    }
    index_walk_end(&w);
    return rc;
}

/* --- \Recent --- */

/* Messages that no session has had as \Recent, from position first on. The session that
 * may change the mailbox takes them. */
static int claim_recent(struct index_txn *t, void *arg)
{
    struct view_job *job = arg;
    struct store_view *v = job->view;
    struct index_box *box;
    uint64_t from, taken = 0;
    size_t i = job->first_new;
    int rc = index_box(t, v->mailbox, &box);

    if (rc < 0)
        return rc;
    from = box->recent_from;
    v->recent.len = job->recent_known; /* this may be a second run */
    for (; rc == 0 && i < v->messages.len; i++) {
        uint32_t uid = v->messages.items[i].uid;
        if (uid < from)
            continue;
        rc = add_uid((struct uid_list *)&v->recent, uid);
        taken++;
    }
    if (rc == 0 && !v->is_read_only && taken > 0) {
        box->recent -= taken < box->recent ? taken : box->recent;
        box->recent_from = (uint64_t)v->own->last_uid + 1;
        index_box_changed(t);
    }
    return rc;
}

static int note_recent(struct store_account *a, struct view_job *job)
{
    int rc;

    job->recent_known = job->view->recent.len;
    if (job->recent == 0 || job->first_new == job->view->messages.len)
        return 0;
    if (job->view->is_read_only)
        return index_view(a->index, claim_recent, job);
    rc = index_update(a->index, claim_recent, job);
    if (rc < 0)
        job->view->recent.len = job->recent_known;
    /* \Recent is a courtesy: without room for it the mailbox still opens. */
    return rc == -ENOSPC ? 0 : rc;
}

/* --- opening --- */

/* For all messages of a mailbox, so that the array never grows while they are read. A
 * large one lies in huge pages: SELECT of 1,000,000 messages in 80 ms and not 120. */
static int make_room(struct store_view *v, uint64_t count)
{
    enum { HUGE_PAGE = 2 << 20 };
    _Static_assert(sizeof(*v->messages.items) == 40, "what store.h says");
    size_t size = count * sizeof(*v->messages.items);
    void *items = NULL;

    if (count <= v->messages.cap || count > UINT32_MAX)
        return 0;
    if (size < 4 * (size_t)HUGE_PAGE)
        items = malloc(size);
    else if (posix_memalign(&items, HUGE_PAGE, size) == 0)
        madvise(items, size, MADV_HUGEPAGE);
    if (items == NULL)
        return -ENOMEM;
    free(v->messages.items);
    v->messages.items = items;
    v->messages.cap = count;
    return 0;
}

static void note_place(const struct index_txn *t, struct store_view *v)
{
    v->own->segment = t->meta.applied.segment;
    v->own->offset = t->meta.applied.offset;
}

static int load(struct index_txn *t, void *arg)
{
    struct view_job *job = arg;
    struct store_view *v = job->view;
    struct index_box *box;
    uint32_t count;
    int rc = index_box(t, v->mailbox, &box);

    if (rc == 0 && !box->is_selectable)
        rc = ERR_NOT_FOUND;
    if (rc < 0)
        return rc;
    v->uidvalidity = box->uidvalidity;
    v->modseq = box->modseq;
    v->uidnext = box->uidnext;
    v->own->last_uid = 0;
    job->recent = box->recent;
    note_place(t, v);
    array_clear(&v->messages);
    rc = view_read_keywords(t, v);
    if (rc < 0)
        return rc;
    v->own->is_renamed = false; /* nobody knows older ones */
    rc = make_room(v, box->messages);
    if (rc == 0)
        rc = read_arrivals(t, v, &count);
    if (rc == 0 && box->uidnext > 0 && box->uidnext - 1 > v->own->last_uid)
        v->own->last_uid = (uint32_t)(box->uidnext - 1);
    return rc;
}

static int open_job(struct store_account *a, void *arg)
{
    struct view_job *job = arg;
    int rc = account_view(a, load, job);

    return rc < 0 ? rc : note_recent(a, job);
}

int store_view_open(struct store_account *a, uint32_t mailbox, bool read_only,
                    struct store_view **out)
{
    struct store_view *v = NEW(struct store_view);
    struct view_job job = {.view = v};
    int rc;

    if (v == NULL)
        return -ENOMEM;
    v->own = NEW(struct store_view_own);
    if (v->own == NULL) {
        free(v);
        return -ENOMEM;
    }
    v->account = a;
    v->mailbox = mailbox;
    v->is_read_only = read_only;
    a->refs++;
    a->awake++;
    rc = account_run(a, TASK_POOL_STORE, open_job, &job);
    if (rc < 0) {
        store_view_close(v);
        return rc;
    }
    *out = v;
    return 0;
}

void store_view_close(struct store_view *v)
{
    if (v == NULL)
        return;
    if (!v->is_parked)
        v->account->awake--;
    store_close(v->account);
    array_free(&v->messages);
    array_free(&v->recent);
    view_forget_keywords(v);
    array_free(&v->own->gone);
    str_fini(&v->own->parked);
    free(v->own);
    free(v);
}

/* --- parking --- */

static int append_varint(struct str *out, uint32_t value)
{
    for (; value >= 0x80; value >>= 7)
        str_append_char(out, (char)(value | 0x80));
    return str_append_char(out, (char)value);
}

static uint32_t take_varint(struct span *in)
{
    uint32_t value = 0;

    for (unsigned shift = 0; in->n > 0 && shift < 35; shift += 7) {
        unsigned char c = (unsigned char)in->p[0];
        *in = span_drop(*in, 1);
        value |= (uint32_t)(c & 0x7f) << shift;
        if (c < 0x80)
            break;
    }
    return value;
}

/* The UIDs as runs: (gap before, length). */
static int pack_uids(const struct store_view *v, struct str *out)
{
    uint32_t before = 0;
    size_t i = 0;

    while (i < v->messages.len) {
        uint32_t first = v->messages.items[i].uid, run = 1;
        while (i + run < v->messages.len && v->messages.items[i + run].uid == first + run)
            run++;
        append_varint(out, first - before);
        append_varint(out, run);
        before = first + run - 1;
        i += run;
    }
    return str_error(out);
}

static int unpack_uids(struct span in, struct uid_list *out)
{
    uint32_t uid = 0;

    while (in.n > 0) {
        uint32_t run;
        uid += take_varint(&in);
        run = take_varint(&in);
        for (uint32_t i = 0; i < run; i++) {
            if (add_uid(out, uid + i) < 0)
                return -ENOMEM;
        }
        uid += run - 1;
    }
    return 0;
}

void store_view_park(struct store_view *v)
{
    struct str exact = {0};

    if (v->is_parked)
        return;
    str_clear(&v->own->parked);
    if (pack_uids(v, &exact) < 0) {
        str_fini(&exact);
        return; /* stays awake */
    }
    str_fini(&v->own->parked);
    v->own->parked = exact;
    array_free(&v->messages);
    array_free(&v->own->gone);
    view_forget_keywords(v);
    v->is_parked = true;
    v->account->awake--;
    store_rest(v->account);
}

/* --- refreshing --- */

/* The view's messages again, as they are in the index; what is no longer there stays
 * with its UID alone, and is gone. */
static int reload(struct index_txn *t, struct store_view *v)
{
    struct uid_list known = {0};
    struct index_message m = {0};
    struct index_walk w = {0};
    bool has_message;
    int rc = 0;

    if (v->is_parked)
        rc = unpack_uids(str_span(&v->own->parked), &known);
    for (size_t i = 0; rc == 0 && !v->is_parked && i < v->messages.len; i++)
        rc = add_uid(&known, v->messages.items[i].uid);
    if (rc == 0)
        rc = index_walk_begin(t, v->mailbox, 1, &w);
    array_clear(&v->messages);
    array_clear(&v->own->gone);
    has_message = false;
    for (size_t i = 0; rc >= 0 && i < known.len; i++) {
        uint32_t uid = known.items[i];
        while (rc >= 0 && (!has_message || m.uid < uid)) {
            rc = index_walk_next(&w, &m);
            if (rc <= 0)
                m.uid = UINT32_MAX;
            has_message = true;
        }
        if (rc >= 0 && m.uid != uid) {
            struct index_message none = {.uid = uid};
            rc = add_message(v, &none);
            if (rc == 0)
                rc = add_uid(&v->own->gone, uid);
        } else if (rc >= 0) {
            rc = add_message(v, &m);
        }
    }
    if (w.cursor != NULL)
        index_walk_end(&w);
    array_free(&known);
    return rc < 0 ? rc : 0;
}

static int note_vanished(void *arg, struct span pairs)
{
    struct store_view *v = arg;

    for (size_t i = 0; i < record_pairs(pairs); i++) {
        uint32_t first, last;
        record_pair(pairs, i, &first, &last);
        for (size_t k = store_view_find(v, first);
             k < v->messages.len && v->messages.items[k].uid <= last; k++) {
            if (add_uid(&v->own->gone, v->messages.items[k].uid) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

struct changes {
    struct index_txn *txn;
    struct store_view *view;
};

static int note_change(void *arg, uint64_t modseq, uint32_t uid)
{
    struct changes *c = arg;
    size_t at = store_view_find(c->view, uid);
    struct index_message m;
    int rc;

    if (at == c->view->messages.len || c->view->messages.items[at].uid != uid)
        return 0; /* arrives below */
    rc = index_message(c->txn, c->view->mailbox, uid, &m);
    if (rc == 0)
        fill_message(&c->view->messages.items[at], &m);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void sort_gone(struct uid_list *gone)
{
    size_t kept = 0;

    if (gone->len < 2)
        return;
    qsort(gone->items, gone->len, sizeof(uint32_t), compare_uids);
    for (size_t i = 0; i < gone->len; i++) {
        if (i == 0 || gone->items[i] != gone->items[kept - 1])
            gone->items[kept++] = gone->items[i];
    }
    gone->len = kept;
}

static int read_changes(struct index_txn *t, struct store_view *v, const struct index_box *box)
{
    struct changes c = {t, v};
    uint64_t floor = box->vanished_floor, modseq = v->modseq;
    uint32_t id = v->mailbox;
    int rc;

    if (v->is_parked || modseq < floor)
        return reload(t, v);
    rc = index_vanished_walk(t, id, modseq, note_vanished, v);
    return rc < 0 ? rc : index_log_walk(t, id, modseq, note_change, &c);
}

static int read_news(struct index_txn *t, void *arg)
{
    struct view_job *job = arg;
    struct store_view *v = job->view;
    struct index_box *box;
    uint64_t modseq, uidnext;
    int rc = index_box(t, v->mailbox, &box);

    if (rc == 0 && !box->is_selectable)
        rc = ERR_NOT_FOUND;
    if (rc == 0 && box->uidvalidity != v->uidvalidity)
        rc = -ESTALE;
    if (rc == 0)
        rc = view_read_keywords(t, v);
    if (rc < 0)
        return rc;
    if (box->modseq == v->modseq && !v->is_parked) {
        job->first_new = v->messages.len;
        note_place(t, v);
        return 0;
    }
    job->recent = box->recent;
    modseq = box->modseq;
    uidnext = box->uidnext;
    rc = read_changes(t, v, box);
    job->first_new = v->messages.len;
    if (rc == 0)
        rc = read_arrivals(t, v, &job->news->arrived);
    if (rc < 0)
        return rc;
    sort_gone(&v->own->gone);
    if (v->is_parked) {
        v->is_parked = false;
        job->was_parked = true;
        str_fini(&v->own->parked);
    }
    job->before = v->modseq;
    job->has_news = true;
    v->modseq = modseq;
    v->uidnext = uidnext;
    note_place(t, v);
    return 0;
}

static bool is_gone(const struct uid_list *gone, uint32_t uid)
{
    return gone->len > 0 &&
           bsearch(&uid, gone->items, gone->len, sizeof(uid), compare_uids) != NULL;
}

/* Take expunged messages out; their sequence numbers as they are told one by one. */
static int report_expunged(struct store_view *v, struct store_news *news, size_t *first_new)
{
    struct uid_list *gone = &v->own->gone;
    size_t kept = 0, k = 0, removed_old = 0;

    if (gone->len == 0)
        return 0;
    for (size_t i = 0; i < v->messages.len; i++) {
        uint32_t uid = v->messages.items[i].uid;
        while (k < gone->len && gone->items[k] < uid)
            k++;
        if (k < gone->len && gone->items[k] == uid) {
            uint32_t *number = array_push(&news->expunged);
            if (number == NULL || add_uid((struct uid_list *)&news->expunged_uids, uid) < 0)
                return -ENOMEM;
            *number = (uint32_t)(kept + 1);
            removed_old += i < *first_new;
            continue;
        }
        if (kept != i)
            v->messages.items[kept] = v->messages.items[i];
        kept++;
    }
    v->messages.len = kept;
    *first_new -= removed_old;
    kept = 0;
    for (size_t i = 0; i < v->recent.len; i++) {
        if (!is_gone(gone, v->recent.items[i]))
            v->recent.items[kept++] = v->recent.items[i];
    }
    v->recent.len = kept;
    array_free(gone);
    return 0;
}

static int report_changed(struct store_view *v, struct store_news *news, uint64_t before,
                          size_t first_new)
{
    for (size_t i = 0; i < first_new; i++) {
        uint32_t *number;
        if (v->messages.items[i].modseq <= before)
            continue;
        number = array_push(&news->changed);
        if (number == NULL)
            return -ENOMEM;
        *number = (uint32_t)(i + 1);
    }
    return 0;
}

static int refresh_job(struct store_account *a, void *arg)
{
    struct view_job *job = arg;
    struct store_view *v = job->view;
    int rc = account_view(a, read_news, job);

    if (rc == 0 && job->news->arrived > 0)
        rc = note_recent(a, job);
    if (rc == 0 && job->may_expunge)
        rc = report_expunged(v, job->news, &job->first_new);
    if (rc == 0 && job->has_news)
        rc = report_changed(v, job->news, job->before, job->first_new);
    if (rc == 0) {
        job->news->keywords_changed = v->own->is_renamed;
        v->own->is_renamed = false;
    }
    return rc;
}

/* Said by the loop itself, as at the end of most commands: a hand-over to a worker and back
 * is two thirds of what a NOOP takes (75 us, 23 without). */
static bool is_unchanged(const struct store_view *v, bool may_expunge)
{
    const struct store_view_own *own = v->own;

    return !v->is_parked && !own->is_renamed && (own->gone.len == 0 || !may_expunge) &&
           account_is_at(v->account, own->segment, own->offset);
}

int store_view_refresh(struct store_view *v, bool may_expunge, struct store_news *news)
{
    struct view_job job = {.view = v, .news = news, .may_expunge = may_expunge};
    bool was_parked = v->is_parked;
    int rc;

    *news = (struct store_news){0};
    if (is_unchanged(v, may_expunge))
        return 0;
    if (was_parked)
        v->account->awake++;
    rc = account_go_on(v->account, TASK_POOL_STORE, refresh_job, &job);
    if (was_parked && v->is_parked)
        v->account->awake--;
    if (rc < 0)
        store_news_free(news);
    return rc;
}

void store_news_free(struct store_news *n)
{
    array_free(&n->expunged);
    array_free(&n->expunged_uids);
    array_free(&n->changed);
}
