#include "journal/batch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum {
    IN_FLIGHT_MAX = 4,
    IN_FLIGHT_DEFAULT = 2,
    BATCH_MAX_DEFAULT = 1024 * 1024,
    LAZY_MS_DEFAULT = 500,
    SLOT_RETRY_MS = 1000,
    DONE_CONDS = 8,   /* tasks wait by their batch's number modulo this */
    LONE_BATCHES = 8, /* in a row: commits come one at a time */
};

/* A batch on its way through a worker thread. */
struct lane {
    struct task_job job;
    struct journal *journal;
    struct journal_batch *batch; /* NULL: the lane is free */
    int64_t sync_us;
    int rc;
};

struct journal {
    struct journal_writer *writer;
    struct journal_batch_options options;
    struct lane lanes[IN_FLIGHT_MAX];
    unsigned in_flight;
    struct task_turn_hook turn;
    struct task_timer lazy;
    struct task_cond done[DONE_CONDS];
    struct task_cond room; /* something was settled, or a slot came or failed */
    bool is_urgent;        /* somebody waits for what is in the open batch */
    bool is_failure_told;
    size_t wanted;           /* records that somebody waits for and no lane has yet */
    unsigned lone_batches;   /* in a row, each with one such record and alone on its way */
    int64_t typical_sync_us; /* half of the syncs take longer */

    struct task_job slot_job;
    struct journal_slot_job slot;
    bool is_slot_running;
    uint64_t slot_failures;
    int slot_rc;
    deadline_t slot_retry;

    /* Writes happen in the order batches were taken, whichever thread has them. */
    pthread_mutex_t order;
    pthread_cond_t order_changed;

    struct journal_batch_stats stats;
};

static void pump(struct journal *j);

/* --- syncing --- */

static void run_batch(struct lane *lane)
{
    struct journal *j = lane->journal;
    int64_t start;

    pthread_mutex_lock(&j->order);
    while (!journal_batch_may_write(lane->batch))
        pthread_cond_wait(&j->order_changed, &j->order);
    pthread_mutex_unlock(&j->order);

    lane->rc = journal_batch_write(lane->batch);

    pthread_mutex_lock(&j->order);
    pthread_cond_broadcast(&j->order_changed);
    pthread_mutex_unlock(&j->order);

    start = clock_mono_us();
    if (lane->rc == 0)
        lane->rc = journal_batch_sync(lane->batch);
    lane->sync_us = clock_mono_us() - start;
}

static void lane_run(struct task_job *job)
{
    run_batch(CONTAINER_OF(job, struct lane, job));
}

static void tell_failure(struct journal *j)
{
    int error = journal_writer_error(j->writer);

    if (error == 0 || j->is_failure_told)
        return;
    j->is_failure_told = true;
    for (size_t i = 0; i < DONE_CONDS; i++)
        task_cond_broadcast(&j->done[i]);
    if (j->options.on_failed != NULL)
        j->options.on_failed(j->options.arg, error);
}

/* A running median: a disk that others use too is slow now and then, and a mean would
 * follow those syncs. */
static void note_sync(struct journal *j, int64_t us)
{
    int64_t step = j->typical_sync_us / 16 + 1;

    if (j->stats.syncs == 1)
        j->typical_sync_us = us;
    else
        j->typical_sync_us += us > j->typical_sync_us ? step : -step;
}

static void settle(struct lane *lane)
{
    struct journal *j = lane->journal;
    int64_t before = journal_writer_confirmed(j->writer), after;

    j->stats.syncs++;
    j->stats.sync_us += (uint64_t)lane->sync_us;
    note_sync(j, lane->sync_us);
    journal_writer_settle(j->writer, lane->batch, lane->rc);
    lane->batch = NULL;
    j->in_flight--;
    after = journal_writer_confirmed(j->writer);
    for (int64_t i = before + 1; i <= after && i <= before + DONE_CONDS; i++)
        task_cond_broadcast(&j->done[i % DONE_CONDS]);
    tell_failure(j);
    task_cond_broadcast(&j->room);
}

static void lane_done(struct task_job *job)
{
    struct lane *lane = CONTAINER_OF(job, struct lane, job);
    struct journal *j = lane->journal;

    settle(lane);
    /* What came while this one was on its way leaves when the tasks that it woke
     * have had their say. */
    if (journal_writer_waiting(j->writer) > 0)
        task_turn_end(&j->turn);
}

static struct lane *free_lane(struct journal *j)
{
    for (unsigned i = 0; i < j->options.in_flight; i++) {
        if (j->lanes[i].batch == NULL)
            return &j->lanes[i];
    }
    return NULL;
}

/* How many wait for the batch that is taken next. */
static void note_waiters(struct journal *j)
{
    if (j->in_flight > 0 || j->wanted > 1)
        j->lone_batches = 0;
    else if (j->wanted == 1)
        j->lone_batches++;
    j->wanted = 0;
}

