/* Checking an account: every record and body, every message's place, and the index
 * against one made anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "base/fd.h"
#include "store/body.h"

enum { FINDINGS_MAX = 1000 };
static const char scratch[] = "verify"; /* holds the index made anew meanwhile */

/* An entry of an index, short enough to be kept for each of a million messages. */
struct entry {
    uint64_t key, value; /* hashes */
};

struct entries {
    ARRAY(struct entry) items;
};

struct check {
    struct store_account *account;
    struct str *report;
    unsigned findings;
    struct entries before; /* of the index as it was found */
    size_t at;             /* how many of the new one agree with it */
    bool is_different;
};

static void find(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void find(struct check *c, const char *fmt, ...)
{
    va_list ap;

    if (c->findings++ >= FINDINGS_MAX)
        return;
    va_start(ap, fmt);
    str_vprintf(c->report, fmt, ap);
    va_end(ap);
    str_append_char(c->report, '\n');
}

/* --- the journal --- */

static int check_records(struct check *c)
{
    struct journal_reader *reader;
    struct journal_record record;
    int rc = journal_reader_open(&c->account->disk.disk, NULL, false, &reader);

    if (rc < 0)
        return rc;
    while ((rc = journal_reader_next(reader, &record)) != 0) {
        struct record r;
        if (rc == ERR_CORRUPT) {
            find(c, "the journal is damaged in a sealed segment");
            rc = journal_reader_skip(reader);
            if (rc < 0)
                break;
            continue;
        }
        if (rc < 0)
            break;
        if (record.kind >= JOURNAL_KIND_USER) {
            rc = record_decode(record.kind, record.head, &r);
            if (rc < 0)
                find(c, "record %llu, kind %u: %s", (unsigned long long)record.number, record.kind,
                     error_text(rc));
        }
    }
    journal_reader_close(reader);
    return rc < 0 && rc != ERR_NOT_FOUND ? rc : 0;
}

/* --- messages --- */

static void check_message(struct check *c, const struct index_box *box,
                          const struct index_message *m)
{
    struct journal_record record;
    struct store_body body;
    struct str text = {0};
    struct record r;
    int rc;

    if (m->segment == 0) {
        rc = body_locate(c->account, m, &body);
        if (rc == 0 && (uint64_t)lseek(body.fd, 0, SEEK_END) != m->size)
            rc = ERR_TRUNCATED;
        fd_close(&body.fd);
    } else {
        rc = body_record(c->account, m, &text, &r, &record);
        str_clear(&text);
        if (rc == 0 && record.body.n != m->size)
            rc = ERR_CORRUPT;
        if (rc == 0)
            rc = journal_shared_read(c->account->journal, &record.at, &text, &record);
    }
    if (rc < 0)
        find(c, "mailbox %u (%.*s), UID %u: %s", box->id, SPAN_ARG(index_box_name(box)), m->uid,
             error_text(rc));
    str_fini(&text);
}

static int check_box(struct index_txn *t, struct check *c, const struct index_box *box)
{
    uint64_t messages = 0, bytes = 0, unseen = 0;
    struct index_message m;
    struct index_walk w;
    int rc = index_walk_begin(t, box->id, 0, &w);

    while (rc >= 0 && (rc = index_walk_next(&w, &m)) > 0) {
        messages++;
        bytes += m.size;
        unseen += !(m.flags & STORE_SEEN);
        if (m.uid >= box->uidnext)
            find(c, "mailbox %u: UID %u is not below UIDNEXT", box->id, m.uid);
        check_message(c, box, &m);
    }
    index_walk_end(&w);
    if (messages != box->messages || bytes != box->bytes || unseen != box->unseen)
        find(c, "mailbox %u (%.*s): counters are wrong", box->id, SPAN_ARG(index_box_name(box)));
    return rc;
}

static int check_boxes(struct index_txn *t, void *arg)
{
    struct index_boxes boxes = {0};
    struct check *c = arg;
    int rc = index_box_list(t, &boxes);

    for (size_t i = 0; rc == 0 && i < boxes.items.len; i++)
        rc = check_box(t, c, &boxes.items.items[i]);
    array_free(&boxes.items);
    return rc;
}

/* --- the index against a new one --- */

static uint64_t hash(struct span s)
{
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < s.n; i++)
        sum = (sum ^ (unsigned char)s.p[i]) * 0x100000001b3;
    return sum;
}

