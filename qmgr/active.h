/*
 * active.h: messages that are being delivered. A pass begins when a message
 * becomes active and ends when every recipient that was pending has a result;
 * then the message is removed, or deferred until its next attempt.
 */
#ifndef QMGR_ACTIVE_H
#define QMGR_ACTIVE_H

#include "qmgr/entry.h"
#include "qmgr/ledger.h"
#include "qmgr/record.h"
#include "qmgr/schedule.h"
#include "route/route.h"

/* The parameters of qmgr, read once. */
struct qmgr_config {
    int64_t minimal_backoff_s, maximal_backoff_s, queue_lifetime_s, bounce_lifetime_s;
    int64_t delay_warning_s, transport_retry_ms, ipc_timeout_ms;
    int64_t active_limit;
    const char *defer_transports;
    struct route *route;
};
extern struct qmgr_config qmgr_config;

struct transport;
struct agent;

struct active {
    struct entry *entry;
    struct loaded loaded;
    struct list link; /* waits to be routed */
    struct list jobs; /* struct job.link: not ended */
    size_t job_count;
    unsigned pins; /* somebody works on it over a wait: its pass does not end */
    int64_t active_us;
    uint32_t attempt;
    bool is_delete_wanted, is_hold_wanted, is_requeue_wanted;
    char queue_id[QUEUE_ID_TEXT_MAX];
};

/* One delivery: recipients of one message for one destination. */
struct job {
    struct schedule_job schedule;
    struct list link;
    struct active *active;
    struct transport *transport;
    struct agent *agent; /* while it is out */
    struct hash_node by_number;
    uint64_t number;
    uint64_t lane_key;
    struct span next_hop; /* in the message's arena */
    uint32_t *recipients; /* indexes */
    uint32_t recipient_count;
    int64_t handed_us;
    bool is_site_failed, is_any_reported;
    char site_dsn[12];
    struct span site_reason; /* in the message's arena */
};

/* --- the queue's view --- */

/* A message was committed: takes l. */
void active_accept(struct entry *e, struct loaded *l);
/* There may be something to make active: a new message, a due one, room. */
void active_kick(void);
/* Tasks that make messages active. */
void active_run(void *arg);
/* A message that waits goes now, or when its pass ends; a dead destination does
 * not stop it once (postqueue -i, -f, -s). */
void active_flush(struct entry *e);
/* postsuper's verbs; 0 or ERR_NOT_FOUND. They may wait. */
TASK_WAITS int active_delete(struct entry *e);
TASK_WAITS int active_hold(struct entry *e, bool on);
TASK_WAITS int active_requeue(struct entry *e);
TASK_WAITS int active_expire(struct entry *e);
size_t active_count(void);

/* Its pass is over: makes room for others. */
void active_free(struct active *a);
/* Another pass at once: it has recipients that were not tried yet. */
void active_again(struct active *a);

/* --- for transport.c and jobs --- */

/* Results of a job's recipient. 0, ERR_SYNTAX for what the job does not hold. */
int active_take_result(struct job *job, uint32_t index, const struct deliver_result *result);
/* Record results of a job that goes on (encoded "result" attributes). */
TASK_WAITS int active_write_results(struct job *job, struct span results);
/* The job ended; frees it, and ends the pass with the last one. `results` as
 * above: they are recorded unless the end of the pass records them. */
TASK_WAITS void active_job_ended(struct job *job, struct str *results);
/* Defer all recipients of a job that was not given out, and end it. */
TASK_WAITS void active_defer_job(struct job *job, const char *dsn, struct span reason);
/* A waiting job was taken back: ends it without a result. */
TASK_WAITS void active_recall_job(struct job *job);
/* A result from an agent that lost its connection: durable or applied. */
TASK_WAITS int active_late_result(struct entry *e, uint32_t attempt, struct span encoded);

#endif
