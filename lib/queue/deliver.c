/*
 * The agent's side. A job lives from its arrival until qmgr acknowledged its
 * results; its message and content are given back when the delivery ended. One
 * task per connection receives, one sends what jobs report, one per job delivers.
 */
#include "queue/deliver.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "queue/internal.h"

enum {
    HANDOVER_WAIT_MS = 2000,  /* between tries to present results to the next qmgr */
    CANCELLED_WAIT_MS = 3000, /* what a process that must end now spends on that */
    RESULTS_FLUSH = 32 << 10,
};

struct connection {
    struct ipc_conn *ipc; /* NULL once it is lost */
    const struct deliver_agent *agent;
    struct list jobs;         /* struct job.link: running, or not acknowledged */
    struct list dirty;        /* struct job.dirty_link: something to send */
    struct task_cond changed; /* dirty, lost, or a job ended */
    struct task_group tasks;  /* jobs */
    struct list link;         /* in `connections` */
    size_t running;
    bool is_draining, is_drain_sent;
    bool is_closed; /* by the sender */
};

struct job {
    struct deliver_job deliver;
    struct queue_message message;
    char queue_id[QUEUE_ID_TEXT_MAX];
    struct connection *connection;
    struct list link, dirty_link;
    uint64_t number;        /* qmgr's number of the job */
    struct str commit;      /* the message's, which shows that it was given to us */
    struct ipc_in *request; /* holds the inline content */
    bool *reported;
    struct str unsent; /* "result" values, for the next message */
    struct str kept;   /* all results, until they are acknowledged */
    bool is_done, is_done_sent;
};

static struct list connections = {&connections, &connections};

/* Jobs that run now, in all connections. */
static void tell_active(const struct deliver_agent *agent)
{
    size_t active = 0;

    if (agent->on_active == NULL)
        return;
    LIST_FOR(item, &connections)
    active += LIST_ITEM(item, struct connection, link)->running;
    agent->on_active(active);
}

void deliver_drain(void)
{
    LIST_FOR(item, &connections)
    {
        struct connection *c = LIST_ITEM(item, struct connection, link);

        c->is_draining = true;
        task_cond_broadcast(&c->changed);
    }
}

/* --- reports --- */

bool deliver_is_reported(const struct deliver_job *d, size_t i)
{
    return ((struct job *)d->reports)->reported[i];
}

static void mark_dirty(struct job *job)
{
    if (!list_is_linked(&job->dirty_link))
        list_append(&job->connection->dirty, &job->dirty_link);
    task_cond_broadcast(&job->connection->changed);
}

void deliver_report(struct deliver_job *d, size_t i, const struct deliver_result *result)
{
    static const struct deliver_result too_long = {
        .status = DELIVER_DEFERRED, .dsn = "4.3.0", .reason = SPAN_LIT("the result is too long")};
    struct job *job = d->reports;
    struct str one = {0};

    if (i >= d->message->recipients.len || job->reported[i])
        panic("%s: recipient %zu reported twice", d->queue_id, i);
    job->reported[i] = true;
    if (d->times.done == 0)
        d->times.done = clock_wall_us();
    deliver_result_encode(result, d->message->recipients.items[i].index, &one);
    if (one.len > DELIVER_RESULT_MAX) {
        str_clear(&one);
        result = &too_long;
        deliver_result_encode(result, d->message->recipients.items[i].index, &one);
    }
    deliver_log(d->queue_id, &d->message->recipients.items[i], result, &d->times,
                d->connection_use);
    /* Both hold encoded results as values of their own: unsent ones may be cut
     * between messages. Without memory the result is lost: a duplicate, later. */
    uint32_t n = (uint32_t)one.len;
    str_append(&job->unsent, span_make(&n, sizeof(n)));
    str_append(&job->unsent, str_span(&one));
    str_append(&job->kept, span_make(&n, sizeof(n)));
    str_append(&job->kept, str_span(&one));
    str_fini(&one);
    mark_dirty(job);
}

