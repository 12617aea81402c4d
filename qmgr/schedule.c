#include "qmgr/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

/* --- feedback --- */

/* "1", "0.25", ".5": digits with at most one point. */
static int parse_decimal(struct span s, double *value)
{
    double scale = 1;
    bool is_fraction = false;

    *value = 0;
    if (s.n == 0 || s.n > 9)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' && !is_fraction) {
            is_fraction = true;
        } else if (ascii_is_digit(s.p[i])) {
            *value = *value * 10 + (s.p[i] - '0');
            scale *= is_fraction ? 10 : 1;
        } else {
            return ERR_SYNTAX;
        }
    }
    *value /= scale;
    return 0;
}

int schedule_feedback_parse(struct span text, struct schedule_feedback *out)
{
    struct span s = span_trim(text);
    ptrdiff_t slash = span_find(s, '/');
    double divisor = 1;

    *out = (struct schedule_feedback){.by = FEEDBACK_CONSTANT};
    if (slash >= 0) {
        struct span below = span_trim(span_drop(s, (size_t)slash + 1));

        s = span_trim(span_take(s, (size_t)slash));
        if (span_ieq(below, SPAN_LIT("concurrency")))
            out->by = FEEDBACK_CONCURRENCY;
        else if (span_ieq(below, SPAN_LIT("sqrt_concurrency")))
            out->by = FEEDBACK_SQRT_CONCURRENCY;
        else if (parse_decimal(below, &divisor) < 0 || divisor <= 0)
            return ERR_SYNTAX;
    }
    if (parse_decimal(s, &out->value) < 0)
        return ERR_SYNTAX;
    out->value /= divisor;
    return out->value > 0 && out->value <= 1 ? 0 : ERR_SYNTAX;
}

/* Newton's steps; windows are small. */
static double square_root(double x)
{
    double root = x > 1 ? x / 2 : 1;

    for (int i = 0; i < 20; i++)
        root = (root + x / root) / 2;
    return root;
}

static double feedback_value(const struct schedule_feedback *f, unsigned window)
{
    if (f->by == FEEDBACK_CONCURRENCY)
        return f->value / window;
    return f->by == FEEDBACK_SQRT_CONCURRENCY ? f->value / square_root(window) : f->value;
}

/* --- transports, destinations, lanes --- */

struct schedule_transport *schedule_transport_new(const char *name,
                                                  const struct schedule_limits *limits)
{
    struct schedule_transport *t = NEW(struct schedule_transport);

    if (t == NULL)
        return NULL;
    t->name = mem_strdup(span_cstr(name));
    if (t->name == NULL) {
        free(t);
        return NULL;
    }
    t->limits = *limits;
    list_init(&t->link);
    list_init(&t->ready);
    return t;
}

static void destination_free(struct schedule_destination *d)
{
    struct hash_walk walk = {0};
    struct hash_node *n;

    while ((n = hash_walk(&d->lanes_by_key, &walk)) != NULL) {
        hash_remove(&d->lanes_by_key, n);
        free(CONTAINER_OF(n, struct schedule_lane, by_key));
    }
    hash_fini(&d->lanes_by_key);
    list_remove(&d->turn);
    hash_remove(&d->transport->destinations, &d->by_name);
    free(d->dead_reason);
    free(d->name);
    free(d);
}

void schedule_transport_free(struct schedule_transport *t)
{
    struct hash_walk walk = {0};
    struct hash_node *n;

    if (t == NULL)
        return;
    while ((n = hash_walk(&t->destinations, &walk)) != NULL)
        destination_free(CONTAINER_OF(n, struct schedule_destination, by_name));
    hash_fini(&t->destinations);
    free(t->name);
    free(t);
}

struct schedule_destination *schedule_destination(struct schedule_transport *t, struct span name)
{
    uint64_t hash = span_ihash(name);

    for (struct hash_node *n = hash_first(&t->destinations, hash); n != NULL; n = hash_next(n)) {
        struct schedule_destination *d = CONTAINER_OF(n, struct schedule_destination, by_name);
        if (span_ieq(span_cstr(d->name), name))
            return d;
    }
    struct schedule_destination *d = NEW(struct schedule_destination);
    if (d == NULL)
        return NULL;
    d->name = mem_strdup(name);
    if (d->name == NULL || hash_insert(&t->destinations, &d->by_name, hash) < 0) {
        free(d->name);
        free(d);
        return NULL;
    }
    d->transport = t;
    d->window = t->limits.initial_concurrency;
    if (t->limits.concurrency > 0 && d->window > t->limits.concurrency)
        d->window = t->limits.concurrency;
    list_init(&d->turn);
    list_init(&d->lanes);
    list_init(&d->busy);
    return d;
}

