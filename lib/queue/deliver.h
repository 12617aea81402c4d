/*
 * deliver.h: the agent's side of qmgr: jobs in, results out. An agent (smtp,
 * local, store, ...) implements one function that delivers a job.
 *
 *     static void on_client(struct service_client *c) { deliver_serve(c->fd, &agent); }
 *
 * Results are kept until qmgr acknowledges them. When the connection is lost,
 * running deliveries go on, and what is unacknowledged is presented to the next
 * qmgr (as "results" on its own socket) before that one gives the message out
 * again, as far as it can know.
 *
 * Protocol "deliver" (qmgr connects, is the ipc client):
 *   agent -> qmgr   ready capacity
 *   qmgr -> agent   job job attempt transport next-hop active handed envelope
 *                       [content | descriptor]
 *   agent -> qmgr   result job result... [done]   (done: no further results)
 *   qmgr -> agent   ack job...                    (the results are durable)
 *   agent -> qmgr   drain                         (no further jobs, please)
 * and in protocol "queue", agent -> qmgr: results queue-id attempt result...
 */
#ifndef QUEUE_DELIVER_H
#define QUEUE_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "queue/message.h"
#include "task/task.h"

#define DELIVER_PROTOCOL "deliver"
enum { DELIVER_PROTOCOL_VERSION = 1 };

enum deliver_status {
    DELIVER_SENT,     /* final: delivered or relayed; the next one has it durably */
    DELIVER_DEFERRED, /* try again later */
    DELIVER_BOUNCED,  /* final: failed */
    DELIVER_EXPIRED,  /* final: failed because it waited too long (qmgr makes these) */
    DELIVER_EXPANDED, /* final: replaced by the recipients in `expansion` */
    DELIVER_UNDELIVERABLE,
    DELIVER_DELIVERABLE, /* probes */
    DELIVER_STATUSES,
};
/* "sent", "deferred", ... as log lines have it. */
const char *deliver_status_text(enum deliver_status status);

/* What became of one recipient. Texts are copied by deliver_report. */
struct deliver_result {
    enum deliver_status status;
    const char *dsn;          /* "2.0.0": RFC 3463; the class must fit the status */
    struct span reason;       /* in the log's parentheses: "250 2.0.0 Ok: queued as X" */
    struct span relay;        /* "mx.example[192.0.2.1]:25", "local", or empty: "none" */
    struct span remote_host;  /* Remote-MTA of RFC 3464 2.3.5, or empty */
    struct span remote_reply; /* Diagnostic-Code "smtp; ...", the remote's own words */
    struct span log_address;  /* shown in to=<> when it is not the recipient's, or empty */
    bool site;                /* the whole next hop failed (not this message): feedback */
    bool relayed_without_dsn; /* RFC 3461 6.2.7.2: SUCCESS asked, next hop cannot */
    const struct queue_recipient *expansion; /* DELIVER_EXPANDED */
    size_t expansion_count;
};

/* Wall clock times of a job, in us, for delay= and delays=. The agent sets the
 * last two; 0 means that it did not come so far. */
struct deliver_times {
    int64_t arrival, active, handed, connected, done;
};

struct deliver_job {
    const struct queue_message *message; /* its recipients are those of this job */
    struct queue_content content;        /* not for probes */
    const char *queue_id;                /* text */
    struct span transport, next_hop;
    uint32_t attempt;
    struct deliver_times times;
    int connection_use; /* of this job's connection, counted from 1 */
    void *reports;      /* the library's */
    struct arena arena; /* the agent's, freed with the job */
    void *session;      /* the agent's */
};

struct deliver_agent {
    /* Delivers one job in a task of its own and returns when all is reported;
     * recipients without a report count as deferred (4.3.0). Cancelled when the
     * process must end now. */
    TASK_WAITS void (*deliver)(struct deliver_job *job, void *arg);
    void *arg;
    unsigned capacity; /* jobs at once */
    /* The number of jobs that run changed (for service_set_work); may be NULL. */
    void (*on_active)(size_t active);
    const char *qmgr_socket; /* where results go after a lost connection; "qmgr" */
};

/* Serve the connection from qmgr on fd (taken) until it is lost or drained; jobs
 * run in tasks of their own. Returns when the last of them ended and their
 * results are acknowledged or handed over. */
TASK_WAITS void deliver_serve(int fd, const struct deliver_agent *agent);
/* Tell qmgr to send no more; from the service's on_drain. */
void deliver_drain(void);

enum { DELIVER_RESULT_MAX = 24 << 10 }; /* octets of an encoded result */

/* Report recipient i of the job (once each; a result above DELIVER_RESULT_MAX becomes a
 * deferral), and log the line that Postfix logs:
 *   QUEUEID: to=<..>, orig_to=<..>, relay=.., delay=.., delays=a/b/c/d, dsn=.., status=sent (..)
 * Sets times.done when it is 0. */
void deliver_report(struct deliver_job *job, size_t i, const struct deliver_result *result);
bool deliver_is_reported(const struct deliver_job *job, size_t i);

/* The line by itself, for qmgr's own transports. */
void deliver_log(const char *queue_id, const struct queue_recipient *recipient,
                 const struct deliver_result *result, const struct deliver_times *times,
                 int connection_use);
/* "0.05", "1.2", "34": two digits that matter, as Postfix (delay_logging_resolution_limit). */
void deliver_format_delay(struct str *out, int64_t us);

/* --- codec, for both sides --- */

void deliver_result_encode(const struct deliver_result *r, uint32_t index, struct str *out);
/* Texts are copied into arena. ERR_SYNTAX, -ENOMEM. dsn is checked for its form. */
int deliver_result_decode(struct deliver_result *r, uint32_t *index, struct arena *arena,
                          struct span encoded);

#endif
