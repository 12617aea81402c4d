#include "qmgr/active.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "mail/address.h"
#include "qmgr/assign.h"
#include "qmgr/finish.h"
#include "qmgr/transport.h"
#include "qmgr/under_way.h"

enum { CLOCK_STEP_US = 5000000 };

struct qmgr_config qmgr_config;

static struct list fresh = {&fresh, &fresh}; /* loaded, not yet routed */
static struct task_cond work = {{&work.waiters, &work.waiters}};
static size_t active_messages;
static bool is_deferred_turn;

size_t active_count(void)
{
    return active_messages;
}

void active_kick(void)
{
    task_cond_signal(&work);
}

/* --- life of struct active --- */

/* Takes l. */
static struct active *active_new(struct entry *e, struct loaded *l)
{
    struct active *a = NEW(struct active);

    if (a == NULL) {
        loaded_fini(l);
        return NULL;
    }
    a->entry = e;
    a->loaded = *l;
    a->active_us = clock_wall_us();
    a->attempt = 1;
    for (size_t i = 0; i < l->outcomes.len; i++)
        if (l->outcomes.items[i].attempt >= a->attempt)
            a->attempt = l->outcomes.items[i].attempt + 1;
    list_init(&a->link);
    list_init(&a->jobs);
    queue_id_format(a->queue_id, e->id);
    e->active = a;
    e->under_way = 0;
    entry_move(e, ENTRY_ACTIVE);
    active_messages++;
    return a;
}

void active_free(struct active *a)
{
    if (a->entry != NULL)
        a->entry->active = NULL;
    list_remove(&a->link);
    loaded_fini(&a->loaded);
    free(a);
    active_messages--;
    active_kick();
}

void active_again(struct active *a)
{
    a->attempt++;
    a->active_us = clock_wall_us();
    list_append(&fresh, &a->link);
    active_kick();
}

/* --- becoming active --- */

void active_accept(struct entry *e, struct loaded *l)
{
    if (e->flags & ENTRY_HOLD) {
        loaded_fini(l);
        entry_move(e, ENTRY_ON_HOLD);
        return;
    }
    int64_t later = l->message.hold_until_s;
    if (later > clock_wall_s()) { /* RFC 4865 */
        loaded_fini(l);
        e->next_attempt_s = later;
        entry_move(e, ENTRY_DEFERRED);
        active_kick();
        return;
    }
    if ((int64_t)active_messages >= qmgr_config.active_limit) {
        loaded_fini(l);
        entry_move(e, ENTRY_INCOMING);
        return;
    }
    struct active *a = active_new(e, l);
    if (a == NULL)
        entry_move(e, ENTRY_INCOMING);
    else
        list_append(&fresh, &a->link);
    active_kick();
}

static void log_active(const struct active *a)
{
    struct str sender = {0};

    address_print_text(&sender, a->loaded.message.sender);
    log_info("%s: from=<%s>, size=%llu, nrcpt=%zu (queue active)", a->queue_id, str_cstr(&sender),
             (unsigned long long)a->loaded.message.size, loaded_pending(&a->loaded));
    str_fini(&sender);
}

/* The message waits again; nothing was tried, because of error. When it is that this process
 * ends, the next one (snapshot.h) shall try at once. */
static void back_off(struct entry *e, int64_t seconds, int error)
{
    if (error == -ECANCELED) {
        entry_move(e, ENTRY_NOWHERE);
        return;
    }
    e->next_attempt_s = clock_wall_s() + seconds;
    entry_move(e, ENTRY_DEFERRED);
}

static void begin_pass(struct active *a)
{
    enum assign_verdict verdict;

    if (a->is_delete_wanted || a->is_hold_wanted || a->is_requeue_wanted) {
        finish_pass(a);
        return;
    }
    log_active(a);
    a->pins++;
    int rc = assign_jobs(a, &verdict);
    a->pins--;
    if (verdict == ASSIGN_PARKED) {
        active_free(a);
        return;
    }
    a->entry->is_unparked = false;
    if (rc < 0 && a->job_count == 0) {
        if (rc != -ECANCELED)
            log_warn("%s: cannot be made active: %s", a->queue_id, error_text(rc));
        struct entry *e = a->entry;
        active_free(a);
        back_off(e, qmgr_config.minimal_backoff_s, rc);
        return;
    }
    if (a->job_count == 0)
        finish_pass(a);
}

