#include "store/account.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"

enum {
    GUARD_OFFSET = 64, /* the octet of the file tail whose lock guards opening the index */
    CATCH_UP_RECORDS = 20000,
    DEFAULT_OPEN_LIMIT = 512,
    DEFAULT_NAME_LIMIT = 255,
    DEFAULT_DEPTH_LIMIT = 20,
    DEFAULT_BLOB_THRESHOLD = 1024 * 1024,
};

static struct list stores = {&stores, &stores};

/* --- the store --- */

static void set_options(struct store *s, const struct store_options *options)
{
    struct store_options *o = &s->options;

    *o = *options;
    if (o->open_limit == 0)
        o->open_limit = DEFAULT_OPEN_LIMIT;
    if (o->name_limit == 0 || o->name_limit > INDEX_NAME_MAX)
        o->name_limit = o->name_limit == 0 ? DEFAULT_NAME_LIMIT : INDEX_NAME_MAX;
    if (o->depth_limit == 0)
        o->depth_limit = DEFAULT_DEPTH_LIMIT;
    if (o->blob_threshold == 0)
        o->blob_threshold = DEFAULT_BLOB_THRESHOLD;
    journal_options_store(&s->journal);
    if (o->segment_size != 0)
        s->journal.segment_size = o->segment_size;
    if (o->alignment != 0)
        s->journal.alignment = o->alignment;
    /* A message must fit into a segment, with room for its head. */
    if (o->blob_threshold > s->journal.segment_size / 4)
        o->blob_threshold = s->journal.segment_size / 4;
}

int store_new(struct store **out, int dirfd, const struct store_options *options)
{
    struct stat st;
    struct store *s;
    int rc;

    if (fstat(dirfd, &st) < 0)
        return -errno;
    LIST_FOR(item, &stores)
    {
        const struct store *other = LIST_ITEM(item, struct store, link);
        if (other->device == st.st_dev && other->inode == st.st_ino)
            return -EBUSY; /* one LMDB environment must not be opened twice */
    }
    s = NEW(struct store);
    if (s == NULL)
        return -ENOMEM;
    s->rootfd = dirfd;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    list_init(&s->open);
    task_cond_init(&s->begun);
    task_cond_init(&s->others);
    list_init(&s->link);
    set_options(s, options);
    s->deliveries = calloc(RECENT_DELIVERIES, sizeof(*s->deliveries));
    rc = s->deliveries == NULL ? -ENOMEM : journal_boot_read(dirfd, &s->boot);
    if (rc == 0)
        rc = watch_init(s);
    if (rc < 0) {
        store_free(s);
        return rc;
    }
    /* LMDB takes 2 MiB for each environment that is written to; from the heap they
     * would be zeroed and never given back. */
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    list_append(&stores, &s->link);
    *out = s;
    return 0;
}

static void close_files(struct store_account *a)
{
    index_close(a->index);
    a->index = NULL;
    journal_shared_close(a->journal);
    a->journal = NULL;
    fd_close(&a->guardfd);
    fd_close(&a->dirfd);
}

static void free_account(struct store_account *a)
{
    close_files(a);
    list_remove(&a->link);
    if (a->has_place)
        a->store->places--;
    hash_remove(&a->store->accounts, &a->node);
    free(a);
}

void store_free(struct store *s)
{
    struct hash_walk w = {0};
    struct hash_node *n;

    if (s == NULL)
        return;
    while ((n = hash_walk(&s->accounts, &w)) != NULL)
        free_account(CONTAINER_OF(n, struct store_account, node));
    hash_fini(&s->accounts);
    watch_fini(s);
    list_remove(&s->link);
    free(s->deliveries);
    free(s);
}

/* --- turns --- */

struct run {
    struct store_account *account, *victim;
    account_fn *fn;
    void *arg;
    int result;
};

static void run_job(void *arg)
{
    struct run *r = arg;

    if (r->victim != NULL)
        close_files(r->victim);
    r->result = r->fn(r->account, r->arg);
}

