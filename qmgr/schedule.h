/*
 * schedule.h: which job goes out next. A pure data structure: no descriptor, no
 * clock, no configuration inside; time is an argument, in milliseconds.
 *
 * A transport has destinations, a destination has lanes, a lane has jobs.
 * Destinations of a transport take turns, and so do the lanes of a destination.
 * A lane holds what one sender has for the destination, or the jobs of one
 * message with many recipients: so neither a mailing list nor a bulk sender
 * delays the others by more than one job each. A lane that is long parks
 * further messages (they are not even loaded) until it becomes shorter.
 *
 * A destination's concurrency follows Postfix's feedback: it begins at
 * initial_destination_concurrency, rises with success, falls with failures of
 * the site, and the destination is dead after failed_cohort_limit cohorts.
 */
#ifndef QMGR_SCHEDULE_H
#define QMGR_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/span.h"

/* "1", "0.5", "1/8", "1/concurrency", "1/sqrt_concurrency". */
struct schedule_feedback {
    double value;
    enum { FEEDBACK_CONSTANT, FEEDBACK_CONCURRENCY, FEEDBACK_SQRT_CONCURRENCY } by;
};
/* 0 or ERR_SYNTAX; value must be in (0, 1]. */
int schedule_feedback_parse(struct span text, struct schedule_feedback *out);

struct schedule_limits {
    unsigned initial_concurrency; /* initial_destination_concurrency */
    unsigned concurrency;         /* _destination_concurrency_limit; 0: none */
    unsigned failed_cohorts;      /* _destination_concurrency_failed_cohort_limit; 0: never dead */
    int64_t rate_delay_ms;        /* _destination_rate_delay: pause between deliveries */
    int64_t transport_rate_delay_ms; /* _transport_rate_delay */
    int64_t dead_ms;                 /* minimal_backoff_time: how long a site is dead */
    struct schedule_feedback positive, negative;
};

struct schedule_job {
    struct list link;           /* in its lane, or in the destination's busy list */
    struct schedule_lane *lane; /* while it waits */
    struct schedule_destination *destination;
    void *owner;
};

/* Something that is not loaded yet and waits for room in a lane. */
struct schedule_parked {
    struct list link;
    struct schedule_lane *lane;
};

struct schedule_lane {
    struct hash_node by_key;
    struct list turn; /* in destination->lanes while jobs wait */
    struct list jobs;
    struct list parked;
    size_t waiting, parked_count;
    uint64_t key;
    struct schedule_destination *destination;
};

struct schedule_destination {
    struct hash_node by_name;
    struct list turn; /* in transport->ready, or self-linked */
    struct list lanes;
    struct hash lanes_by_key;
    struct list busy;
    struct schedule_transport *transport;
    char *name; /* key: next hop, or recipient at it */
    unsigned window, busy_count;
    size_t waiting, parked; /* in all lanes */
    double success, failure, failed_cohorts;
    int64_t blocked_until_ms; /* rate delay; 0: not */
    int64_t dead_until_ms;    /* 0: alive */
    char *dead_reason;        /* of the failure that killed it */
    char dead_dsn[12];
    unsigned pinned; /* somebody holds a pointer over a wait: not freed */
    void *agent;     /* whoever delivered to it last: has connections */
};

struct schedule_transport {
    struct list link;
    char *name;
    struct schedule_limits limits;
    struct list ready; /* destinations with a job that may go */
    struct hash destinations;
    size_t waiting, busy;
    int64_t blocked_until_ms;
    void *owner;
};

enum schedule_outcome {
    SCHEDULE_SUCCESS, /* the site works, whatever it said about the message */
    SCHEDULE_SITE_FAILED,
    SCHEDULE_NEUTRAL, /* says nothing about the site: agent lost, message gone */
};

/* Without destinations; name and limits are copied. NULL: no memory. */
struct schedule_transport *schedule_transport_new(const char *name,
                                                  const struct schedule_limits *limits);
/* Must be empty. */
void schedule_transport_free(struct schedule_transport *t);

/* Found, or made; NULL: no memory. */
struct schedule_destination *schedule_destination(struct schedule_transport *t, struct span name);
struct schedule_lane *schedule_lane(struct schedule_destination *d, uint64_t key);
/* Frees a destination that has nothing to do and no memory of failure. */
void schedule_destination_tidy(struct schedule_destination *d, int64_t now_ms);

/* Queue a job at the end of its lane. */
void schedule_add(struct schedule_lane *lane, struct schedule_job *job);
/* The job that goes now, marked busy; NULL when none may. */
struct schedule_job *schedule_next(struct schedule_transport *t, int64_t now_ms);
/* Put a job back to the front that schedule_next() gave out (no agent took it). */
void schedule_undo(struct schedule_lane *lane, struct schedule_job *job);
/* A busy job ended. True when that made the destination dead: its waiting jobs
 * are to be taken off with schedule_take_waiting() and deferred. */
bool schedule_done(struct schedule_job *job, enum schedule_outcome outcome, const char *dsn,
                   struct span reason, int64_t now_ms);
/* A waiting job is no longer wanted. */
void schedule_remove(struct schedule_job *job);
/* Any waiting job of a destination, taken off; NULL: none. */
struct schedule_job *schedule_take_waiting(struct schedule_destination *d);
/* Dead now? Comes back to life when its time is over. */
bool schedule_is_dead(struct schedule_destination *d, int64_t now_ms);
/* Alive at once (postqueue -f and the like). */
void schedule_revive(struct schedule_destination *d);

/* Lanes longer than this park what comes next. */
enum { SCHEDULE_LANE_MAX = 200 };
bool schedule_lane_is_full(const struct schedule_lane *lane);
void schedule_park(struct schedule_lane *lane, struct schedule_parked *p);
void schedule_unpark(struct schedule_parked *p);
/* The longest parked of a lane that has room again; NULL: none. */
struct schedule_parked *schedule_next_parked(struct schedule_lane *lane);

/* When something that waits for time may go: INT64_MAX for never. */
int64_t schedule_wakeup(const struct schedule_transport *t);

#endif
