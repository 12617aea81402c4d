#include "qmgr/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "qmgr/agent.h"
#include "qmgr/tasks.h"
#include "service/service.h"

enum { CONNECT_MS = 10000, ENVELOPE_MAX = 48 << 10, DEFER_AT_ONCE = 256 };

static struct list transports = {&transports, &transports};
static uint64_t next_job_number = 1;

struct schedule_transport *transport_schedule(struct transport *t)
{
    return t->schedule;
}

const char *transport_name(const struct transport *t)
{
    return t->schedule->name;
}

unsigned transport_recipient_limit(const struct transport *t)
{
    return t->recipient_limit;
}

struct transport *transport_next(struct transport *t)
{
    struct list *next = t == NULL ? transports.next : t->link.next;

    return next == &transports ? NULL : LIST_ITEM(next, struct transport, link);
}

void transport_kick(struct transport *t)
{
    task_cond_signal(&t->changed);
}

/* --- making --- */

static void read_feedback(const struct conf *c, const char *name, const char *suffix,
                          struct schedule_feedback *out)
{
    const char *text = conf_transport_string(c, name, suffix);

    if (schedule_feedback_parse(span_cstr(text), out) < 0) {
        log_warn("%s_%s: bad value \"%s\", using 1", name, suffix, text);
        *out = (struct schedule_feedback){.value = 1};
    }
}

static void read_limits(const char *name, struct schedule_limits *l)
{
    const struct conf *c = service_conf();

    l->initial_concurrency = (unsigned)conf_int(c, "initial_destination_concurrency");
    l->concurrency = (unsigned)conf_transport_int(c, name, "destination_concurrency_limit");
    l->failed_cohorts =
        (unsigned)conf_transport_int(c, name, "destination_concurrency_failed_cohort_limit");
    l->rate_delay_ms = conf_transport_ms(c, name, "destination_rate_delay");
    l->transport_rate_delay_ms = conf_transport_ms(c, name, "transport_rate_delay");
    l->dead_ms = qmgr_config.minimal_backoff_s * 1000;
    read_feedback(c, name, "destination_concurrency_positive_feedback", &l->positive);
    read_feedback(c, name, "destination_concurrency_negative_feedback", &l->negative);
    /* One at a time with a pause in between. */
    if (l->rate_delay_ms > 0)
        l->initial_concurrency = l->concurrency = 1;
}

static void run_dispatcher(void *arg);

struct transport *transport_find(struct span name)
{
    LIST_FOR(item, &transports)
    {
        struct transport *t = LIST_ITEM(item, struct transport, link);
        if (span_eq(span_cstr(t->schedule->name), name))
            return t;
    }
    struct transport *t = NEW(struct transport);
    struct schedule_limits limits = {0};
    char *text = mem_strdup(name);
    if (t == NULL || text == NULL)
        goto fail;
    read_limits(text, &limits);
    t->schedule = schedule_transport_new(text, &limits);
    if (t->schedule == NULL)
        goto fail;
    t->schedule->owner = t;
    t->recipient_limit =
        (unsigned)conf_transport_int(service_conf(), text, "destination_recipient_limit");
    list_init(&t->agents);
    task_cond_init(&t->changed);
    if (tasks_spawn("dispatch", run_dispatcher, t) < 0) {
        schedule_transport_free(t->schedule);
        goto fail;
    }
    list_append(&transports, &t->link);
    free(text);
    return t;
fail:
    free(t);
    free(text);
    return NULL;
}

void transport_revive_all(void)
{
    LIST_FOR(item, &transports)
    {
        struct transport *t = LIST_ITEM(item, struct transport, link);
        struct hash_walk walk = {0};
        struct hash_node *n;

        t->unavailable_until_ms = 0;
        while ((n = hash_walk(&t->schedule->destinations, &walk)) != NULL) {
            struct schedule_destination *d = CONTAINER_OF(n, struct schedule_destination, by_name);
            if (d->dead_until_ms != 0)
                schedule_revive(d);
        }
        transport_kick(t);
    }
}

/* --- agents that can take a job --- */