static bool is_at_rest(const struct store_account *a)
{
    return a->turn.free > 0 && a->syncing == 0;
}

/* The account used longest ago that nobody works with. */
static struct store_account *find_victim(struct store *s)
{
    for (struct list *item = s->open.prev; item != &s->open; item = item->prev) {
        struct store_account *a = LIST_ITEM(item, struct store_account, link);
        if (is_at_rest(a))
            return a;
    }
    return NULL;
}

static bool is_full(const struct store *s)
{
    return s->places >= s->options.open_limit;
}

static bool has_room(struct store *s)
{
    return s->opening < OPENING_MAX && (!is_full(s) || find_victim(s) != NULL);
}

static bool is_line_before(const struct store *s, const struct task_cond *line)
{
    return task_cond_is_awaited(&s->begun) || task_cond_is_awaited(line);
}

/* A place for the files of an account whose turn this task has; *victim, if not NULL, must
 * be closed before they are opened, and is taken too. Only a few accounts are opened at a
 * time: of thousands that have something to do at once, those that are open get all of it
 * done before others take their places. 1,000 messages for idling clients: 12 files opened
 * for each, 19 before. */
static int take_place(struct store_account *a, struct task_cond *line,
                      struct store_account **victim)
{
    struct store *s = a->store;
    bool is_behind = is_line_before(s, line);
    int rc = 0;

    *victim = NULL;
    while (rc == 0 && (is_behind || !has_room(s))) {
        rc = task_cond_wait(line, DEADLINE_NONE);
        is_behind = false;
    }
    if (rc == 0 && is_full(s)) {
        *victim = find_victim(s);
        rc = task_semaphore_take(&(*victim)->turn, DEADLINE_NONE);
        if (rc < 0)
            *victim = NULL;
    }
    if (rc < 0)
        return rc;
    a->has_place = a->is_opening = true;
    s->places++;
    s->opening++;
    return 0;
}

static void leave_place(struct store_account *a)
{
    if (!a->has_place)
        return;
    a->has_place = false;
    a->store->places--;
}

/* Somebody who waits may have a place now. Nobody is woken for nothing: he would stand last
 * in his line again, behind thousands. Of five, four were begun, so that no line waits for
 * ever. */
static void wake_next(struct store *s)
{
    struct task_cond *line = &s->begun, *other = &s->others;

    if (!is_line_before(s, other) || !has_room(s))
        return;
    if (s->woken++ % 5 == 4) {
        line = &s->others;
        other = &s->begun;
    }
    task_cond_signal(task_cond_is_awaited(line) ? line : other);
}

static void end_turn(struct store_account *a)
{
    struct store *s = a->store;

    list_remove(&a->link);
    if (a->dirfd >= 0)
        list_prepend(&s->open, &a->link);
    else
        leave_place(a);
    if (a->is_opening)
        s->opening--;
    a->is_opening = false;
    task_semaphore_give(&a->turn);
    wake_next(s);
    if (a->refs == 0 && a->dirfd < 0)
        free_account(a);
}

void account_begin_sync(struct store_account *a)
{
    a->syncing++;
}

void account_end_sync(struct store_account *a)
{
    if (--a->syncing == 0)
        wake_next(a->store);
}

static int run(struct store_account *a, struct task_cond *line, enum task_pool pool, account_fn *fn,
               void *arg)
{
    struct run r = {.account = a, .fn = fn, .arg = arg};
    int rc;

    a->refs++; /* until the end of the turn */
    atomic_fetch_add(&a->waiting, 1);
    rc = task_semaphore_take(&a->turn, DEADLINE_NONE);
    atomic_fetch_sub(&a->waiting, 1);
    if (rc == 0) {
        if (a->dirfd < 0)
            rc = take_place(a, line, &r.victim);
        if (rc == 0)
            rc = task_offload(pool, run_job, &r);
        if (rc == 0)
            rc = r.result;
        if (r.victim != NULL)
            end_turn(r.victim);
        a->refs--;
        end_turn(a);
        return rc;
    }
    a->refs--;
    return rc;
}