/* While commits come one at a time nobody else waits for the loop, and a short sync is done
 * here: two wake-ups and five system calls less for each (a tenth of a message's reply time). */
static bool is_inline_better(const struct journal *j)
{
    return j->lone_batches >= LONE_BATCHES && j->typical_sync_us < j->options.inline_sync_us;
}

/* Start what waits, as far as lanes go. */
static void pump(struct journal *j)
{
    struct lane *lane;

    if (!j->is_urgent)
        return;
    while ((lane = free_lane(j)) != NULL) {
        lane->batch = journal_writer_take(j->writer);
        if (lane->batch == NULL)
            break;
        note_waiters(j);
        j->in_flight++;
        if (is_inline_better(j) || task_offload_start(TASK_POOL_SYNC, &lane->job) < 0) {
            /* No thread to be had: slow is better than not at all. */
            j->stats.inline_syncs++;
            run_batch(lane);
            settle(lane);
        }
    }
    if (journal_writer_waiting(j->writer) == 0) {
        j->is_urgent = false;
        task_timer_clear(&j->lazy);
    }
}

static void turn_ended(struct task_turn_hook *hook)
{
    pump(CONTAINER_OF(hook, struct journal, turn));
}

static void lazy_expired(struct task_timer *timer)
{
    struct journal *j = CONTAINER_OF(timer, struct journal, lazy);

    j->is_urgent = true;
    pump(j);
}

static void want_sync(struct journal *j)
{
    j->is_urgent = true;
    task_turn_end(&j->turn);
}

/* --- slots --- */

static void slot_run(struct task_job *job)
{
    journal_slot_run(&CONTAINER_OF(job, struct journal, slot_job)->slot);
}

static void slot_done(struct task_job *job)
{
    struct journal *j = CONTAINER_OF(job, struct journal, slot_job);
    int rc = journal_slot_finish(&j->slot);

    j->is_slot_running = false;
    if (rc < 0) {
        j->slot_failures++;
        j->slot_rc = rc;
        j->slot_retry = deadline_in(SLOT_RETRY_MS);
        log_warn("journal: no further segment can be made: %s", error_text(rc));
    }
    task_cond_broadcast(&j->room);
}

/* Have a free slot before it is needed. */
static void prepare_slot(struct journal *j)
{
    if (j->is_slot_running || !journal_writer_needs_slot(j->writer) ||
        (j->slot_failures > 0 && clock_mono_ms() < j->slot_retry))
        return;
    journal_slot_start(j->writer, &j->slot);
    j->is_slot_running = true;
    if (task_offload_start(TASK_POOL_SYNC, &j->slot_job) < 0) {
        journal_slot_run(&j->slot);
        slot_done(&j->slot_job);
    }
}

/* --- appending --- */

/* The batch's number, or a negative code. Waits while there is no room. */
static int64_t add(struct journal *j, struct journal_record *record)
{
    for (;;) {
        uint64_t failures = j->slot_failures;
        int64_t sequence = journal_writer_add(j->writer, record);

        prepare_slot(j);
        if (sequence != -EAGAIN)
            return sequence;
        if (journal_writer_waiting(j->writer) > 0)
            want_sync(j);
        if (j->in_flight == 0 && !j->is_slot_running && journal_writer_waiting(j->writer) == 0)
            return j->slot_rc < 0 ? j->slot_rc : -ENOSPC;
        task_cond_wait(&j->room, DEADLINE_NONE);
        if (j->slot_failures != failures)
            return j->slot_rc;
    }
}

static int wait_for(struct journal *j, int64_t sequence)
{
    while (journal_writer_confirmed(j->writer) < sequence) {
        if (journal_writer_error(j->writer) < 0)
            return ERR_READ_ONLY;
        task_cond_wait(&j->done[sequence % DONE_CONDS], DEADLINE_NONE);
    }
    return 0;
}

int journal_commit(struct journal *j, struct journal_record *records, size_t count)
{
    bool shield = task_shield(true);
    int64_t sequence = 0;
    int rc = 0;

    for (size_t i = 0; i < count && sequence >= 0; i++)
        sequence = add(j, &records[i]);
    if (sequence < 0) {
        rc = (int)sequence;
    } else if (sequence > 0) {
        j->wanted += count;
        want_sync(j);
        rc = wait_for(j, sequence);
    }
    j->stats.commits++;
    task_shield(shield);
    return rc;
}

int journal_append(struct journal *j, struct journal_record *record)
{
    bool shield = task_shield(true);
    int64_t sequence = add(j, record);

    task_shield(shield);
    if (sequence < 0)
        return (int)sequence;
    j->stats.lazy++;
    if (!j->is_urgent && !j->lazy.is_armed)
        task_timer_set(&j->lazy, deadline_in(j->options.lazy_ms));
    return 0;
}