/* Only an index knows these: \Recent (in A). */
static bool is_own(struct span key)
{
    return key.p[0] == 'A';
}

static int keep_entry(void *arg, struct span key, struct span value)
{
    struct check *c = arg;
    struct entry *e;

    if (is_own(key))
        return 0;
    e = array_push(&c->before.items);
    if (e == NULL)
        return -ENOMEM;
    *e = (struct entry){hash(key), hash(value)};
    return 0;
}

static int keep_entries(struct index_txn *t, void *arg)
{
    struct check *c = arg;

    return index_dump(t, keep_entry, c);
}

/* The first difference is told; the entries behind it need not line up. */
static int compare_entry(void *arg, struct span key, struct span value)
{
    struct check *c = arg;
    const struct entry *e = c->at < c->before.items.len ? &c->before.items.items[c->at] : NULL;

    if (is_own(key) || c->is_different)
        return 0;
    if (e != NULL && e->key == hash(key) && e->value == hash(value)) {
        c->at++;
        return 0;
    }
    c->is_different = true;
    find(c, "the index was not what the journal says: entry %zu of %zu, %c%s", c->at,
         c->before.items.len, key.p[0],
         e != NULL && e->key == hash(key) ? " with another value"
                                          : " missing or in its place another");
    return 0;
}

static int compare_entries(struct index_txn *t, void *arg)
{
    struct check *c = arg;
    int rc = index_dump(t, compare_entry, c);

    if (rc == 0 && !c->is_different && c->at < c->before.items.len)
        find(c, "the index was not what the journal says: %zu entries, and %zu more", c->at,
             c->before.items.len - c->at);
    return rc;
}

static int apply_all(struct index_txn *t, void *arg)
{
    struct store_account *a = arg;
    bool more = true;
    int rc = 0;

    while (rc == 0 && more)
        rc = apply_tail(t, &a->disk.disk, UINT32_MAX, &more);
    return rc;
}

/* A new index in a directory of its own: sessions go on with the account's. */
static int make_index(struct store_account *a, struct check *c)
{
    struct index *index = NULL;
    int rc, fd;

    if (mkdirat(a->dirfd, scratch, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(a->dirfd, scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    index_remove(fd); /* of a check that was killed */
    rc = index_open(fd, &a->store->boot, &index);
    if (rc == 0)
        rc = index_update(index, apply_all, a);
    if (rc == 0)
        rc = index_view(index, compare_entries, c);
    index_close(index);
    index_remove(fd);
    fd_close(&fd);
    unlinkat(a->dirfd, scratch, AT_REMOVEDIR);
    return rc;
}

/* Under the journal's lock: both indexes have the same records applied. */
static int compare_indexes(struct store_account *a, struct check *c)
{
    int rc = journal_shared_lock(a->journal, NULL);

    if (rc < 0)
        return rc;
    rc = account_view(a, keep_entries, c);
    if (rc == 0)
        rc = make_index(a, c);
    journal_shared_unlock(a->journal);
    return rc;
}

static int verify_job(struct store_account *a, void *arg)
{
    struct check *c = arg;
    int rc = account_view(a, check_boxes, c);

    if (rc == 0)
        rc = check_records(c);
    return rc < 0 ? rc : compare_indexes(a, c);
}

int store_verify(struct store_account *a, struct str *report)
{
    struct check c = {.account = a, .report = report};
    int rc = account_run(a, TASK_POOL_STORE, verify_job, &c);

    array_free(&c.before.items);
    return rc;
}
