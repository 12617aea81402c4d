#include "qmgr/agent.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "qmgr/transport.h"
#include "queue/attr.h"

enum { CAPACITY_MAX = 100000, ACKNOWLEDGE_MS = 1000 };

int agent_connect(struct transport *t, struct agent **out, deadline_t deadline)
{
    struct agent *a = NEW(struct agent);
    struct ipc_in *m = NULL;
    uint64_t capacity = 0;

    if (a == NULL)
        return -ENOMEM;
    a->transport = t;
    int rc = ipc_connect(&a->ipc, transport_name(t), DELIVER_PROTOCOL, DELIVER_PROTOCOL_VERSION,
                         deadline);
    if (rc < 0) {
        free(a);
        return rc;
    }
    rc = ipc_receive(a->ipc, &m, deadline);
    if (rc == 0 &&
        (!ipc_is(m, "ready") || ipc_get_u64(m, "capacity", &capacity) < 0 || capacity == 0))
        rc = ERR_PROTOCOL;
    ipc_in_free(m);
    if (rc < 0) {
        ipc_close(a->ipc);
        free(a);
        return rc;
    }
    a->capacity = capacity < CAPACITY_MAX ? (uint32_t)capacity : CAPACITY_MAX;
    list_append(&t->agents, &a->link);
    *out = a;
    return 0;
}

void agent_close(struct agent *a)
{
    struct ipc_conn *ipc = a->ipc;

    a->is_draining = true;
    a->ipc = NULL;
    ipc_close(ipc);
}

/* Small consecutive numbers. */
static uint64_t hash_number(uint64_t number)
{
    return number * 0x9e3779b97f4a7c15u;
}

int agent_send(struct agent *a, struct job *job, struct ipc_out *m)
{
    int rc = a->ipc == NULL ? -EAGAIN : ipc_post(a->ipc, m);

    if (rc < 0)
        return a->ipc == NULL || ipc_error(a->ipc) != 0 ? -EAGAIN : rc;
    if (hash_insert(&a->jobs, &job->by_number, hash_number(job->number)) < 0)
        return -ENOMEM; /* the agent's results will not be known: a duplicate at worst */
    job->agent = a;
    a->used++;
    return 0;
}

static struct job *find_job(struct agent *a, uint64_t number)
{
    struct hash_node *n = hash_first(&a->jobs, hash_number(number));

    for (; n != NULL; n = hash_next(n))
        if (CONTAINER_OF(n, struct job, by_number)->number == number)
            return CONTAINER_OF(n, struct job, by_number);
    return NULL;
}

static void forget_job(struct agent *a, struct job *job)
{
    hash_remove(&a->jobs, &job->by_number);
    job->agent = NULL;
    a->used--;
}

/* --- results --- */

/* What the job says about the site, from all its recipients. */
static enum schedule_outcome outcome_of(const struct job *job)
{
    if (job->is_site_failed)
        return SCHEDULE_SITE_FAILED;
    return job->is_any_reported ? SCHEDULE_SUCCESS : SCHEDULE_NEUTRAL;
}

/* A destination died: what waits for it is deferred with the reason. */
static void defer_destination(struct schedule_destination *d)
{
    struct str reason = {0};
    struct schedule_job *s;

    str_printf(&reason, "delivery temporarily suspended: %s",
               d->dead_reason != NULL ? d->dead_reason : "destination is not reachable");
    d->pinned++;
    while ((s = schedule_take_waiting(d)) != NULL)
        active_defer_job(CONTAINER_OF(s, struct job, schedule), d->dead_dsn, str_span(&reason));
    transport_unpark_all(d); /* to be deferred, too */
    d->pinned--;
    str_fini(&reason);
}

static void end_job(struct agent *a, struct job *job, struct str *record)
{
    struct schedule_destination *d = job->schedule.destination;
    struct transport *t = a->transport;
    bool is_dead = schedule_done(&job->schedule, outcome_of(job), job->site_dsn, job->site_reason,
                                 clock_mono_ms());

    forget_job(a, job);
    d->pinned++;
    active_job_ended(job, record);
    if (is_dead)
        defer_destination(d);
    d->pinned--;
    schedule_destination_tidy(d, clock_mono_ms());
    transport_kick(t);
}

