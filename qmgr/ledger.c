#include "qmgr/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "journal/batch.h"
#include "qmgr/finished.h"
#include "qmgr/large.h"
#include "qmgr/recovery.h"
#include "qmgr/snapshot.h"

enum { LOAD_TRIES = 3 };

static struct disk_real disk;
static int journal_fd = -1;
static struct journal *journal;
static int failed;

struct journal *ledger_journal(void)
{
    return journal;
}

int ledger_error(void)
{
    return failed;
}

/* --- commits that are over --- */

uint64_t ledger_commit_hash(struct span commit)
{
    /* The same in every process: it is compared after a restart. Random input. */
    uint64_t hash = 0;

    memcpy(&hash, commit.p, commit.n < sizeof(hash) ? commit.n : sizeof(hash));
    return hash;
}

bool ledger_was_committed(uint64_t number, uint64_t commit_hash)
{
    const struct entry *e = entry_find(number);
    const struct finished *over;

    if (e != NULL)
        return e->commit_hash == commit_hash;
    for (size_t i = 0; (over = finished_get(i)) != NULL; i++)
        if (over->number == number)
            return over->commit_hash == commit_hash;
    return false;
}

/* --- start and end --- */

static int open_directories(int queue_fd, struct str *why)
{
    static const char *const names[] = {"queue", "queue/journal", "queue/large"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (mkdirat(queue_fd, names[i], 0700) < 0 && errno != EEXIST) {
            str_printf(why, "cannot make %s: %s", names[i], error_text(-errno));
            return -errno;
        }
    }
    journal_fd = openat(queue_fd, "queue/journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int large_fd = openat(queue_fd, "queue/large", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (journal_fd < 0 || large_fd < 0) {
        int rc = -errno;
        str_printf(why, "cannot open the queue: %s", error_text(rc));
        fd_close(&large_fd);
        return rc;
    }
    large_init(large_fd);
    return 0;
}

static void on_failed(void *arg, int error)
{
    failed = ERR_READ_ONLY;
    log_error("queue: a write or sync failed (%s): no mail is accepted until qmgr is restarted",
              error_text(error));
}

struct open_job {
    struct journal_writer *writer;
    struct snapshot snapshot;
    int rc;
};

static int find_mark(void *arg, struct str *mark)
{
    struct open_job *job = arg;

    return snapshot_read(&job->snapshot, journal_fd, mark);
}

static int restore(void *arg)
{
    struct open_job *job = arg;

    return snapshot_restore(&job->snapshot);
}

/* On a worker; the only task waits for it, so the entries are not shared. */
static void run_open(void *arg)
{
    struct open_job *job = arg;
    struct journal_owner owner = {
        .each = recovery_record, .find_mark = find_mark, .restore = restore, .arg = job};
    struct journal_options options;

    journal_options_queue(&options);
    job->rc = journal_writer_open_kept(&disk.disk, &options, &owner, &job->writer);
    snapshot_fini(&job->snapshot);
    if (job->rc < 0)
        return;
    recovery_settle();
    snapshot_remove(journal_fd); /* the journal has gone on */
}

int ledger_open(int queue_fd, struct str *why)
{
    struct journal_batch_options batch = {.on_failed = on_failed, .inline_sync_us = 1000};
    struct open_job job = {0};
    int rc = journal_fd < 0 ? open_directories(queue_fd, why) : 0;

    if (rc < 0)
        return rc;
    disk_real_init(&disk, journal_fd);
    rc = task_offload(TASK_POOL_STORE, run_open, &job);
    if (rc == 0)
        rc = job.rc;
    if (rc == 0)
        rc = journal_new(job.writer, &batch, &journal);
    if (rc < 0) {
        str_printf(why, "cannot open the queue's journal: %s", error_text(rc));
        return rc;
    }
    return 0;
}

struct keep_job {
    struct str mark;
    int rc;
};

static void run_save(void *arg)
{
    struct keep_job *job = arg;

    job->rc = snapshot_save(journal_fd, str_span(&job->mark));
}

void ledger_keep_entries(void)
{
    struct keep_job job = {0};

    if (journal == NULL)
        return;
    int rc = journal_flush(journal);

    if (rc == 0)
        rc = journal_writer_mark(journal_writer_of(journal), &job.mark);
    if (rc == 0)
        rc = task_offload(TASK_POOL_STORE, run_save, &job);
    if (rc == 0)
        rc = job.rc;
    if (rc < 0)
        log_warn("queue: the next start will read the whole journal: %s", error_text(rc));
    str_fini(&job.mark);
}

void ledger_close(void)
{
    if (journal != NULL)
        journal_free(journal);
    journal = NULL;
    fd_close(&journal_fd);
    large_fini();
}

/* --- writing --- */

int ledger_take_ids(uint32_t count, uint64_t *first)
{
    struct journal_record r = {.kind = RECORD_IDS, .count = count};
    int rc = journal_append(journal, &r);

    *first = r.number - count + 1;
    return rc;
}

/* What is durable but has no entry yet looks dead to the cleaner: segments from
 * the one on where a commit under way began are not for it. */
struct running_commit {
    struct list link;
    uint64_t first_segment;
};
static struct list running_commits = {&running_commits, &running_commits};

