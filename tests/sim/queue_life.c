/*
 * queue_life.c: a queue manager over journal/writer.h on the simulated disk.
 *
 * It commits messages, notes that they are done without waiting, cleans segments,
 * and is killed or loses power at any disk call, also while it recovers. A message
 * that was confirmed (or found by a recovery that was completed: "yes, it is
 * committed") must be found whole by every later recovery until its removal was
 * written; no queue id is given twice; nothing is found that was never sent. Now and
 * then it keeps what it knows, with a mark, and ends or goes on.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "journal/scan.h"
#include "journal/writer.h"
#include "life.h"

struct life *the_life;

void life_fail(const char *fmt, ...)
{
    va_list ap;

    if (the_life->failure[0] != '\0')
        return;
    va_start(ap, fmt);
    vsnprintf(the_life->failure, sizeof(the_life->failure), fmt, ap);
    va_end(ap);
}

enum { MESSAGE = JOURNAL_KIND_USER, DONE, FORGED };
enum { LANES = 4, SEGMENT = 32 * 1024, BODY_MAX = 6000, GROUP = 1 };

struct message {
    uint64_t id;
    uint32_t length;
    int64_t sequence; /* of its batch in this run */
    bool confirmed, done;
    bool found, found_done; /* by the recovery that is going on */
    struct journal_position at;
};

static ARRAY(struct message) messages;
static uint64_t highest_id;

struct lane {
    struct journal_batch *batch;
    bool is_finished;
    int rc;
};

static struct journal_writer *writer;
static struct lane lanes[LANES];
static unsigned char body_octets[BODY_MAX];
static ARRAY(int64_t) settled; /* sequences, when confirmations may be out of order */

static struct message *find(uint64_t id)
{
    for (size_t i = messages.len; i > 0; i--) {
        if (messages.items[i - 1].id == id)
            return &messages.items[i - 1];
    }
    return NULL;
}

/* Octets that follow from the id; some hold what looks like a record. */
static struct span make_body(uint64_t id, uint32_t length)
{
    struct journal_record forged = {.kind = FORGED, .number = id + 7};
    uint64_t guess = 1 + id % 23;

    for (uint32_t i = 0; i < length; i++)
        body_octets[i] = (unsigned char)(id * 131 + i * 29 + (i >> 8));
    for (uint32_t at = 0; id % 3 == 0 && at + 512 <= length; at += 64)
        scan_make_record(body_octets + at, &forged, guess++ % 23 + 1, 0, 1 << 20);
    return span_make(body_octets, length);
}

static int64_t add(struct journal_record *record)
{
    int64_t sequence = journal_writer_add(writer, record);

    if (sequence < 0 && sequence != -EAGAIN && !sim_is_dead())
        life_fail("add: %lld", (long long)sequence);
    return sequence;
}

static void send_message(void)
{
    uint32_t length = (uint32_t)(sim_below(4) == 0 ? sim_below(BODY_MAX) : sim_below(300));
    struct journal_record record = {.kind = MESSAGE, .count = 1, .head = SPAN_LIT("envelope")};
    struct journal_writer_stats stats;
    struct message *m;
    int64_t sequence;

    journal_writer_get_stats(writer, &stats);
    record.body = make_body(stats.number + 1, length);
    sequence = add(&record);
    if (sequence < 0)
        return;
    if (record.number != stats.number + 1 || record.number <= highest_id)
        life_fail("queue id %llu given twice (%llu was)", (unsigned long long)record.number,
                  (unsigned long long)highest_id);
    highest_id = record.number;
    m = array_push(&messages);
    *m = (struct message){
        .id = record.number, .length = length, .sequence = sequence, .at = record.at};
}

static void remove_message(void)
{
    struct journal_record record = {.kind = DONE};
    struct message *m;

    if (messages.len == 0)
        return;
    m = &messages.items[sim_below(messages.len)];
    if (!m->confirmed || m->done)
        return;
    record.head = span_make(&m->id, sizeof(m->id));
    if (add(&record) >= 0)
        m->done = true;
}

/* --- batches --- */

static void run_lane(void *arg)
{
    struct lane *lane = arg;

    while (!journal_batch_may_write(lane->batch))
        sim_yield();
    for (uint64_t wait = sim_below(3); wait > 0; wait--)
        sim_yield();
    lane->rc = journal_batch_write(lane->batch);
    if (lane->rc == 0)
        lane->rc = journal_batch_sync(lane->batch);
    lane->is_finished = true;
}