int account_run(struct store_account *a, enum task_pool pool, account_fn *fn, void *arg)
{
    return run(a, &a->store->others, pool, fn, arg);
}

int account_go_on(struct store_account *a, enum task_pool pool, account_fn *fn, void *arg)
{
    return run(a, &a->store->begun, pool, fn, arg);
}

/* --- files --- */

static int write_snapshot(void *arg, bool is_wanted, const struct journal_cursor *as_of,
                          struct str *out)
{
    struct store_account *a = arg;

    if (!is_wanted || a->txn == NULL)
        return 1;
    return snapshot_write(a->txn, out);
}

static int open_journal(struct store_account *a, bool create)
{
    int rc;

    a->dirfd = openat(a->store->rootfd, a->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (a->dirfd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : -errno;
    disk_real_init(&a->disk, a->dirfd);
    rc = journal_shared_open(&a->disk.disk, &a->store->journal, &a->store->boot, create,
                             &a->journal);
    if (rc < 0) {
        fd_close(&a->dirfd);
        return rc;
    }
    journal_shared_set_snapshot(a->journal, write_snapshot, a);
    journal_shared_set_begin(a->journal, account_begin, a->store);
    return 0;
}

int account_need_journal(struct store_account *a)
{
    return a->journal != NULL ? 0 : open_journal(a, false);
}

int account_make_journal(struct store_account *a)
{
    int rc = account_need_journal(a);

    if (rc != ERR_NOT_FOUND)
        return rc;
    rc = account_make_directory(a);
    return rc < 0 ? rc : open_journal(a, true);
}

/* Without a hint it may just have been begun, or its maker may have died. */
static int need_begun(struct store_account *a)
{
    uint64_t segment, offset;
    int rc = journal_shared_peek(a->journal, &segment, &offset);

    if (rc != ERR_NOT_FOUND)
        return rc;
    rc = journal_shared_lock(a->journal, NULL);
    if (rc == 0)
        journal_shared_unlock(a->journal);
    return rc;
}

static int guard(struct store_account *a, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = GUARD_OFFSET, .l_len = 1};
    int rc;

    do
        rc = fcntl(a->guardfd, F_OFD_SETLKW, &lock);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int account_need_index(struct store_account *a)
{
    int rc = account_need_journal(a);

    if (rc < 0)
        return rc;
    if (a->index != NULL && !index_is_bad(a->index))
        return 0;
    rc = need_begun(a);
    if (rc < 0)
        return rc;
    a->guardfd = openat(a->dirfd, "tail", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (a->guardfd < 0)
        return -errno;
    rc = guard(a, F_WRLCK);
    if (rc == 0 && a->index != NULL) {
        index_close(a->index);
        a->index = NULL;
        index_remove(a->dirfd);
    }
    if (rc == 0)
        rc = index_open(a->dirfd, &a->store->boot, &a->index);
    fd_close(&a->guardfd); /* and the lock with it */
    return rc;
}

/* --- the index --- */

struct tail {
    struct store_account *account;
    bool more;
};

static int apply_some(struct index_txn *t, void *arg)
{
    struct tail *tail = arg;

    return apply_tail(t, &tail->account->disk.disk, CATCH_UP_RECORDS, &tail->more);
}

static int read_applied(struct index_txn *t, void *arg)
{
    *(struct journal_cursor *)arg = t->meta.applied;
    return 0;
}

static bool is_at_end(struct store_account *a)
{
    struct journal_cursor applied;
    uint64_t segment, offset;

    return journal_shared_peek(a->journal, &segment, &offset) == 0 &&
           index_view(a->index, read_applied, &applied) == 0 && applied.segment == segment &&
           applied.offset == offset;
}

bool account_is_at(struct store_account *a, uint64_t segment, uint64_t offset)
{
    return a->turn.free > 0 && a->journal != NULL &&
           journal_shared_is_at(a->journal, segment, offset);
}

int account_catch_up(struct store_account *a)
{
    struct tail tail = {a, true};
    int rc = account_need_index(a);

    if (rc < 0 || is_at_end(a))
        return rc;
    while (rc == 0 && tail.more)
        rc = index_update(a->index, apply_some, &tail);
    return rc;
}

int account_view(struct store_account *a, index_fn *fn, void *arg)
{
    int rc = account_catch_up(a);

    if (rc >= 0)
        rc = index_view(a->index, fn, arg);
    if (rc == ERR_CORRUPT && a->index != NULL && index_is_bad(a->index)) {
        rc = account_catch_up(a);
        if (rc >= 0)
            rc = index_view(a->index, fn, arg);
    }
    return rc;
}

int account_update_index(struct store_account *a, index_fn *fn, void *arg)
{
    return index_update(a->index, fn, arg);
}

int account_sync_all(struct store_account *a)
{
    int rc = account_need_journal(a);

    return rc < 0 ? rc : journal_shared_sync_all(a->journal);
}

/* --- opening --- */

bool account_id_is_valid(struct span id)
{
    if (id.n == 0 || id.n > ACCOUNT_ID_MAX || id.p[0] == '.')
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static void make_path(struct span id, char path[ACCOUNT_PATH_MAX + 1])
{
    snprintf(path, ACCOUNT_PATH_MAX + 1, "%02x/%.*s", crc32c(0, id.p, id.n) & 0xff, SPAN_ARG(id));
}

static struct store_account *find_account(struct store *s, struct span id, uint64_t hash)
{
    for (struct hash_node *n = hash_first(&s->accounts, hash); n != NULL; n = hash_next(n)) {
        struct store_account *a = CONTAINER_OF(n, struct store_account, node);
        if (span_eq(span_cstr(a->id), id))
            return a;
    }
    return NULL;
}

static struct store_account *new_account(struct store *s, struct span id, uint64_t hash)
{
    struct store_account *a = NEW(struct store_account);

    if (a == NULL)
        return NULL;
    a->store = s;
    memcpy(a->id, id.p, id.n);
    make_path(id, a->path);
    a->dirfd = a->guardfd = -1;
    a->watch_id = -1;
    task_semaphore_init(&a->turn, 1);
    list_init(&a->link);
    list_init(&a->watches);
    if (hash_insert(&s->accounts, &a->node, hash) < 0) {
        free(a);
        return NULL;
    }
    return a;
}

static int open_job(struct store_account *a, void *arg)
{
    bool create = *(bool *)arg;
    int rc = create ? account_make_journal(a) : account_need_journal(a);

    return rc < 0 || !create ? rc : need_begun(a);
}

int account_ref(struct store *s, struct span id, struct store_account **out)
{
    uint64_t hash = span_hash(id);
    struct store_account *a;

    if (!account_id_is_valid(id))
        return -EINVAL;
    a = find_account(s, id, hash);
    if (a == NULL)
        a = new_account(s, id, hash);
    if (a == NULL)
        return -ENOMEM;
    a->refs++;
    *out = a;
    return 0;
}

int store_open(struct store *s, struct span id, bool create, struct store_account **out)
{
    struct store_account *a;
    int rc = account_ref(s, id, &a);

    if (rc < 0)
        return rc;
    if (a->dirfd < 0 || a->turn.free == 0)
        rc = account_run(a, TASK_POOL_STORE, open_job, &create);
    if (rc < 0) {
        store_close(a);
        return rc;
    }
    *out = a;
    return 0;
}

void store_close(struct store_account *a)
{
    if (a == NULL)
        return;
    a->refs--;
    /* Its files stay open for the next one, within open_limit. */
    if (a->refs == 0 && a->dirfd < 0 && a->turn.free > 0)
        free_account(a);
}

static int rest_job(struct store_account *a, void *arg)
{
    close_files(a);
    return 0;
}

void store_rest(struct store_account *a)
{
    bool was;

    if (a->awake > 0 || a->dirfd < 0 || a->turn.free == 0 || a->syncing > 0)
        return;
    was = task_shield(true);
    (void)account_run(a, TASK_POOL_STORE, rest_job, NULL);
    task_shield(was);
}