static void load_and_begin(struct entry *e)
{
    uint64_t number = e->id.number;
    struct loaded l;

    entry_move(e, ENTRY_NOWHERE); /* nobody else takes it while this waits */
    int rc = ledger_load(e, &l, false);
    if (entry_find(number) != e) { /* deleted meanwhile */
        loaded_fini(&l);
        return;
    }
    if (rc < 0) {
        char id[QUEUE_ID_TEXT_MAX];

        loaded_fini(&l);
        if (rc != -ECANCELED)
            log_error("%s: cannot be read: %s", queue_id_format(id, e->id), error_text(rc));
        back_off(e, qmgr_config.maximal_backoff_s, rc);
        return;
    }
    /* RFC 4865, also where a limit or the clock made it due early. */
    if (l.message.hold_until_s > clock_wall_s() && !e->is_forced) {
        e->next_attempt_s = l.message.hold_until_s;
        loaded_fini(&l);
        entry_move(e, ENTRY_DEFERRED);
        return;
    }
    struct active *a = active_new(e, &l);
    if (a == NULL)
        back_off(e, qmgr_config.minimal_backoff_s, -ENOMEM);
    else
        begin_pass(a);
}

/* The wall clock was set back: what waits does not wait for it to catch up. Also at the
 * start, as nobody knows what the clock was when the times were written. */
static void follow_clock(void)
{
    static int64_t last_us = INT64_MAX;
    int64_t difference_us = clock_wall_us() - clock_mono_us();

    if (difference_us < last_us - CLOCK_STEP_US)
        entry_limit_due(clock_wall_s() + qmgr_config.maximal_backoff_s);
    last_us = difference_us;
}

/* New mail and mail that is due take turns, as both can be endless. */
static struct entry *next_entry(void)
{
    struct entry *due, *incoming = entry_first(ENTRY_INCOMING);

    do {
        due = entry_next_due();
        if (due != NULL && due->next_attempt_s > clock_wall_s())
            due = NULL;
    } while (due != NULL && under_way_wait_on(due));
    if ((int64_t)active_messages >= qmgr_config.active_limit)
        return NULL;
    is_deferred_turn = !is_deferred_turn;
    if (due != NULL && (incoming == NULL || is_deferred_turn))
        return due;
    return incoming;
}

static deadline_t next_due_time(void)
{
    const struct entry *due = entry_next_due();
    int64_t wait_s;

    if (due == NULL || (int64_t)active_messages >= qmgr_config.active_limit)
        return DEADLINE_NONE;
    /* The wall clock may step: look again after a minute at most. */
    wait_s = due->next_attempt_s - clock_wall_s();
    return deadline_in(wait_s < 1 ? 200 : wait_s > 60 ? 60000 : wait_s * 1000);
}

void active_run(void *arg)
{
    for (;;) {
        follow_clock();
        struct list *item = list_pop(&fresh);
        struct entry *e = item == NULL ? next_entry() : NULL;

        if (item != NULL) {
            begin_pass(LIST_ITEM(item, struct active, link));
        } else if (e != NULL) {
            load_and_begin(e);
        } else {
            int rc = task_cond_wait(&work, next_due_time());
            if (rc < 0 && rc != -ETIMEDOUT)
                return;
        }
        if (task_breathe() < 0)
            return;
    }
}

/* --- results --- */