static void start_batches(unsigned most)
{
    for (size_t i = 0; i < LANES && most > 0; i++) {
        if (lanes[i].batch != NULL)
            continue;
        lanes[i] = (struct lane){.batch = journal_writer_take(writer)};
        if (lanes[i].batch == NULL)
            return;
        if (!sim_spawn(GROUP, run_lane, &lanes[i]))
            life_fail("no process left");
        most--;
    }
}

static bool is_settled(int64_t sequence)
{
    if (RULE(RULE_CONFIRM_ORDER))
        return sequence <= journal_writer_confirmed(writer);
    for (size_t i = 0; i < settled.len; i++) {
        if (settled.items[i] == sequence)
            return true;
    }
    return false;
}

static unsigned settle_batches(void)
{
    unsigned busy = 0;

    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &lanes[i];
        busy += lane->batch != NULL;
        if (lane->batch == NULL || !lane->is_finished)
            continue;
        if (!RULE(RULE_CONFIRM_ORDER))
            *array_push(&settled) = journal_batch_sequence(lane->batch);
        journal_writer_settle(writer, lane->batch, lane->rc);
        lane->batch = NULL;
        busy--;
    }
    for (size_t i = 0; i < messages.len; i++) {
        struct message *m = &messages.items[i];
        if (!m->confirmed && m->sequence > 0 && is_settled(m->sequence)) {
            m->confirmed = true;
            the_life->confirmed++;
        }
    }
    return busy;
}

static void drain(void)
{
    do {
        start_batches(LANES);
        sim_yield();
    } while ((settle_batches() > 0 || journal_writer_waiting(writer) > 0) && !sim_is_dead());
}

/* --- slots and cleaner --- */

static void make_slot(void)
{
    struct journal_slot_job job;

    journal_slot_start(writer, &job);
    journal_slot_run(&job);
    if (journal_slot_finish(&job) < 0 && !sim_is_dead())
        life_fail("slot: %d", job.rc);
}

static bool copy_live(uint64_t segment)
{
    for (size_t i = 0; i < messages.len; i++) {
        struct message *m = &messages.items[i];
        struct journal_record copy = {.kind = MESSAGE, .flags = JOURNAL_MOVED};
        int64_t sequence;

        if (m->done || m->at.segment != segment)
            continue;
        copy.head = span_make(&m->id, sizeof(m->id));
        copy.body = make_body(m->id, m->length);
        while ((sequence = add(&copy)) == -EAGAIN && !sim_is_dead()) {
            if (journal_writer_needs_slot(writer))
                make_slot();
            drain();
        }
        if (sequence < 0)
            return false;
        m->at = copy.at;
    }
    return true;
}

static void clean(void)
{
    struct journal_segment_info info;
    struct journal_free_job job;
    int rc;

    if (!journal_writer_segment(writer, 0, &info) || info.is_active || !info.is_settled)
        return;
    if (!copy_live(info.number))
        return;
    if (RULE(RULE_COPY_SYNC))
        drain();
    rc = sim_is_dead() ? -EIO : journal_free_start(writer, info.number, &job);
    if (rc < 0)
        return;
    journal_free_run(&job);
    if (journal_free_finish(&job) == 0)
        the_life->cleaned++;
}

/* --- what is kept with a mark --- */

struct kept {
    uint64_t id;
    struct journal_position at;
};
static ARRAY(struct kept) kept; /* not done when the mark was made */
static struct str kept_mark;

/* True when this run ends with it. */
static bool keep(void)
{
    drain();
    if (sim_is_dead())
        return false;
    str_clear(&kept_mark);
    array_clear(&kept);
    if (journal_writer_mark(writer, &kept_mark) < 0) {
        str_clear(&kept_mark);
        return false;
    }
    for (size_t i = 0; i < messages.len; i++) {
        const struct message *m = &messages.items[i];
        if (m->confirmed && !m->done)
            *array_push(&kept) = (struct kept){m->id, m->at};
    }
    return sim_below(2) == 0;
}

static int find_mark(void *arg, struct str *mark)
{
    return str_append(mark, str_span(&kept_mark));
}