static int take_results(struct agent *a, struct ipc_in *m)
{
    struct ipc_walk walk = {0};
    struct str record = {0};
    uint64_t number;
    bool is_done = false;
    int rc = 0;

    if (ipc_get_u64(m, "job", &number) < 0)
        return ERR_PROTOCOL;
    struct job *job = find_job(a, number);
    if (job == NULL)
        return 0; /* it was dropped here meanwhile */
    while (rc == 0 && ipc_walk(m, &walk)) {
        struct deliver_result result;
        struct arena arena = {0};
        uint32_t index;

        if (!span_eq(walk.name, SPAN_LIT("result")))
            continue;
        rc = deliver_result_decode(&result, &index, &arena, walk.value);
        if (rc == 0)
            rc = active_take_result(job, index, &result);
        if (rc == 0)
            record_result_add(&record, walk.value);
        arena_reset(&arena);
    }
    if (rc == 0 && ipc_get_bool(m, "done", &is_done) == 0 && is_done) {
        end_job(a, job, &record);
        str_append(&a->acks, span_make(&number, sizeof(number)));
    } else if (rc == 0 && record.len > 0) {
        rc = active_write_results(job, str_span(&record));
    }
    str_fini(&record);
    return rc;
}

/* The connection is gone: the outcome of its jobs is not known; the agent will
 * tell the next connection, or it died. The message is tried again later. */
static void lose_jobs(struct agent *a)
{
    struct hash_walk walk = {0};
    struct hash_node *n;

    while ((n = hash_walk(&a->jobs, &walk)) != NULL) {
        struct job *job = CONTAINER_OF(n, struct job, by_number);

        schedule_done(&job->schedule, SCHEDULE_NEUTRAL, "4.3.0", SPAN_NONE, clock_mono_ms());
        forget_job(a, job);
        active_defer_job(job, "4.3.0", SPAN_LIT("delivery agent lost connection"));
        walk = (struct hash_walk){0};
    }
}

void agent_serve(struct agent *a)
{
    struct transport *t = a->transport;
    struct ipc_in *m;
    int rc = 0;

    while (rc == 0 && a->ipc != NULL && (rc = ipc_receive(a->ipc, &m, DEADLINE_NONE)) == 0) {
        if (ipc_is(m, "result")) {
            rc = take_results(a, m);
            if (rc < 0)
                log_warn("transport %s: bad result from process %d: %s", transport_name(t),
                         (int)ipc_peer_pid(a->ipc), error_text(rc));
        } else if (ipc_is(m, "drain")) {
            a->is_draining = true;
        }
        ipc_in_free(m);
        task_cond_signal(&t->changed);
        if (a->is_draining && a->used == 0 && a->acks.len == 0)
            break;
    }
    list_remove(&a->link);
    bool is_stopping = a->ipc == NULL || rc == -ECANCELED;
    if (a->ipc != NULL)
        ipc_close(a->ipc);
    a->ipc = NULL;
    struct hash_walk walk = {0};
    struct hash_node *n;
    /* Connections that it held are gone with it. */
    while ((n = hash_walk(&t->schedule->destinations, &walk)) != NULL) {
        struct schedule_destination *d = CONTAINER_OF(n, struct schedule_destination, by_name);
        if (d->agent == a)
            d->agent = NULL;
    }
    if (!is_stopping)
        lose_jobs(a);
    hash_fini(&a->jobs);
    str_fini(&a->acks);
    free(a);
    task_cond_signal(&t->changed);
}

/* --- acknowledging --- */

static void acknowledge(struct agent *a, struct span numbers)
{
    while (numbers.n > 0 && a->ipc != NULL) {
        struct ipc_out m = {0};

        ipc_begin(&m, "ack");
        for (int i = 0; i < 1000 && numbers.n > 0; i++) {
            uint64_t number;

            memcpy(&number, numbers.p, sizeof(number));
            ipc_put_u64(&m, "job", number);
            numbers = span_drop(numbers, sizeof(number));
        }
        ipc_post(a->ipc, &m);
        ipc_out_fini(&m);
    }
}

/* Agents keep their results until the records are durable; records that nobody
 * waits for are flushed soon by themselves. */
void transport_run_acknowledger(void *arg)
{
    while (task_sleep(deadline_in(ACKNOWLEDGE_MS)) == 0) {
        struct transport *t = NULL;

        while ((t = transport_next(t)) != NULL) {
            LIST_FOR(item, &t->agents)
            {
                struct agent *a = LIST_ITEM(item, struct agent, link);
                a->acks_ready = a->acks.len;
            }
        }
        if (ledger_flush() < 0)
            continue;
        while ((t = transport_next(t)) != NULL) {
            LIST_FOR(item, &t->agents)
            {
                struct agent *a = LIST_ITEM(item, struct agent, link);
                acknowledge(a, span_take(str_span(&a->acks), a->acks_ready));
                str_drop_front(&a->acks, a->acks_ready);
                a->acks_ready = 0;
                if (a->is_draining && a->used == 0 && a->acks.len == 0 && a->ipc != NULL)
                    agent_close(a);
            }
        }
    }
}