int active_take_result(struct job *job, uint32_t index, const struct deliver_result *result)
{
    struct loaded *l = &job->active->loaded;
    uint32_t i = 0;

    while (i < job->recipient_count && job->recipients[i] != index)
        i++;
    if (i == job->recipient_count)
        return ERR_SYNTAX;
    if (result->site && result->status == DELIVER_DEFERRED) {
        job->is_site_failed = true;
        memcpy(job->site_dsn, result->dsn, strlen(result->dsn) + 1);
        arena_copy(&l->message.arena, result->reason, &job->site_reason);
    }
    job->is_any_reported = true;
    int rc = loaded_take_result(l, index, job->active->attempt, clock_wall_s(), result);
    return rc < 0 ? rc : 0;
}

int active_write_results(struct job *job, struct span results)
{
    struct active *a = job->active;
    struct str head = {0};

    a->loaded.sequence++;
    record_result_begin(&head, a->entry->id.number, a->loaded.sequence, a->attempt, clock_wall_s());
    str_append(&head, results);
    a->pins++;
    int rc = str_error(&head) < 0
                 ? str_error(&head)
                 : ledger_write_result(a->entry, str_span(&head), a->loaded.sequence);
    a->pins--;
    str_fini(&head);
    return rc;
}

/* A job that ended without a word about a recipient. */
static void defer_silent(struct job *job, const char *dsn, struct span reason, bool is_logged)
{
    struct active *a = job->active;

    for (uint32_t i = 0; i < job->recipient_count; i++) {
        struct outcome *o = &a->loaded.outcomes.items[job->recipients[i]];
        struct deliver_result result = {.status = DELIVER_DEFERRED, .dsn = dsn, .reason = reason};

        if (o->state != QUEUE_RECIPIENT_PENDING || o->attempt >= a->attempt)
            continue;
        if (is_logged)
            assign_log("error", a, job->recipients[i], &result);
        loaded_take_result(&a->loaded, job->recipients[i], a->attempt, clock_wall_s(), &result);
    }
}

static void job_free(struct job *job)
{
    list_remove(&job->link);
    job->active->job_count--;
    free(job->recipients);
    free(job);
}

void active_job_ended(struct job *job, struct str *results)
{
    struct active *a = job->active;
    bool is_last = a->job_count == 1 && a->pins == 0;

    defer_silent(job, "4.3.0", SPAN_LIT("delivery agent gave no result"), true);
    /* The end of the pass writes it all; in between a record of its own. */
    if (!is_last && results->len > 0)
        active_write_results(job, str_span(results));
    job_free(job);
    if (a->job_count == 0 && a->pins == 0)
        finish_pass(a);
}

void active_defer_job(struct job *job, const char *dsn, struct span reason)
{
    struct active *a = job->active;

    defer_silent(job, dsn, reason, true);
    job_free(job);
    if (a->job_count == 0 && a->pins == 0)
        finish_pass(a);
}

void active_recall_job(struct job *job)
{
    struct active *a = job->active;

    job_free(job);
    if (a->job_count == 0 && a->pins == 0)
        finish_pass(a);
}

int active_late_result(struct entry *e, uint32_t attempt, struct span encoded)
{
    struct deliver_result result;
    struct arena arena = {0};
    struct str head = {0};
    uint32_t index, sequence;
    uint64_t number = e->id.number;
    int rc = deliver_result_decode(&result, &index, &arena, encoded);

    /* A final result stops further attempts; a deferral tells nothing new. */
    if (rc == 0 && result.status != DELIVER_DEFERRED) {
        if (e->active != NULL) {
            struct loaded *l = &e->active->loaded;

            rc = loaded_take_result(l, index, attempt, clock_wall_s(), &result);
            sequence = rc > 0 ? ++l->sequence : 0;
        } else {
            sequence = entry_sequence(e) + 1;
        }
        if (rc >= 0 && sequence > 0) {
            record_result_begin(&head, e->id.number, sequence, attempt, clock_wall_s());
            record_result_add(&head, encoded);
            rc = str_error(&head);
            if (rc == 0)
                rc = ledger_write_result(e, str_span(&head), sequence);
        }
    }
    if (rc >= 0)
        under_way_arrived(number, result.status == DELIVER_DEFERRED);
    str_fini(&head);
    arena_reset(&arena);
    return rc < 0 ? rc : 0;
}