struct schedule_lane *schedule_lane(struct schedule_destination *d, uint64_t key)
{
    for (struct hash_node *n = hash_first(&d->lanes_by_key, key); n != NULL; n = hash_next(n))
        return CONTAINER_OF(n, struct schedule_lane, by_key);
    struct schedule_lane *lane = NEW(struct schedule_lane);
    if (lane == NULL || hash_insert(&d->lanes_by_key, &lane->by_key, key) < 0) {
        free(lane);
        return NULL;
    }
    lane->key = key;
    lane->destination = d;
    list_init(&lane->turn);
    list_init(&lane->jobs);
    list_init(&lane->parked);
    return lane;
}

static void lane_tidy(struct schedule_lane *lane)
{
    if (lane->waiting > 0 || lane->parked_count > 0)
        return;
    list_remove(&lane->turn);
    hash_remove(&lane->destination->lanes_by_key, &lane->by_key);
    free(lane);
}

void schedule_destination_tidy(struct schedule_destination *d, int64_t now_ms)
{
    bool has_memory = d->dead_until_ms > now_ms || d->blocked_until_ms > now_ms ||
                      d->failed_cohorts > 0 || d->failure < 0;

    if (d->waiting == 0 && d->parked == 0 && d->busy_count == 0 && d->pinned == 0 && !has_memory)
        destination_free(d);
}

/* --- turns --- */

/* A destination is in its transport's ring exactly while it has a job and room. */
static void update_turn(struct schedule_destination *d)
{
    bool is_ready = d->waiting > 0 && d->dead_until_ms == 0 && d->busy_count < d->window;

    if (!is_ready)
        list_remove(&d->turn);
    else if (!list_is_linked(&d->turn))
        list_append(&d->transport->ready, &d->turn);
}

static void count_waiting(struct schedule_lane *lane, int n)
{
    lane->waiting += (size_t)n;
    lane->destination->waiting += (size_t)n;
    lane->destination->transport->waiting += (size_t)n;
}

void schedule_add(struct schedule_lane *lane, struct schedule_job *job)
{
    job->lane = lane;
    job->destination = lane->destination;
    list_append(&lane->jobs, &job->link);
    count_waiting(lane, 1);
    if (!list_is_linked(&lane->turn))
        list_append(&lane->destination->lanes, &lane->turn);
    update_turn(lane->destination);
}

/* Take a job off its lane; the lane goes to the end of the ring. */
static void leave_lane(struct schedule_job *job)
{
    struct schedule_lane *lane = job->lane;

    list_remove(&job->link);
    list_remove(&lane->turn);
    count_waiting(lane, -1);
    job->lane = NULL;
    if (lane->waiting > 0)
        list_append(&lane->destination->lanes, &lane->turn);
    else
        lane_tidy(lane);
}

static struct schedule_job *first_job(struct schedule_destination *d)
{
    struct schedule_lane *lane = LIST_ITEM(d->lanes.next, struct schedule_lane, turn);

    return LIST_ITEM(lane->jobs.next, struct schedule_job, link);
}

struct schedule_job *schedule_next(struct schedule_transport *t, int64_t now_ms)
{
    if (t->blocked_until_ms > now_ms)
        return NULL;
    LIST_FOR(item, &t->ready)
    {
        struct schedule_destination *d = LIST_ITEM(item, struct schedule_destination, turn);

        if (d->blocked_until_ms > now_ms)
            continue;
        struct schedule_job *job = first_job(d);
        leave_lane(job);
        list_append(&d->busy, &job->link);
        d->busy_count++;
        t->busy++;
        list_remove(&d->turn);
        update_turn(d);
        if (t->limits.transport_rate_delay_ms > 0)
            t->blocked_until_ms = now_ms + t->limits.transport_rate_delay_ms;
        return job;
    }
    return NULL;
}

static void leave_busy(struct schedule_job *job)
{
    struct schedule_destination *d = job->destination;

    list_remove(&job->link);
    d->busy_count--;
    d->transport->busy--;
}

void schedule_undo(struct schedule_lane *lane, struct schedule_job *job)
{
    leave_busy(job);
    job->lane = lane;
    list_prepend(&lane->jobs, &job->link);
    count_waiting(lane, 1);
    list_remove(&lane->turn);
    list_prepend(&lane->destination->lanes, &lane->turn);
    update_turn(lane->destination);
}

void schedule_remove(struct schedule_job *job)
{
    struct schedule_destination *d = job->destination;

    leave_lane(job);
    update_turn(d);
}

struct schedule_job *schedule_take_waiting(struct schedule_destination *d)
{
    if (d->waiting == 0)
        return NULL;
    struct schedule_job *job = first_job(d);
    schedule_remove(job);
    return job;
}

