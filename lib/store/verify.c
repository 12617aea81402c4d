/* Checking an account: every record and body, every message's place, and the index
 * against one made anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "store/body.h"

enum { FINDINGS_MAX = 1000 };

struct check {
    struct store_account *account;
    struct str *report;
    unsigned findings;
    uint64_t checksum, pairs; /* of an index */
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

/* --- the journal --------------------------------------------------------------------------------
 */

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

/* --- messages
 * ------------------------------------------------------------------------------------- */

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

/* --- the index against a new one
 * -------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        hash = (hash ^ (unsigned char)s.p[i]) * 0x100000001b3;
    return hash;
}

/* Not what only an index knows: \Recent (in A), recent deliveries. */
static int add_pair(void *arg, struct span key, struct span value)
{
    struct check *c = arg;

    if (key.p[0] == 'A' || key.p[0] == 'D')
        return 0;
    c->checksum = mix(mix(c->checksum, key), value);
    c->pairs++;
    return 0;
}

static int sum_pairs(struct index_txn *t, void *arg)
{
    struct check *c = arg;

    c->checksum = 0xcbf29ce484222325;
    c->pairs = 0;
    return index_dump(t, add_pair, c);
}

static int verify_job(struct store_account *a, void *arg)
{
    struct check *c = arg;
    uint64_t checksum, pairs;
    int rc = account_view(a, check_boxes, c);

    if (rc == 0)
        rc = check_records(c);
    if (rc == 0)
        rc = account_view(a, sum_pairs, c);
    if (rc < 0)
        return rc;
    checksum = c->checksum;
    pairs = c->pairs;
    index_close(a->index);
    a->index = NULL;
    index_remove(a->dirfd);
    rc = account_view(a, sum_pairs, c);
    if (rc == 0 && (c->checksum != checksum || c->pairs != pairs))
        find(c, "the index was not what the journal says (%llu entries, now %llu)",
             (unsigned long long)pairs, (unsigned long long)c->pairs);
    return rc;
}

int store_verify(struct store_account *a, struct str *report)
{
    struct check c = {.account = a, .report = report};

    return account_run(a, TASK_POOL_STORE, verify_job, &c);
}