/* The same result for every recipient that has none yet. */
static void report_all(struct deliver_job *d, const struct deliver_result *result)
{
    for (size_t i = 0; i < d->message->recipients.len; i++)
        if (!deliver_is_reported(d, i))
            deliver_report(d, i, result);
}

/* Moves results from *list to the message until it is full. */
static void put_results(struct ipc_out *m, struct span *list)
{
    size_t used = 0;

    while (list->n > 0 && used < RESULTS_FLUSH) {
        uint32_t n;

        memcpy(&n, list->p, sizeof(n));
        ipc_put(m, "result", span_make(list->p + sizeof(n), n));
        used += n;
        *list = span_drop(*list, sizeof(n) + n);
    }
}

/* --- a job's life --- */

static void job_release_message(struct job *job)
{
    queue_content_fini(&job->deliver.content);
    arena_reset(&job->deliver.arena);
    queue_message_fini(&job->message);
    queue_message_init(&job->message, NULL);
    free(job->reported);
    job->reported = NULL;
    ipc_in_free(job->request);
    job->request = NULL;
}

static void job_free(struct job *job)
{
    list_remove(&job->link);
    list_remove(&job->dirty_link);
    job_release_message(job);
    str_fini(&job->unsent);
    str_fini(&job->kept);
    str_fini(&job->commit);
    free(job);
}

static void run_job(void *arg)
{
    struct job *job = arg;
    struct connection *c = job->connection;
    struct deliver_result none = {
        .status = DELIVER_DEFERRED, .dsn = "4.3.0", .reason = SPAN_LIT("delivery was interrupted")};

    task_set_note(SPAN_NONE, span_cstr(job->queue_id));
    c->agent->deliver(&job->deliver, c->agent->arg);
    report_all(&job->deliver, &none);
    job_release_message(job);
    job->is_done = true;
    mark_dirty(job);
    c->running--;
    tell_active(c->agent);
}

static int job_decode(struct job *job, struct ipc_in *m)
{
    struct deliver_job *d = &job->deliver;
    struct span envelope;
    uint64_t attempt;
    int rc;

    if (ipc_get_u64(m, "job", &job->number) < 0 || ipc_get_u64(m, "attempt", &attempt) < 0 ||
        attempt > UINT32_MAX || ipc_get(m, "transport", &d->transport) < 0 ||
        ipc_get(m, "next-hop", &d->next_hop) < 0 || ipc_get(m, "envelope", &envelope) < 0 ||
        ipc_get_i64(m, "active", &d->times.active) < 0 ||
        ipc_get_i64(m, "handed", &d->times.handed) < 0)
        return ERR_PROTOCOL;
    rc = queue_message_decode(&job->message, envelope);
    if (rc < 0)
        return rc;
    if (job->message.recipients.len == 0)
        return ERR_PROTOCOL;
    rc = str_set(&job->commit, job->message.commit);
    if (rc < 0)
        return rc;
    job->reported = mem_new(job->message.recipients.len * sizeof(bool));
    if (job->reported == NULL)
        return -ENOMEM;
    d->attempt = (uint32_t)attempt;
    d->times.arrival = job->message.arrival_us;
    d->content.inline_octets = ipc_content(m);
    ipc_take_fd(m, "descriptor", &d->content.fd);
    for (size_t i = 0; i < job->message.extents.len; i++) {
        struct queue_extent *e = array_push(&d->content.extents);
        if (e == NULL)
            return -ENOMEM;
        *e = job->message.extents.items[i];
    }
    d->queue_id = queue_id_format(job->queue_id, job->message.id);
    return 0;
}