uint64_t ledger_first_unsettled_segment(void)
{
    uint64_t first = UINT64_MAX;

    LIST_FOR(item, &running_commits)
    {
        struct running_commit *c = LIST_ITEM(item, struct running_commit, link);
        if (c->first_segment < first)
            first = c->first_segment;
    }
    return first;
}

int ledger_commit(struct journal_record *records, size_t count)
{
    struct running_commit running = {.first_segment =
                                         journal_writer_active(journal_writer_of(journal))};

    list_append(&running_commits, &running.link);
    int rc = journal_commit(journal, records, count);
    list_remove(&running.link);
    return rc;
}

int ledger_flush(void)
{
    return journal_flush(journal);
}

int ledger_write_result(struct entry *e, struct span head, uint32_t sequence)
{
    struct journal_record r = {.kind = RECORD_RESULT, .head = head};
    uint64_t number = e->id.number;
    int rc = journal_append(journal, &r);

    if (rc < 0)
        return rc;
    if (entry_find(number) != e)
        return 0; /* removed while this waited */
    struct change c = {r.at, sequence, false};
    return entry_add_change(e, &c);
}

int ledger_write_state(struct entry *e, struct loaded *l)
{
    struct str head = {0};
    uint64_t number = e->id.number;

    l->sequence++;
    int rc = record_state(&head, l, number);
    struct journal_record r = {.kind = RECORD_STATE, .head = str_span(&head)};
    if (rc == 0)
        rc = journal_append(journal, &r);
    str_fini(&head);
    if (rc == 0 && entry_find(number) != e)
        rc = ERR_NOT_FOUND;
    if (rc < 0)
        return rc;
    struct change c = {r.at, l->sequence, true};
    e->flags = (uint8_t)l->flags;
    return entry_add_change(e, &c);
}

int ledger_remove(struct entry *e)
{
    struct str head = {0};

    record_removed(&head, e->id.number, e->oldest_segment, e->message.segment);
    struct journal_record r = {.kind = RECORD_REMOVED, .head = str_span(&head)};
    uint64_t file = e->file;
    finished_note(e->id.number, e->commit_hash);
    /* Before anything waits: whoever sees it afterwards would remove it again. */
    entry_free(e);
    int rc = str_error(&head) < 0 ? str_error(&head) : journal_append(journal, &r);
    str_fini(&head);
    /* Without the record the message comes back at the next start: a duplicate. */
    if (rc == 0)
        large_unlink_later(file);
    return rc;
}

/* --- reading --- */

static int load_message(struct entry *e, struct loaded *l, bool with_content)
{
    struct journal_record r;
    struct str octets = {0};
    struct journal_position at = e->message;
    int rc = journal_read(journal, &at, &octets, &r);

    if (rc == 0)
        rc = r.kind != RECORD_MESSAGE ? ERR_CORRUPT : loaded_from_message(l, &r, with_content);
    str_fini(&octets);
    return rc;
}

static int load_change(const struct change *c, struct loaded *l)
{
    struct journal_record r;
    struct str octets = {0};
    int rc = journal_read(journal, &c->at, &octets, &r);

    if (rc == 0)
        rc = loaded_apply(l, &r);
    str_fini(&octets);
    return rc;
}

/* The message may be removed, and e freed, while a record is read. */
static int load_once(struct entry *e, struct loaded *l, bool with_content)
{
    uint64_t number = e->id.number;

    loaded_init(l);
    int rc = load_message(e, l, with_content);
    for (uint32_t i = 0; rc == 0 && entry_find(number) == e && i < e->change_count; i++) {
        struct change c = e->changes[i];
        rc = load_change(&c, l);
    }
    return rc;
}

/* A record that nobody waited for may not be on the disk yet, and the cleaner may
 * move records meanwhile: worth another try, when what was written has settled. */
static bool is_worth_a_try(int rc, int tries)
{
    return (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND) && tries < LOAD_TRIES &&
           journal_flush(journal) == 0;
}

int ledger_load(struct entry *e, struct loaded *l, bool with_content)
{
    uint64_t number = e->id.number;
    int rc = load_once(e, l, with_content);

    for (int tries = 1; is_worth_a_try(rc, tries) && entry_find(number) == e; tries++) {
        loaded_fini(l);
        rc = load_once(e, l, with_content);
    }
    if (rc == 0 && entry_find(number) != e)
        rc = ERR_NOT_FOUND;
    if (rc == 0 && e->change_count == 0)
        l->next_attempt_s = e->next_attempt_s;
    return rc;
}

static int read_content(struct entry *e, struct str *out)
{
    struct journal_record r;
    struct str octets = {0};
    int rc, tries = 0;

    do {
        struct journal_position at = e->message;

        str_clear(&octets);
        rc = journal_read(journal, &at, &octets, &r);
    } while (is_worth_a_try(rc, ++tries));
    if (rc == 0)
        rc = str_set(out, r.body);
    str_fini(&octets);
    return rc;
}

int ledger_put_content(struct entry *e, struct loaded *l, struct ipc_out *m)
{
    int fd = -1, rc = 0;

    if (l->message.file != 0) {
        rc = ledger_open_file(l->message.file, &fd);
        if (rc == 0)
            ipc_put_fd(m, "descriptor", fd);
        fd_close(&fd);
        return rc;
    }
    if (!l->has_content) {
        rc = read_content(e, &l->content);
        l->has_content = rc == 0;
    }
    if (rc == 0)
        ipc_put_content(m, str_span(&l->content));
    return rc;
}
