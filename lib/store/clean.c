/*
 * The cleaner: gives back the space of dead messages. It moves what is live out of the
 * segment with the least of it, one segment a call, and removes segments and blobs that
 * have been dead for as long as the undelete window.
 *
 * A segment may go when its live bodies stand elsewhere, durably, and a later segment
 * begins with a snapshot, which replaces its change records.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"
#include "store/blob.h"
#include "store/body.h"
#include "store/clean.h"

enum {
    HEAD_ESTIMATE = 512,           /* octets of a record beside the body */
    MOVE_OCTETS = 4 * 1024 * 1024, /* at most in one commit */
    BLOB_GRACE_S = 600,            /* a blob is older than its record */
};

/* Where a live body stands, and for whom. */
struct place {
    uint32_t segment, offset;
    uint32_t box, uid;
    uint64_t size;
    unsigned char guid[GUID_SIZE];
};

struct work {
    struct store_account *account;
    ARRAY(struct place) places; /* sorted; segment 0: blobs, by GUID */
    struct journal_shared_segment *segments;
    size_t segment_count;
    uint64_t victim;  /* 0: none */
    size_t at, until; /* its places */
    int64_t now;
    ARRAY(uint64_t) removable;
    ARRAY(struct place) dead_blobs;
};

/* --- what is live --- */

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    if (x->segment == 0)
        return memcmp(x->guid, y->guid, GUID_SIZE);
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int read_box(struct index_txn *t, struct work *w, uint32_t box)
{
    struct index_message m;
    struct index_walk walk;
    int rc = index_walk_begin(t, box, 0, &walk);

    while (rc >= 0 && (rc = index_walk_next(&walk, &m)) > 0) {
        struct place *p = array_push(&w->places);
        if (p == NULL) {
            rc = -ENOMEM;
            break;
        }
        *p = (struct place){m.segment, m.offset, box, m.uid, m.size, {0}};
        memcpy(p->guid, m.guid, GUID_SIZE);
    }
    index_walk_end(&walk);
    return rc;
}

static int read_places(struct index_txn *t, void *arg)
{
    struct work *w = arg;
    struct index_boxes boxes = {0};
    int rc = index_box_list(t, &boxes);

    array_clear(&w->places);
    for (size_t i = 0; rc == 0 && i < boxes.items.len; i++)
        rc = read_box(t, w, boxes.items.items[i].id);
    array_free(&boxes.items);
    if (rc == 0 && w->places.len > 0)
        qsort(w->places.items, w->places.len, sizeof(struct place), compare_places);
    return rc;
}

/* Octets of live records in a segment; copies of a message share one. */
static uint64_t live_octets(const struct work *w, uint64_t segment, size_t *from, size_t *until)
{
    uint64_t live = 0;

    *from = *until = 0;
    for (size_t i = 0; i < w->places.len; i++) {
        const struct place *p = &w->places.items[i];
        if (p->segment != segment)
            continue;
        if (*until == 0)
            *from = i;
        if (*until == 0 || p->offset != w->places.items[i - 1].offset)
            live += p->size + HEAD_ESTIMATE;
        *until = i + 1;
    }
    return live;
}

/* The sealed segment with the least that is live, if enough is dead in all. */
static void choose_victim(struct work *w)
{
    uint64_t total = 0, live = 0, least = UINT64_MAX;

    for (size_t i = 0; i < w->segment_count; i++) {
        const struct journal_shared_segment *s = &w->segments[i];
        size_t from, until;
        uint64_t octets = live_octets(w, s->number, &from, &until);
        total += s->size;
        live += octets;
        if (!s->is_active && !s->is_leftover && octets > 0 && octets < least) {
            least = octets;
            w->victim = s->number;
            w->at = from;
            w->until = until;
        }
    }
    if (total < live || total - live <= total / 3 + w->account->store->journal.segment_size)
        w->victim = 0;
}

/* --- moving --- */

static bool is_here(struct index_txn *t, const struct place *p)
{
    struct index_message m;

    return index_message(t, p->box, p->uid, &m) == 0 && m.segment == p->segment &&
           m.offset == p->offset;
}

