#include "smtp/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "smtp/transaction.h"

enum { VERDICT_WEIGHT = 4 };

struct destination {
    struct hash_node by_name;
    char *name;
    size_t users;        /* deliveries and connections */
    struct list idle;    /* connections, the one used last at the end */
    struct list waiting; /* deliveries */
    size_t waiting_count;
    size_t active;      /* connections in use */
    bool is_kept;       /* connections to it are reused, as far as the last one tells */
    int64_t verdict_us; /* smoothed; negative: not known */
};

static struct hash destinations;

/* --- destinations --- */

static struct destination *find(struct span name)
{
    struct hash_node *n = hash_first(&destinations, span_ihash(name));

    for (; n != NULL; n = hash_next(n)) {
        struct destination *t = CONTAINER_OF(n, struct destination, by_name);
        if (span_ieq(span_cstr(t->name), name))
            return t;
    }
    return NULL;
}

static struct destination *make(struct span name)
{
    struct destination *t = NEW(struct destination);

    if (t == NULL)
        return NULL;
    t->name = mem_strdup(name);
    t->verdict_us = -1;
    list_init(&t->idle);
    list_init(&t->waiting);
    if (t->name == NULL || hash_insert(&destinations, &t->by_name, span_ihash(name)) < 0) {
        free(t->name);
        free(t);
        return NULL;
    }
    return t;
}

static void release(struct destination *t)
{
    if (--t->users > 0)
        return;
    hash_remove(&destinations, &t->by_name);
    free(t->name);
    free(t);
    if (destinations.count == 0)
        hash_fini(&destinations);
}

struct destination *pool_enter(struct delivery *d)
{
    struct destination *t = find(d->job->next_hop);

    if (t == NULL)
        t = make(d->job->next_hop);
    if (t != NULL)
        t->users++;
    d->destination = t;
    return t;
}

void pool_leave(struct delivery *d)
{
    if (d->destination != NULL)
        release(d->destination);
    d->destination = NULL;
}

/* --- idle connections --- */

static void drop(struct connection *c)
{
    struct destination *t = c->destination;

    connection_free(c);
    if (t != NULL)
        release(t);
}

static void quit(struct connection *c)
{
    struct destination *t = c->destination;

    connection_quit(c);
    if (t != NULL)
        release(t);
}

static void run_quit(void *arg)
{
    quit(arg);
}

static void idle_expired(struct task_timer *timer)
{
    struct connection *c = CONTAINER_OF(timer, struct connection, idle);

    list_remove(&c->link);
    if (task_spawn("smtp-quit", run_quit, c) == NULL)
        drop(c);
}

void pool_close(void)
{
    struct hash_walk walk = {0};
    struct hash_node *n;

    while ((n = hash_walk(&destinations, &walk)) != NULL) {
        struct destination *t = CONTAINER_OF(n, struct destination, by_name);
        struct list *item;

        t->users++;
        while ((item = list_pop(&t->idle)) != NULL)
            drop(LIST_ITEM(item, struct connection, link));
        release(t);
    }
}

/* --- waiting --- */

static void stop_waiting(struct delivery *d, enum delivery_wait wait)
{
    if (list_is_linked(&d->link)) {
        list_remove(&d->link);
        d->destination->waiting_count--;
    }
    d->wait = wait;
}

static void wake(struct delivery *d, enum delivery_wait wait)
{
    stop_waiting(d, wait);
    task_cond_signal(&d->wake);
}

static void hand_over(struct connection *c, struct delivery *d)
{
    c->next = NULL;
    d->given = c;
    wake(d, DELIVERY_GIVEN);
}

static struct delivery *first_waiting(const struct destination *t)
{
    return list_is_empty(&t->waiting) ? NULL : LIST_ITEM(t->waiting.next, struct delivery, link);
}

static bool should_wait(const struct delivery *d)
{
    const struct destination *t = d->destination;

    return t->is_kept && t->verdict_us >= 0 && t->verdict_us < d->settings->overlap_limit_us &&
           t->active > t->waiting_count;
}

static struct connection *take_idle(struct destination *t)
{
    while (!list_is_empty(&t->idle)) {
        struct connection *c = LIST_ITEM(t->idle.prev, struct connection, link);

        list_remove(&c->link);
        task_timer_clear(&c->idle);
        if (!connection_is_stale(c)) {
            t->active++;
            return c;
        }
        drop(c);
    }
    return NULL;
}