static bool has_room(const struct agent *a)
{
    return !a->is_draining && a->used < a->capacity;
}

/* The agent that delivered to this destination last holds connections to it. */
static struct agent *choose_agent(struct transport *t, void *preferred)
{
    struct agent *best = NULL;

    LIST_FOR(item, &t->agents)
    {
        struct agent *a = LIST_ITEM(item, struct agent, link);

        if (!has_room(a))
            continue;
        if (a == preferred)
            return a;
        if (best == NULL || a->capacity - a->used > best->capacity - best->used)
            best = a;
    }
    return best;
}

static size_t count_agents(const struct transport *t)
{
    size_t n = 0;

    LIST_FOR(item, (struct list *)&t->agents)
    n++;
    return n;
}

/* A further process serves only while the others are full: batches thin out. */
static bool wants_agent(const struct transport *t)
{
    static long cores;

    if (cores == 0)
        cores = sysconf(_SC_NPROCESSORS_ONLN);
    return t->schedule->waiting > 0 && !t->is_connecting &&
           t->unavailable_until_ms <= clock_mono_ms() &&
           count_agents(t) < (size_t)(cores > 0 ? cores : 1);
}

static void run_connector(void *arg)
{
    struct transport *t = arg;
    struct agent *a = NULL;
    int rc = agent_connect(t, &a, deadline_in(CONNECT_MS));

    t->is_connecting = false;
    if (rc == 0) {
        task_cond_signal(&t->changed);
        agent_serve(a);
    } else if (rc != -ECANCELED) {
        if (count_agents(t) == 0)
            log_warn("connect to transport %s: %s", transport_name(t), error_text(rc));
        t->unavailable_until_ms = clock_mono_ms() + qmgr_config.transport_retry_ms;
        task_cond_signal(&t->changed);
    }
}

/* --- sending jobs --- */

/* Encoded envelope with only this job's recipients. */
static int encode_envelope(const struct job *job, struct str *out)
{
    const struct queue_message *m = &job->active->loaded.message;
    int rc = queue_message_encode_envelope(m, out);

    for (uint32_t i = 0; rc == 0 && i < job->recipient_count; i++)
        rc = queue_recipient_encode(&m->recipients.items[job->recipients[i]], out);
    return rc;
}

static int build_job(struct job *job, struct ipc_out *m)
{
    struct str envelope = {0};
    int rc = encode_envelope(job, &envelope);

    ipc_begin(m, "job");
    ipc_put_u64(m, "job", job->number);
    ipc_put_u64(m, "attempt", job->active->attempt);
    ipc_put(m, "transport", span_cstr(transport_name(job->transport)));
    ipc_put(m, "next-hop", job->next_hop);
    ipc_put_i64(m, "active", job->active->active_us);
    ipc_put_i64(m, "handed", job->handed_us);
    ipc_put(m, "envelope", str_span(&envelope));
    str_fini(&envelope);
    if (rc == 0 && !(job->active->loaded.message.flags & QUEUE_MESSAGE_PROBE))
        rc = ledger_put_content(job->active->entry, &job->active->loaded, m);
    return rc;
}

static void send_job(struct transport *t, struct job *job)
{
    struct ipc_out m = {0};
    struct agent *a = NULL;

    job->number = next_job_number++;
    job->handed_us = clock_wall_us();
    int rc = build_job(job, &m);
    if (rc == 0) {
        /* Only now: building may have waited. */
        a = choose_agent(t, job->schedule.destination->agent);
        rc = a == NULL ? -EAGAIN : agent_send(a, job, &m);
    }
    ipc_out_fini(&m);
    if (rc == 0) {
        job->schedule.destination->agent = a;
    } else if (rc == -EAGAIN) {
        struct schedule_lane *lane = schedule_lane(job->schedule.destination, job->lane_key);
        if (lane != NULL)
            schedule_undo(lane, &job->schedule);
    } else {
        log_warn("%s: cannot hand out: %s", job->active->queue_id, error_text(rc));
        schedule_done(&job->schedule, SCHEDULE_NEUTRAL, "4.3.0", SPAN_NONE, clock_mono_ms());
        active_defer_job(job, "4.3.0", SPAN_LIT("cannot read the message"));
    }
}