int journal_flush(struct journal *j)
{
    int64_t last = journal_writer_last(j->writer);
    bool shield = task_shield(true);
    int rc = 0;

    if (last > journal_writer_confirmed(j->writer)) {
        want_sync(j);
        rc = wait_for(j, last);
    }
    task_shield(shield);
    return rc < 0 || journal_writer_error(j->writer) == 0 ? rc : ERR_READ_ONLY;
}

/* --- reading and cleaning --- */

struct reading {
    struct journal_read_job job;
    const struct journal_position *at;
    struct str *out;
    struct journal_record *record;
    journal_record_fn *each;
    void *arg;
    int rc;
};

static void read_run(void *arg)
{
    struct reading *r = arg;

    r->rc = r->each != NULL ? journal_read_run(&r->job, r->each, r->arg)
                            : journal_read_one(&r->job, r->at, r->out, r->record);
}

static int read_on_worker(struct journal *j, uint64_t segment, struct reading *r)
{
    int rc = journal_read_start(j->writer, segment, &r->job);

    if (rc < 0)
        return rc;
    rc = task_offload(TASK_POOL_STORE, read_run, r);
    journal_read_finish(&r->job);
    return rc < 0 ? rc : r->rc;
}

int journal_read(struct journal *j, const struct journal_position *at, struct str *out,
                 struct journal_record *record)
{
    struct reading r = {.at = at, .out = out, .record = record};
    /* Without a worker and opening the file, an attempt at a deferred message costs 27 us and
     * not 105 (100,000 of them flushed to a dead next hop). */
    int rc = journal_read_at_once(j->writer, at, out, record);

    if (rc == -EAGAIN)
        return read_on_worker(j, at->segment, &r);
    return rc < 0 ? rc : task_breathe();
}

int journal_walk(struct journal *j, uint64_t segment, journal_record_fn *each, void *arg)
{
    struct reading r = {.each = each, .arg = arg};

    return read_on_worker(j, segment, &r);
}

static void free_run(void *arg)
{
    journal_free_run(arg);
}

int journal_free_segment(struct journal *j, uint64_t segment)
{
    struct journal_free_job job;
    bool shield = task_shield(true);
    int rc = journal_free_start(j->writer, segment, &job);

    if (rc == 0) {
        if (task_offload(TASK_POOL_SYNC, free_run, &job) < 0)
            journal_free_run(&job);
        rc = journal_free_finish(&job);
        task_cond_broadcast(&j->room);
    }
    task_shield(shield);
    return rc;
}

/* --- the whole --- */

static void set_defaults(struct journal_batch_options *o)
{
    if (o->in_flight == 0)
        o->in_flight = IN_FLIGHT_DEFAULT;
    if (o->in_flight > IN_FLIGHT_MAX)
        o->in_flight = IN_FLIGHT_MAX;
    if (o->batch_max == 0)
        o->batch_max = BATCH_MAX_DEFAULT;
    if (o->lazy_ms == 0)
        o->lazy_ms = LAZY_MS_DEFAULT;
}

int journal_new(struct journal_writer *w, const struct journal_batch_options *options,
                struct journal **out)
{
    struct journal *j = NEW(struct journal);

    if (j == NULL) {
        journal_writer_close(w);
        return -ENOMEM;
    }
    j->writer = w;
    j->options = *options;
    set_defaults(&j->options);
    journal_writer_set_batch_max(w, j->options.batch_max);
    j->turn.flush = turn_ended;
    j->lazy.expired = lazy_expired;
    for (size_t i = 0; i < DONE_CONDS; i++)
        task_cond_init(&j->done[i]);
    task_cond_init(&j->room);
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++) {
        j->lanes[i].journal = j;
        j->lanes[i].job.run = lane_run;
        j->lanes[i].job.done = lane_done;
    }
    j->slot_job.run = slot_run;
    j->slot_job.done = slot_done;
    pthread_mutex_init(&j->order, NULL);
    pthread_cond_init(&j->order_changed, NULL);
    prepare_slot(j);
    *out = j;
    return 0;
}

void journal_free(struct journal *j)
{
    bool shield;

    if (j == NULL)
        return;
    shield = task_shield(true);
    journal_flush(j);
    while (j->in_flight > 0 || j->is_slot_running)
        task_cond_wait(&j->room, DEADLINE_NONE);
    task_shield(shield);
    task_timer_clear(&j->lazy);
    task_turn_forget(&j->turn);
    journal_writer_close(j->writer);
    pthread_mutex_destroy(&j->order);
    pthread_cond_destroy(&j->order_changed);
    free(j);
}

struct journal_writer *journal_writer_of(struct journal *j)
{
    return j->writer;
}

void journal_get_stats(const struct journal *j, struct journal_batch_stats *out)
{
    *out = j->stats;
    out->in_flight = j->in_flight;
}