/* Cancelled: nobody may touch d any more. */
static void abandon(struct delivery *d)
{
    if (d->wait == DELIVERY_GIVEN) {
        d->destination->active--;
        drop(d->given);
    } else if (d->wait == DELIVERY_BOUND) {
        d->given->next = NULL;
        d->given->is_spoilt = true;
    }
    d->given = NULL;
    stop_waiting(d, DELIVERY_IDLE);
}

/* True when there is a connection, or another look at the pool is worth it. */
static bool wait_for_connection(struct delivery *d)
{
    deadline_t deadline = deadline_in(d->settings->overlap_limit_us / 1000 + 1);
    int rc = 0;

    d->wait = DELIVERY_WAITING;
    list_append(&d->destination->waiting, &d->link);
    d->destination->waiting_count++;
    while ((d->wait == DELIVERY_WAITING && rc == 0) || d->wait == DELIVERY_BOUND) {
        rc = task_cond_wait(&d->wake, d->wait == DELIVERY_BOUND ? DEADLINE_NONE : deadline);
        if (rc == -ECANCELED) {
            abandon(d);
            return false;
        }
    }
    if (d->wait == DELIVERY_WAITING)
        stop_waiting(d, DELIVERY_IDLE);
    return rc == 0 || d->wait == DELIVERY_GIVEN;
}

struct connection *pool_take(struct delivery *d)
{
    struct connection *c = take_idle(d->destination);

    while (c == NULL && should_wait(d) && wait_for_connection(d)) {
        c = d->wait == DELIVERY_GIVEN ? d->given : take_idle(d->destination);
        d->wait = DELIVERY_IDLE;
        d->given = NULL;
    }
    return c;
}

/* --- connections in use --- */

static bool is_cached_destination(const struct settings *s, const char *name)
{
    struct span rest = span_cstr(s->cache_destinations), item;

    while (span_token(&rest, ", \t\r\n", &item))
        if (span_ieq(item, span_cstr(name)))
            return true;
    return false;
}

bool pool_may_keep(const struct connection *c)
{
    const struct settings *s = c->settings;

    if (c->is_broken || c->is_spoilt || c->is_quit_sent || c->destination == NULL ||
        !c->is_keepable)
        return false;
    if (!s->reuse && !is_cached_destination(s, c->destination->name))
        return false;
    if (stream_tls(c->stream) != NULL && !s->tls_reuse)
        return false;
    if (s->reuse_count > 0 && c->uses >= s->reuse_count)
        return false;
    return clock_mono_ms() - c->opened_ms < s->reuse_time_ms;
}

void pool_add(struct delivery *d, struct connection *c)
{
    c->destination = d->destination;
    c->destination->users++;
    c->destination->active++;
    c->destination->is_kept = pool_may_keep(c);
}

struct delivery *pool_bind_next(struct connection *c)
{
    struct delivery *next;

    if (!(c->features & SMTP_PIPELINING) || !pool_may_keep(c))
        return NULL;
    next = first_waiting(c->destination);
    if (next == NULL || !transaction_fits(c, next, NULL) || transaction_begin(next) < 0)
        return NULL;
    stop_waiting(next, DELIVERY_BOUND);
    next->given = c;
    c->next = next;
    return next;
}

void pool_note_verdict(struct connection *c, int64_t us)
{
    struct destination *t = c->destination;

    if (t == NULL)
        return;
    t->verdict_us = t->verdict_us < 0 ? us : t->verdict_us + (us - t->verdict_us) / VERDICT_WEIGHT;
}

static void close_connection(struct connection *c)
{
    struct destination *t = c->destination;
    struct delivery *next = c->next;

    if (next != NULL) {
        /* It was bound to this connection: let it look for another one. */
        c->next = NULL;
        next->given = NULL;
        next->transaction.is_begun = false;
        wake(next, DELIVERY_IDLE);
    }
    if (t != NULL) {
        t->active--;
        next = first_waiting(t);
        if (next != NULL)
            wake(next, DELIVERY_IDLE);
    }
    if (c->is_broken || c->is_spoilt)
        drop(c);
    else
        quit(c);
}

void pool_give(struct delivery *d, struct connection *c)
{
    struct destination *t = c->destination;

    if (pool_may_keep(c) && c->is_transaction_open)
        connection_reset(c);
    if (!pool_may_keep(c)) {
        close_connection(c);
        return;
    }
    if (c->next != NULL) {
        hand_over(c, c->next);
    } else if (first_waiting(t) != NULL) {
        hand_over(c, first_waiting(t));
    } else {
        t->active--;
        connection_trim(c);
        list_append(&t->idle, &c->link);
        c->idle.expired = idle_expired;
        task_timer_set(&c->idle, deadline_in(c->settings->idle_ms));
    }
}