static int restore(void *arg)
{
    the_life->restored++;
    for (size_t i = 0; i < kept.len; i++) {
        struct message *m = find(kept.items[i].id);
        m->found = true;
        m->at = kept.items[i].at;
    }
    return 0;
}

/* --- recovery --- */

static int see(void *arg, const struct journal_record *record)
{
    struct message *m;
    uint64_t id = record->number;

    if (record->kind < JOURNAL_KIND_USER)
        return 0;
    if (record->kind == FORGED) {
        life_fail("a forged record was believed");
        return 0;
    }
    if (record->kind == DONE || (record->flags & JOURNAL_MOVED))
        memcpy(&id, record->head.p, record->head.n < sizeof(id) ? record->head.n : sizeof(id));
    m = find(id);
    if (m == NULL) {
        life_fail("queue id %llu was never given", (unsigned long long)id);
        return 0;
    }
    if (record->kind == DONE) {
        if (!m->done)
            life_fail("%llu was not done", (unsigned long long)id);
        m->found_done = true;
        return 0;
    }
    if (!span_eq(record->body, make_body(id, m->length)))
        life_fail("the content of %llu is damaged", (unsigned long long)id);
    m->found = true;
    m->at = record->at;
    return 0;
}

static void check_recovery(void)
{
    for (size_t i = 0; i < messages.len; i++) {
        struct message *m = &messages.items[i];
        m->sequence = 0;
        if (m->confirmed && !m->done && !m->found)
            life_fail("confirmed message %llu is lost", (unsigned long long)m->id);
        if (m->found && !m->found_done) {
            the_life->returned += m->done;
            m->done = false;
            m->confirmed = true; /* from now on: "yes, it is committed" */
        } else if (!m->found || m->found_done) {
            m->done = true;
        }
    }
}

static void work(unsigned rounds)
{
    while (rounds-- > 0 && !sim_is_dead() && the_life->failure[0] == '\0') {
        unsigned what = (unsigned)sim_below(16);
        if (what < 7)
            send_message();
        else if (what < 11)
            remove_message();
        else if (what < 14)
            start_batches(1 + (unsigned)sim_below(2));
        else if (what == 14 && sim_below(3) == 0)
            clean();
        else if (what == 15 && sim_below(30) == 0 && keep())
            return;
        else
            sim_yield();
        settle_batches();
        if (!sim_is_dead() && journal_writer_needs_slot(writer))
            make_slot();
    }
}

static bool lanes_are_running(void)
{
    for (size_t i = 0; i < LANES; i++) {
        if (lanes[i].batch != NULL && !lanes[i].is_finished)
            return true;
    }
    return false;
}

static void run_queue(void *arg)
{
    struct journal_options options = {
        .segment_size = SEGMENT, .alignment = the_life->alignment, .reserve = 64};
    struct journal_owner owner = {.each = see, .find_mark = find_mark, .restore = restore};
    int rc;

    memset(lanes, 0, sizeof(lanes));
    array_clear(&settled);
    for (size_t i = 0; i < messages.len; i++)
        messages.items[i].found = messages.items[i].found_done = false;
    rc = journal_writer_open_kept(sim_disk(), &options, &owner, &writer);
    if (rc < 0) {
        if (!sim_is_dead())
            life_fail("recovery: %d", rc);
        return;
    }
    if (!sim_is_dead()) {
        struct journal_writer_stats stats;
        journal_writer_get_stats(writer, &stats);
        if (stats.damaged > 0 && !the_life->disk.destroys)
            life_fail("damage was reported");
        check_recovery();
        work(UINT32_MAX);
    }
    while (lanes_are_running())
        sim_yield();
    journal_writer_close(writer);
}

void life_queue(struct life *life)
{
    the_life = life;
    sim_seed(life->seed);
    sim_start(&life->disk);
    highest_id = 0;
    for (unsigned crash = 0; crash <= life->crashes && life->failure[0] == '\0'; crash++) {
        sim_spawn(GROUP, run_queue, NULL);
        sim_run(1 + sim_below(sim_below(4) == 0 ? 40 : 900));
        if (sim_below(10) < 7) {
            sim_power_cut();
            life->cuts++;
        } else {
            sim_kill(UINT32_MAX);
            life->kills++;
        }
    }
    sim_end();
    array_free(&messages);
    array_free(&settled);
    array_free(&kept);
    str_fini(&kept_mark);
}