/* --- outcomes --- */

static void succeed(struct schedule_destination *d)
{
    const struct schedule_limits *l = &d->transport->limits;

    d->failed_cohorts = 0;
    if (l->concurrency > 0 && d->window >= l->concurrency)
        return;
    /* Only as far as there is use for it: not more than the initial value ahead. */
    if (d->window >= d->busy_count + 1 + l->initial_concurrency) /* the one that ended counts */
        return;
    double feedback = feedback_value(&l->positive, d->window);
    d->success += feedback;
    while (d->success + feedback / 2 >= 1) {
        d->window++;
        d->success -= 1;
        d->failure = 0;
    }
    if (l->concurrency > 0 && d->window > l->concurrency)
        d->window = l->concurrency;
}

static void fail(struct schedule_destination *d)
{
    const struct schedule_limits *l = &d->transport->limits;
    double feedback = feedback_value(&l->negative, d->window);

    d->failed_cohorts += 1.0 / d->window;
    d->failure -= feedback;
    while (d->failure - feedback / 2 < 0 && d->failure < 0) {
        d->window = d->window > 1 ? d->window - 1 : 1;
        d->failure += 1;
        d->success = 0;
    }
}

static void die(struct schedule_destination *d, const char *dsn, struct span reason, int64_t now_ms)
{
    d->dead_until_ms = now_ms + d->transport->limits.dead_ms;
    free(d->dead_reason);
    d->dead_reason = mem_strdup(reason);
    snprintf(d->dead_dsn, sizeof(d->dead_dsn), "%s", dsn);
    list_remove(&d->turn);
}

bool schedule_done(struct schedule_job *job, enum schedule_outcome outcome, const char *dsn,
                   struct span reason, int64_t now_ms)
{
    struct schedule_destination *d = job->destination;
    const struct schedule_limits *l = &d->transport->limits;
    bool was_alive = d->dead_until_ms == 0;

    leave_busy(job);
    if (l->rate_delay_ms > 0)
        d->blocked_until_ms = now_ms + l->rate_delay_ms;
    if (outcome == SCHEDULE_SUCCESS && was_alive) {
        succeed(d);
    } else if (outcome == SCHEDULE_SITE_FAILED && was_alive) {
        fail(d);
        /* Not quite 1 after `window` failures that each count 1/window. */
        if (l->failed_cohorts > 0 && d->failed_cohorts > l->failed_cohorts - 1e-6)
            die(d, dsn, reason, now_ms);
    }
    update_turn(d);
    return was_alive && d->dead_until_ms != 0;
}

void schedule_revive(struct schedule_destination *d)
{
    d->dead_until_ms = 0;
    d->failed_cohorts = 0;
    d->success = d->failure = 0;
    d->window = d->transport->limits.initial_concurrency;
    if (d->transport->limits.concurrency > 0 && d->window > d->transport->limits.concurrency)
        d->window = d->transport->limits.concurrency;
    update_turn(d);
}

bool schedule_is_dead(struct schedule_destination *d, int64_t now_ms)
{
    if (d->dead_until_ms != 0 && d->dead_until_ms <= now_ms)
        schedule_revive(d);
    return d->dead_until_ms != 0;
}

/* --- parking --- */

bool schedule_lane_is_full(const struct schedule_lane *lane)
{
    return lane->waiting >= SCHEDULE_LANE_MAX || lane->parked_count > 0;
}

void schedule_park(struct schedule_lane *lane, struct schedule_parked *p)
{
    p->lane = lane;
    list_append(&lane->parked, &p->link);
    lane->parked_count++;
    lane->destination->parked++;
}

void schedule_unpark(struct schedule_parked *p)
{
    struct schedule_lane *lane = p->lane;

    list_remove(&p->link);
    p->lane = NULL;
    lane->parked_count--;
    lane->destination->parked--;
    lane_tidy(lane);
}

struct schedule_parked *schedule_next_parked(struct schedule_lane *lane)
{
    if (lane->parked_count == 0 || lane->waiting > SCHEDULE_LANE_MAX / 2)
        return NULL;
    return LIST_ITEM(lane->parked.next, struct schedule_parked, link);
}

int64_t schedule_wakeup(const struct schedule_transport *t)
{
    int64_t at = INT64_MAX;

    LIST_FOR(item, &t->ready)
    {
        const struct schedule_destination *d = LIST_ITEM(item, struct schedule_destination, turn);
        int64_t when =
            d->blocked_until_ms > t->blocked_until_ms ? d->blocked_until_ms : t->blocked_until_ms;
        if (when < at)
            at = when;
    }
    return at;
}