/* Takes m. */
static int start_job(struct connection *c, struct ipc_in *m)
{
    struct job *job = NEW(struct job);

    if (job == NULL) {
        ipc_in_free(m);
        return -ENOMEM;
    }
    job->connection = c;
    job->request = m;
    job->deliver.message = &job->message;
    job->deliver.reports = job;
    queue_content_init(&job->deliver.content);
    arena_init(&job->deliver.arena, NULL);
    queue_message_init(&job->message, NULL);
    list_init(&job->dirty_link);
    list_append(&c->jobs, &job->link);
    int rc = job_decode(job, m);
    if (rc == 0)
        rc = task_group_spawn(&c->tasks, "deliver", run_job, job);
    if (rc < 0) {
        job_free(job);
        return rc;
    }
    c->running++;
    tell_active(c->agent);
    return 0;
}

/* --- the connection --- */

static struct job *find_job(struct connection *c, uint64_t number)
{
    LIST_FOR(item, &c->jobs)
    {
        struct job *job = LIST_ITEM(item, struct job, link);
        if (job->number == number)
            return job;
    }
    return NULL;
}

static void take_acks(struct connection *c, const struct ipc_in *m)
{
    struct ipc_walk walk = {0};

    while (ipc_walk(m, &walk)) {
        uint64_t number;

        if (!span_eq(walk.name, SPAN_LIT("job")) || span_to_u64(walk.value, &number) < 0)
            continue;
        struct job *job = find_job(c, number);
        if (job != NULL && job->is_done_sent)
            job_free(job);
    }
}

static int send_job(struct connection *c, struct job *job)
{
    struct ipc_out m = {0};
    struct span unsent = str_span(&job->unsent);
    size_t before = unsent.n;

    ipc_begin(&m, "result");
    ipc_put_u64(&m, "job", job->number);
    put_results(&m, &unsent);
    str_drop_front(&job->unsent, before - unsent.n);
    if (job->unsent.len == 0) {
        list_remove(&job->dirty_link);
        if (job->is_done) {
            ipc_put_bool(&m, "done", true);
            job->is_done_sent = true;
        }
    }
    int rc = ipc_send(c->ipc, &m, DEADLINE_NONE);
    ipc_out_fini(&m);
    return rc;
}

static void run_sender(void *arg)
{
    struct connection *c = arg;
    int rc = 0;

    while (rc == 0 && c->ipc != NULL) {
        if (!list_is_empty(&c->dirty)) {
            rc = send_job(c, LIST_ITEM(c->dirty.next, struct job, dirty_link));
        } else if (c->is_draining && !c->is_drain_sent) {
            struct ipc_out m = {0};

            c->is_drain_sent = true;
            ipc_begin(&m, "drain");
            rc = ipc_send(c->ipc, &m, DEADLINE_NONE);
        } else {
            rc = task_cond_wait(&c->changed, DEADLINE_NONE);
        }
    }
    /* Results that cannot be sent go to the next connection: this one would take jobs
     * and never answer. */
    if (rc < 0 && rc != -ECANCELED && c->ipc != NULL) {
        struct ipc_conn *ipc = c->ipc;

        log_warn("connection with qmgr: %s", error_text(rc));
        c->is_closed = true;
        c->ipc = NULL;
        ipc_close(ipc);
    }
}

static int send_ready(struct connection *c)
{
    struct ipc_out m = {0};

    ipc_begin(&m, "ready");
    ipc_put_u64(&m, "capacity", c->agent->capacity > 0 ? c->agent->capacity : 1);
    return ipc_send(c->ipc, &m, DEADLINE_NONE);
}

static int receive_loop(struct connection *c)
{
    struct ipc_in *m;
    int rc = 0;

    while (c->ipc != NULL && (rc = ipc_receive(c->ipc, &m, DEADLINE_NONE)) == 0) {
        if (ipc_is(m, "job")) {
            rc = start_job(c, m);
            if (rc < 0) {
                log_warn("a job from qmgr cannot be used: %s", error_text(rc));
                return rc;
            }
            continue;
        }
        if (ipc_is(m, "ack"))
            take_acks(c, m);
        ipc_in_free(m);
    }
    return rc;
}