/* One record, with all messages that it is the body of. */
static int add_moved(struct index_txn *t, struct commit *c, struct work *w,
                     const struct place *first, size_t count, uint64_t *octets)
{
    struct journal_shared *j = w->account->journal;
    struct journal_record record;
    struct str text = {0}, owners = {0};
    struct span body;
    struct record r;
    int rc;

    for (size_t i = 0; i < count; i++) {
        if (is_here(t, &first[i]))
            record_append_pair(&owners, first[i].box, first[i].uid);
    }
    if (owners.len == 0) {
        str_fini(&owners);
        return 0;
    }
    rc = journal_shared_read_head(j, first->segment, first->offset, BODY_HEAD_MAX, &text, &record);
    str_clear(&text);
    if (rc == 0)
        rc = journal_shared_read(j, &record.at, &text, &record);
    if (rc == 0)
        rc = record_decode(record.kind, record.head, &r);
    if (rc == 0)
        rc = arena_copy(&c->arena, record.body, &body);
    if (rc == 0) {
        r.kind = RECORD_MOVED;
        r.owners = str_span(&owners);
        rc = commit_add(t, c, &r, 0, body, NULL);
        *octets += body.n;
    }
    str_fini(&text);
    str_fini(&owners);
    return rc;
}

static int build_moved(struct index_txn *t, struct commit *c, void *arg)
{
    struct work *w = arg;
    uint64_t octets = 0, limit = w->account->store->journal.segment_size / 2;
    int rc = 0;

    if (limit > MOVE_OCTETS)
        limit = MOVE_OCTETS;
    while (rc == 0 && w->at < w->until && octets < limit) {
        const struct place *first = &w->places.items[w->at];
        size_t count = 1;
        while (w->at + count < w->until && first[count].offset == first->offset)
            count++;
        if (octets > 0 && octets + first->size > limit)
            break;
        rc = add_moved(t, c, w, first, count, &octets);
        if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND) {
            /* Damaged on disk: the segment must stay for a closer look. */
            log_error("store: account %s: a message in segment %u is damaged", w->account->id,
                      first->segment);
            w->victim = 0;
            rc = ERR_CORRUPT;
        }
        w->at += count;
    }
    return rc;
}

/* --- removing --- */

static bool has_later_snapshot(const struct work *w, uint64_t segment)
{
    for (size_t i = 0; i < w->segment_count; i++) {
        if (w->segments[i].number > segment && w->segments[i].has_snapshot)
            return true;
    }
    return false;
}

static int seal_with_snapshot(struct index_txn *t, void *arg)
{
    struct store_account *a = arg;
    bool more = true;
    int rc = 0;

    while (rc == 0 && more)
        rc = apply_tail(t, &a->disk.disk, UINT32_MAX, &more);
    a->txn = t;
    if (rc == 0)
        rc = journal_shared_seal(a->journal, true);
    a->txn = NULL;
    return rc;
}

static int make_snapshot(struct store_account *a)
{
    int rc = journal_shared_lock(a->journal, NULL);

    if (rc < 0)
        return rc;
    rc = index_update(a->index, seal_with_snapshot, a);
    journal_shared_unlock(a->journal);
    return rc;
}

/* Since when a segment or blob has been dead: noted at the first look. */
static int is_ripe(struct index_txn *t, struct work *w, struct span key, bool *yes)
{
    int64_t since;
    int rc = index_dead_since(t, key, w->now, &since);

    *yes = rc == 0 && w->now - since >= w->account->store->options.undelete_window_s;
    return rc;
}

static int note_dead(struct index_txn *t, void *arg)
{
    struct work *w = arg;
    int rc = 0;

    array_clear(&w->removable);
    for (size_t i = 0; rc == 0 && i < w->segment_count; i++) {
        const struct journal_shared_segment *s = &w->segments[i];
        size_t from, until;
        bool is_now = false;
        if (s->is_active || s->is_leftover || live_octets(w, s->number, &from, &until) > 0)
            continue;
        rc = is_ripe(t, w, span_make(&s->number, sizeof(s->number)), &is_now);
        if (rc == 0 && is_now) {
            uint64_t *number = array_push(&w->removable);
            if (number == NULL)
                rc = -ENOMEM;
            else
                *number = s->number;
        }
    }
    for (size_t i = 0; rc == 0 && i < w->dead_blobs.len; i++) {
        bool is_now = false;
        rc = is_ripe(t, w, span_make(w->dead_blobs.items[i].guid, GUID_SIZE), &is_now);
        w->dead_blobs.items[i].size = is_now;
    }
    return rc;
}

static int read_segments(struct work *w)
{
    free(w->segments);
    w->segments = NULL;
    return journal_shared_segments(w->account->journal, &w->segments, &w->segment_count);
}

