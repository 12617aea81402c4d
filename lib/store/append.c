/* New messages: deliveries to INBOX without the index, and APPEND to any mailbox. */
#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"
#include "store/blob.h"
#include "store/cached.h"
#include "store/change.h"
#include "store/octets.h"

enum { DESCRIBED_MAX = 1024 * 1024, COPY_CHUNK = 256 * 1024 };

/* One message in the making. */
struct draft {
    const struct store_append *source;
    struct record_hot hot;
    bool is_blob, is_used; /* a blob that no record names is removed */
    struct str text, envelope, bodystructure;
    struct span message; /* empty for a blob */
};

static bool is_in_memory(const struct store_append *m)
{
    return m->fd < 0 && m->read == NULL;
}

static uint64_t source_length(const struct store_append *m)
{
    return m->prefix.n + (is_in_memory(m) ? m->content.n : m->length);
}

/* n octets from offset of a source that is not in memory. */
static int read_source(const struct store_append *m, uint64_t offset, void *buf, size_t n)
{
    char *p = buf;

    if (m->read == NULL) {
        int rc = fd_pread_full(m->fd, buf, n, m->offset + offset);
        return rc == ERR_EOF ? ERR_TRUNCATED : rc;
    }
    while (n > 0) {
        ssize_t got = m->read(m->read_arg, offset, p, n);
        if (got <= 0)
            return got < 0 ? (int)got : ERR_TRUNCATED;
        p += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

/* LFs without a CR before them: RFC822.SIZE counts such lines as if they had one. */
static uint64_t count_bare(struct span text)
{
    const char *p = text.p, *end = text.p + text.n, *lf;
    uint64_t count = 0;

    while (p < end && (lf = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        count += lf == text.p || lf[-1] != '\r';
        p = lf + 1;
    }
    return count;
}

/* A hash that nobody can aim at: delivery ids hold recipients' addresses. */
static uint64_t hash_delivery(struct span id)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    uint64_t hash;

    if (id.n == 0)
        return 0;
    SHA256((const unsigned char *)id.p, id.n, digest);
    hash = octets_get(digest, 8);
    return hash == 0 ? 1 : hash;
}

/* Strings that are too large, or cost too much to make, are made by the reader. */
static void describe(struct draft *d, struct span message)
{
    if (cached_describe(message, &d->envelope, &d->bodystructure) < 0 ||
        d->envelope.len + d->bodystructure.len > DESCRIBED_MAX) {
        str_fini(&d->envelope);
        str_fini(&d->bodystructure);
    }
    d->hot.bare = (uint32_t)count_bare(message);
}

/* --- small messages: in memory --- */

static int load_text(struct draft *d)
{
    const struct store_append *m = d->source;
    int rc = 0;

    if (is_in_memory(m) && m->prefix.n == 0) {
        d->message = m->content;
        return 0;
    }
    str_append(&d->text, m->prefix);
    if (is_in_memory(m)) {
        str_append(&d->text, m->content);
    } else if (str_reserve(&d->text, (size_t)m->length) == 0) {
        rc = read_source(m, 0, d->text.data + d->text.len, (size_t)m->length);
        if (rc == 0) {
            d->text.len += (size_t)m->length;
            d->text.data[d->text.len] = '\0';
        }
    }
    d->message = str_span(&d->text);
    return rc < 0 ? rc : str_error(&d->text);
}

/* --- large ones: a file --- */

static int copy_source(const struct store_append *m, int to)
{
    char *chunk = malloc(COPY_CHUNK);
    int rc = chunk == NULL ? -ENOMEM : 0;

    for (uint64_t at = 0; rc >= 0 && at < m->length;) {
        size_t n = m->length - at < COPY_CHUNK ? (size_t)(m->length - at) : COPY_CHUNK;
        rc = read_source(m, at, chunk, n);
        if (rc == 0)
            rc = fd_write_all(to, chunk, n);
        at += n;
    }
    free(chunk);
    return rc;
}

static int write_blob(struct store_account *a, struct draft *d)
{
    const struct store_append *m = d->source;
    void *map;
    int fd, rc = blob_create(a->dirfd, d->hot.guid, &fd);

    if (rc < 0)
        return rc;
    d->is_blob = true;
    rc = fd_write_all(fd, m->prefix.p, m->prefix.n);
    if (rc >= 0)
        rc = is_in_memory(m) ? fd_write_all(fd, m->content.p, m->content.n) : copy_source(m, fd);
    if (rc < 0) {
        fd_close(&fd);
        return rc;
    }
    map = mmap(NULL, (size_t)d->hot.size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map != MAP_FAILED) {
        describe(d, span_make(map, (size_t)d->hot.size));
        munmap(map, (size_t)d->hot.size);
    }
    return blob_finish(a->dirfd, &fd);
}

/* --- drafts --- */

/* In a full file system nobody could read his mail (the index cannot follow the journal) or
 * delete any (that is a record, too): messages leave room for that (store_minfree). */
static int check_space(const struct store_account *a, uint64_t size)
{
    uint64_t minfree = a->store->options.minfree;
    struct statvfs fs;

    if (minfree == 0 || fstatvfs(a->dirfd, &fs) < 0)
        return 0;
    return (uint64_t)fs.f_bavail * fs.f_frsize < minfree + size ? -ENOSPC : 0;
}

static int make_draft(struct store_account *a, struct draft *d)
{
    const struct store_append *m = d->source;
    int rc = check_space(a, source_length(m));

    if (rc < 0)
        return rc;

    d->hot = (struct record_hot){.flags = (uint16_t)m->flags,
                                 .zone = m->date_zone,
                                 .date = m->internal_date != 0 ? m->internal_date : clock_wall_s(),
                                 .size = source_length(m),
                                 .delivery = hash_delivery(m->delivery_id)};
    random_bytes(d->hot.guid, GUID_SIZE);
    if (d->hot.size > a->store->options.blob_threshold)
        return write_blob(a, d);
    rc = load_text(d);
    if (rc == 0)
        describe(d, d->message);
    return rc;
}

static void fill_record(const struct draft *d, uint32_t mailbox, struct record *r)
{
    *r = (struct record){.kind = RECORD_DELIVER,
                         .flags = d->is_blob ? RECORD_BLOB : 0,
                         .mailbox = mailbox,
                         .hot = d->hot,
                         .envelope = str_span(&d->envelope),
                         .bodystructure = str_span(&d->bodystructure)};
}

static int drop_blob(struct store_account *a, void *arg)
{
    struct draft *d = arg;

    if (account_need_journal(a) == 0)
        blob_remove(a->dirfd, d->hot.guid);
    return 0;
}

static void free_draft(struct store_account *a, struct draft *d)
{
    if (d->is_blob && !d->is_used) {
        bool was = task_shield(true);
        (void)account_run(a, TASK_POOL_STORE, drop_blob, d);
        task_shield(was);
    }
    str_fini(&d->text);
    str_fini(&d->envelope);
    str_fini(&d->bodystructure);
}

/* --- delivery --- */

static int prepare_delivery(struct store_account *a, void *arg, struct delivery_parts *out)
{
    struct draft *d = arg;
    int rc = make_draft(a, d);

    if (rc < 0)
        return rc;
    fill_record(d, STORE_INBOX, &out->record);
    out->body = d->message;
    d->is_used = true; /* from here on a record may name it */
    return 0;
}

static struct recent_delivery *recent_slot(struct store_account *a, uint64_t hash)
{
    return &a->store->deliveries[hash % RECENT_DELIVERIES];
}

struct search {
    uint64_t hash;
    uint32_t mailbox, uid;
};

static int find_delivery(struct index_txn *t, void *arg)
{
    struct search *s = arg;

    return index_delivery_find(t, s->hash, &s->mailbox, &s->uid);
}

/* What another process delivered counts when it is durable. It may have died before it
 * left a hint of its record: the lock finds the true end. */
static int search_job(struct store_account *a, void *arg)
{
    int rc = account_need_journal(a);

    if (rc == 0)
        rc = journal_shared_lock(a->journal, NULL);
    if (rc < 0)
        return rc;
    journal_shared_unlock(a->journal);
    rc = account_view(a, find_delivery, arg);
    return rc < 0 ? rc : account_sync_all(a);
}

/* 0: it was delivered before. */
static int find_repeated(struct store_account *a, const struct store_append *m,
                         struct store_appended *out)
{
    struct search s = {.hash = hash_delivery(m->delivery_id)};
    const struct recent_delivery *recent = recent_slot(a, s.hash);
    int rc;

    if (recent->hash == s.hash && recent->account == a->node.hash) {
        *out = recent->appended;
        return 0;
    }
    if (!m->is_retry)
        return ERR_NOT_FOUND;
    rc = account_run(a, TASK_POOL_STORE, search_job, &s);
    if (rc == 0)
        *out = (struct store_appended){.uid = s.uid, .modseq = s.uid};
    return rc;
}

static int deliver(struct store_account *a, bool create, const struct store_append *m,
                   struct store_appended *out)
{
    struct draft d = {.source = m};
    uint64_t number;
    int rc = find_repeated(a, m, out);

    if (rc != ERR_NOT_FOUND)
        return rc;
    rc = account_deliver(a, create, prepare_delivery, &d, &number);
    if (rc == 0) {
        *out = (struct store_appended){.uid = (uint32_t)number, .modseq = number};
        *recent_slot(a, d.hot.delivery) = (struct recent_delivery){
            .account = a->node.hash, .hash = d.hot.delivery, .appended = *out};
    }
    free_draft(a, &d);
    return rc;
}

int store_deliver(struct store *s, struct span id, const struct store_append *m,
                  struct store_appended *out)
{
    struct store_account *a;
    int rc = account_ref(s, id, &a);

    if (rc < 0)
        return rc;
    rc = deliver(a, true, m, out);
    store_close(a);
    return rc;
}

/* --- append --- */

struct append_job {
    uint32_t mailbox;
    struct draft *drafts;
    size_t count;
    struct store_appended *out;
};

static int prepare_drafts(struct store_account *a, void *arg)
{
    struct append_job *job = arg;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->count; i++)
        rc = make_draft(a, &job->drafts[i]);
    return rc;
}

static int build_append(struct index_txn *t, struct commit *c, void *arg)
{
    struct append_job *job = arg;
    struct index_box *box;
    int rc = index_box(t, job->mailbox, &box);

    if (rc == 0 && !box->is_selectable)
        rc = ERR_NOT_FOUND;
    for (size_t i = 0; rc == 0 && i < job->count; i++) {
        struct draft *d = &job->drafts[i];
        uint64_t number;
        struct record r;
        rc = change_add_keywords(t, c, d->source->keywords, d->source->keyword_count, true,
                                 &d->hot.keywords);
        if (rc < 0)
            break;
        fill_record(d, job->mailbox, &r);
        c->bytes += d->hot.size;
        c->messages++;
        rc = commit_add(t, c, &r, 1, d->message, &number);
        d->is_used = rc == 0;
        job->out[i] = (struct store_appended){
            .uidvalidity = box->uidvalidity, .uid = (uint32_t)number, .modseq = number};
    }
    return rc;
}

int store_append(struct store_account *a, uint32_t mailbox, const struct store_append *messages,
                 size_t count, struct store_appended *out)
{
    struct append_job job = {.mailbox = mailbox, .count = count, .out = out};
    int rc;

    if (count == 1 && mailbox == STORE_INBOX && messages->delivery_id.n > 0 &&
        messages->keyword_count == 0)
        return deliver(a, false, messages, out);
    if (count == 0)
        return 0;
    job.drafts = calloc(count, sizeof(*job.drafts));
    if (job.drafts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        job.drafts[i].source = &messages[i];
    rc = account_commit(a, prepare_drafts, build_append, &job);
    for (size_t i = 0; i < count; i++)
        free_draft(a, &job.drafts[i]);
    free(job.drafts);
    return rc;
}