/* --- results after a lost connection --- */

static int hand_over_job(struct queue_client *cl, struct job *job)
{
    struct span kept = str_span(&job->kept);
    int rc = 0;

    while (rc == 0 && kept.n > 0) {
        struct ipc_out request = {0};
        struct ipc_in *reply = NULL;

        ipc_begin(&request, "results");
        ipc_put(&request, "queue-id", span_cstr(job->queue_id));
        ipc_put(&request, "commit", str_span(&job->commit));
        ipc_put_u64(&request, "attempt", job->deliver.attempt);
        put_results(&request, &kept);
        rc = queue_client_call(cl, &request, &reply);
        ipc_in_free(reply);
    }
    return rc;
}

static struct job *first_done(struct connection *c)
{
    LIST_FOR(item, &c->jobs)
    {
        struct job *job = LIST_ITEM(item, struct job, link);
        if (job->is_done)
            return job;
    }
    return NULL;
}

/* Jobs that ended are presented, again and again, until a qmgr took them. */
static void hand_over_until(struct connection *c, struct queue_client *cl, deadline_t end)
{
    int rc = 0;

    while (rc != -ECANCELED && !list_is_empty(&c->jobs) && clock_mono_ms() < end) {
        struct job *job = first_done(c);

        if (job == NULL) {
            rc = task_cond_wait(&c->changed, end);
        } else {
            rc = hand_over_job(cl, job);
            if (rc == 0)
                job_free(job);
            else
                rc = task_sleep(deadline_min(deadline_in(HANDOVER_WAIT_MS / 10), end));
        }
    }
}

/* A process that must end now does not wait for a qmgr for ever: what it could not
 * tell is delivered again. */
static void hand_over(struct connection *c)
{
    const char *socket = c->agent->qmgr_socket != NULL ? c->agent->qmgr_socket : "qmgr";
    struct queue_client *cl =
        list_is_empty(&c->jobs) ? NULL : queue_client_new(socket, HANDOVER_WAIT_MS);

    if (cl == NULL)
        return;
    hand_over_until(c, cl, DEADLINE_NONE);
    if (!list_is_empty(&c->jobs)) {
        task_group_cancel(&c->tasks);
        bool shield = task_shield(true);
        hand_over_until(c, cl, deadline_in(CANCELLED_WAIT_MS));
        task_shield(shield);
    }
    queue_client_free(cl);
}

void deliver_serve(int fd, const struct deliver_agent *agent)
{
    struct connection c = {.agent = agent};
    struct task_group sender;
    struct ipc_conn *ipc = NULL;

    list_init(&c.jobs);
    list_init(&c.dirty);
    task_cond_init(&c.changed);
    task_group_init(&c.tasks);
    task_group_init(&sender);
    if (ipc_accept(&c.ipc, fd, DELIVER_PROTOCOL, DELIVER_PROTOCOL_VERSION,
                   deadline_in(IPC_HELLO_MS)) < 0)
        return;
    ipc = c.ipc;
    list_append(&connections, &c.link);
    if (send_ready(&c) == 0 && task_group_spawn(&sender, "deliver-results", run_sender, &c) == 0)
        receive_loop(&c);
    c.ipc = NULL;
    if (task_is_cancelled())
        task_group_cancel(&c.tasks);
    task_group_cancel(&sender);
    bool shield = task_shield(true);
    task_group_wait(&sender, DEADLINE_NONE);
    if (!c.is_closed)
        ipc_close(ipc);
    task_shield(shield);
    hand_over(&c);
    shield = task_shield(true);
    task_group_cancel(&c.tasks);
    task_group_wait(&c.tasks, DEADLINE_NONE);
    task_shield(shield);
    while (!list_is_empty(&c.jobs))
        job_free(LIST_ITEM(c.jobs.next, struct job, link));
    list_remove(&c.link);
    tell_active(agent);
}