static int remove_segments(struct work *w)
{
    struct journal_shared *j = w->account->journal;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < w->removable.len; i++) {
        if (!has_later_snapshot(w, w->removable.items[i])) {
            rc = make_snapshot(w->account);
            if (rc == 0)
                rc = read_segments(w);
        }
        if (rc == 0)
            rc = FAULT("store_clean_remove");
        if (rc == 0)
            rc = journal_shared_remove(j, w->removable.items[i]);
        if (rc == -EBUSY || rc == ERR_NOT_FOUND)
            rc = 0;
    }
    return rc;
}

/* --- blobs --- */

static bool is_live_blob(const struct work *w, const unsigned char *guid)
{
    struct place key = {0};

    memcpy(key.guid, guid, GUID_SIZE);
    return w->places.len > 0 &&
           bsearch(&key, w->places.items, w->places.len, sizeof(key), compare_places) != NULL;
}

static int look_at_blob(struct work *w, int fd, const char *name)
{
    struct str guid = {0};
    struct place *dead;
    struct stat st;
    bool is_dead = strlen(name) == 2 * GUID_SIZE && hex_decode(&guid, span_cstr(name)) == 0 &&
                   !is_live_blob(w, (const unsigned char *)guid.data) &&
                   fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                   w->now - st.st_mtime > BLOB_GRACE_S;

    if (is_dead) {
        dead = array_push(&w->dead_blobs);
        if (dead != NULL)
            memcpy(dead->guid, guid.data, GUID_SIZE);
    }
    str_fini(&guid);
    return 0;
}

static void list_blobs(struct work *w)
{
    int fd = openat(w->account->dirfd, "blob", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    const struct dirent *entry;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        look_at_blob(w, fd, entry->d_name);
    closedir(dir);
}

static void remove_blobs(struct work *w)
{
    for (size_t i = 0; i < w->dead_blobs.len; i++) {
        if (w->dead_blobs.items[i].size != 0)
            blob_remove(w->account->dirfd, w->dead_blobs.items[i].guid);
    }
}

/* --- one call --- */

static int look(struct store_account *a, void *arg)
{
    struct work *w = arg;
    int rc = account_view(a, read_places, w);

    if (rc == 0)
        rc = journal_shared_clean_begin(a->journal);
    if (rc == 0)
        rc = read_segments(w);
    if (rc == 0)
        choose_victim(w);
    return rc;
}

static int finish(struct store_account *a, void *arg)
{
    struct work *w = arg;
    int rc = account_view(a, read_places, w);

    if (rc == 0)
        rc = read_segments(w);
    list_blobs(w);
    if (rc == 0 && (w->segment_count > 1 || w->dead_blobs.len > 0))
        rc = account_update_index(a, note_dead, w);
    if (rc == 0)
        rc = remove_segments(w);
    if (rc == 0)
        remove_blobs(w);
    return rc;
}

static int end(struct store_account *a, void *arg)
{
    if (a->journal != NULL)
        journal_shared_clean_end(a->journal);
    return 0;
}

int store_clean(struct store_account *a, bool *more)
{
    struct work w = {.account = a, .now = clock_wall_s()};
    bool was = task_shield(true);
    int rc;

    *more = false;
    a->awake++; /* the lock on cleaning is held by the open journal */
    account_begin_sync(a);
    rc = account_run(a, TASK_POOL_STORE, look, &w);
    while (rc == 0 && w.victim != 0 && w.at < w.until)
        rc = account_commit(a, NULL, build_moved, &w);
    *more = rc == 0 && w.victim != 0;
    if (rc == 0)
        rc = account_run(a, TASK_POOL_STORE, finish, &w);
    (void)account_run(a, TASK_POOL_STORE, end, NULL);
    account_end_sync(a);
    a->awake--;
    task_shield(was);
    array_free(&w.places);
    array_free(&w.removable);
    array_free(&w.dead_blobs);
    free(w.segments);
    return rc;
}

/* --- in the background --- */

static void clean_task(void *arg)
{
    struct store_account *a = arg;
    bool more = true;
    int rc = 0;

    while (rc == 0 && more && !task_is_cancelled())
        rc = store_clean(a, &more);
    if (rc < 0 && rc != -EAGAIN && rc != -ECANCELED)
        log_warn("store: account %s: cleaning: %s", a->id, error_text(rc));
    a->is_cleaning = false;
    store_close(a);
}

void clean_consider(struct store_account *a, uint64_t octets)
{
    a->dead += octets;
    if (a->dead < a->store->journal.segment_size || a->is_cleaning)
        return;
    a->dead = 0;
    a->is_cleaning = true;
    a->refs++;
    if (task_spawn("store-clean", clean_task, a) == NULL) {
        a->is_cleaning = false;
        store_close(a);
    }
}