static void unpark_some(struct schedule_lane *lane, size_t limit)
{
    struct schedule_parked *p = schedule_next_parked(lane);

    for (size_t i = 0; p != NULL && i < limit; i++) {
        struct entry *e = CONTAINER_OF(p, struct entry, parked);
        bool was_last = lane->parked_count == 1;

        e->is_unparked = true;
        entry_move(e, ENTRY_INCOMING);
        p = was_last ? NULL : schedule_next_parked(lane);
    }
    active_kick();
}

void transport_unpark(struct schedule_destination *d, uint64_t lane_key)
{
    struct schedule_lane *lane = d->parked > 0 ? schedule_lane(d, lane_key) : NULL;

    if (lane != NULL)
        unpark_some(lane, SCHEDULE_LANE_MAX / 4);
}

void transport_unpark_all(struct schedule_destination *d)
{
    struct hash_walk walk = {0};
    struct hash_node *n;

    while (d->parked > 0 && (n = hash_walk(&d->lanes_by_key, &walk)) != NULL)
        unpark_some(CONTAINER_OF(n, struct schedule_lane, by_key), SIZE_MAX);
}

/* Nobody can take them: messages are deferred, so many at a time that walking all
 * destinations for them costs little; what is parked behind them follows. */
static void defer_waiting(struct transport *t)
{
    struct schedule_job *taken[DEFER_AT_ONCE], *s;
    struct hash_walk walk = {0};
    struct hash_node *n;
    size_t count = 0;

    while (count < DEFER_AT_ONCE && (n = hash_walk(&t->schedule->destinations, &walk)) != NULL) {
        struct schedule_destination *d = CONTAINER_OF(n, struct schedule_destination, by_name);

        if (d->waiting > 0)
            d->pinned++; /* until its last job here is deferred */
        while (count < DEFER_AT_ONCE && (s = schedule_take_waiting(d)) != NULL)
            taken[count++] = s;
        transport_unpark_all(d);
    }
    for (size_t i = 0; i < count; i++) {
        struct schedule_destination *d = taken[i]->destination;
        bool is_last = i + 1 == count || taken[i + 1]->destination != d;

        active_defer_job(CONTAINER_OF(taken[i], struct job, schedule), "4.3.0",
                         SPAN_LIT("mail transport unavailable"));
        if (is_last) {
            d->pinned--;
            schedule_destination_tidy(d, clock_mono_ms());
        }
    }
}

static void run_dispatcher(void *arg)
{
    struct transport *t = arg;

    for (;;) {
        int64_t now = clock_mono_ms();
        struct schedule_job *s =
            choose_agent(t, NULL) != NULL ? schedule_next(t->schedule, now) : NULL;

        if (s != NULL) {
            struct job *job = CONTAINER_OF(s, struct job, schedule);
            uint64_t lane_key = job->lane_key;
            struct schedule_destination *d = s->destination;

            send_job(t, job);
            transport_unpark(d, lane_key);
            if (task_breathe() < 0)
                return;
            continue;
        }
        if (t->schedule->waiting > 0 && choose_agent(t, NULL) == NULL) {
            if (wants_agent(t)) {
                t->is_connecting = tasks_spawn("connect", run_connector, t) == 0;
            } else if (count_agents(t) == 0 && t->unavailable_until_ms > now) {
                defer_waiting(t);
                if (task_breathe() < 0)
                    return;
                continue;
            }
        }
        int64_t wakeup = schedule_wakeup(t->schedule);
        if (wakeup <= now) /* room is what is missing */
            wakeup = DEADLINE_NONE;
        int rc = task_cond_wait(&t->changed, wakeup);
        if (rc < 0 && rc != -ETIMEDOUT)
            return;
    }
}

void transport_close_all(void)
{
    LIST_FOR(item, &transports)
    {
        struct transport *t = LIST_ITEM(item, struct transport, link);
        LIST_FOR(other, &t->agents)
        agent_close(LIST_ITEM(other, struct agent, link));
    }
}
