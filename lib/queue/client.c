/* The client side of qmgr: ids in blocks, commit with its outcome made certain. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/random.h"
#include "queue/internal.h"

enum { IDS_FIRST = 16, IDS_MAX = 1024, COMMIT_TRIES = 3, COMMIT_ID_SIZE = 16 };
enum { SPACE_AGE_MS = 1000, SPACE_WAIT_MS = 1000 };

struct queue_client {
    struct ipc_client *ipc;
    int64_t timeout_ms;
    uint64_t next_number, numbers_left;
    uint32_t block; /* numbers to ask for next */
    bool is_refilling;
    struct task_cond refilled;
    uint64_t space;    /* octets free in the queue's file system */
    int64_t ask_at_ms; /* when space is too old */
    bool is_asking_space;
    unsigned char random[COMMIT_ID_SIZE * 32]; /* one system call for many commit ids */
    size_t random_left;
};

struct queue_client *queue_client_new(const char *socket_name, int64_t timeout_ms)
{
    struct queue_client *cl = NEW(struct queue_client);

    if (cl == NULL)
        return NULL;
    cl->ipc = ipc_client_new(socket_name, QUEUE_PROTOCOL, QUEUE_PROTOCOL_VERSION);
    if (cl->ipc == NULL) {
        free(cl);
        return NULL;
    }
    cl->timeout_ms = timeout_ms;
    cl->block = IDS_FIRST;
    cl->space = UINT64_MAX;
    task_cond_init(&cl->refilled);
    return cl;
}

void queue_client_free(struct queue_client *cl)
{
    if (cl == NULL)
        return;
    ipc_client_free(cl->ipc);
    free(cl);
}

/* --- calls --- */

static int call_until(struct queue_client *cl, struct ipc_out *request, struct ipc_in **reply,
                      deadline_t deadline)
{
    int64_t error = 0;
    int rc = ipc_client_call(cl->ipc, request, reply, deadline);

    ipc_out_fini(request);
    if (rc < 0)
        return rc;
    if (ipc_get_i64(*reply, "error", &error) < 0 || error > 0 || error < INT32_MIN)
        error = ERR_PROTOCOL;
    if (error != 0) {
        ipc_in_free(*reply);
        *reply = NULL;
    }
    return (int)error;
}

/* A call to qmgr whose outcome is unknown when the connection is lost. */
static int call_once(struct queue_client *cl, struct ipc_out *request, struct ipc_in **reply)
{
    return call_until(cl, request, reply, deadline_in(cl->timeout_ms));
}

/* What the caller may do about it is the same for all of these: try later. */
static int as_temporary(int rc)
{
    return rc == ERR_TRUNCATED || rc == -ETIMEDOUT || rc == ERR_EOF || rc == ERR_CLOSED
               ? ERR_TEMPORARY
               : rc;
}

int queue_client_call(struct queue_client *cl, struct ipc_out *request, struct ipc_in **reply)
{
    return as_temporary(call_once(cl, request, reply));
}

/* --- ids --- */

static int refill(struct queue_client *cl)
{
    struct ipc_out request = {0};
    struct ipc_in *reply;
    uint64_t first, count;

    ipc_begin(&request, "ids");
    ipc_put_u64(&request, "count", cl->block);
    int rc = queue_client_call(cl, &request, &reply);
    if (rc < 0)
        return rc;
    if (ipc_get_u64(reply, "first", &first) == 0 && ipc_get_u64(reply, "count", &count) == 0 &&
        first > 0 && count > 0 && count <= cl->block) {
        cl->next_number = first;
        cl->numbers_left = count;
        if (cl->block < IDS_MAX)
            cl->block *= 2;
    } else {
        rc = ERR_PROTOCOL;
    }
    ipc_in_free(reply);
    return rc;
}

int queue_take_id(struct queue_client *cl, struct queue_id *id)
{
    deadline_t deadline = deadline_in(cl->timeout_ms);

    while (cl->numbers_left == 0) {
        int rc;

        if (cl->is_refilling) {
            rc = task_cond_wait(&cl->refilled, deadline);
        } else {
            cl->is_refilling = true;
            rc = refill(cl);
            cl->is_refilling = false;
            task_cond_broadcast(&cl->refilled);
        }
        if (rc < 0)
            return as_temporary(rc);
    }
    cl->numbers_left--;
    id->number = cl->next_number++;
    id->time_us = clock_wall_us();
    return 0;
}

/* --- space --- */

uint64_t queue_space(struct queue_client *cl)
{
    struct ipc_out request = {0};
    struct ipc_in *reply;

    if (cl->is_asking_space || clock_mono_ms() < cl->ask_at_ms)
        return cl->space;
    cl->is_asking_space = true;
    ipc_begin(&request, "space");
    if (call_until(cl, &request, &reply, deadline_in(SPACE_WAIT_MS)) == 0) {
        if (ipc_get_u64(reply, "free", &cl->space) < 0)
            cl->space = UINT64_MAX;
        ipc_in_free(reply);
    }
    cl->ask_at_ms = clock_mono_ms() + SPACE_AGE_MS;
    cl->is_asking_space = false;
    return cl->space;
}

/* --- commit --- */

/* An envelope longer than a message goes ahead in pieces. */
static int send_parts(struct queue_client *cl, struct span *envelope, uint64_t key)
{
    while (envelope->n > QUEUE_PIECE_MAX) {
        struct ipc_out request = {0};
        struct ipc_in *reply;

        ipc_begin(&request, "part");
        ipc_put_u64(&request, "key", key);
        ipc_put(&request, "envelope", span_take(*envelope, QUEUE_PIECE_MAX));
        int rc = call_once(cl, &request, &reply);
        if (rc < 0)
            return rc;
        ipc_in_free(reply);
        *envelope = span_drop(*envelope, QUEUE_PIECE_MAX);
    }
    return 0;
}

static int commit_once(struct queue_client *cl, const struct queue_message *m, struct span envelope,
                       struct span inline_octets)
{
    struct ipc_out request = {0};
    struct ipc_in *reply;
    uint64_t key = 0;

    if (envelope.n > QUEUE_PIECE_MAX) {
        key = random_u64();
        int rc = send_parts(cl, &envelope, key);
        if (rc < 0)
            return rc;
    }
    ipc_begin(&request, "commit");
    ipc_put_u64(&request, "number", m->id.number);
    ipc_put(&request, "commit", m->commit);
    if (key != 0)
        ipc_put_u64(&request, "key", key);
    ipc_put(&request, "envelope", envelope);
    ipc_put_content(&request, inline_octets);
    int rc = call_once(cl, &request, &reply);
    if (rc == 0)
        ipc_in_free(reply);
    return rc;
}

/* 1: it is committed; 0: it is not; negative: nobody knows. */
static int ask_committed(struct queue_client *cl, const struct queue_message *m)
{
    struct ipc_out request = {0};
    struct ipc_in *reply;
    bool is_committed = false;

    ipc_begin(&request, "committed");
    ipc_put_u64(&request, "number", m->id.number);
    ipc_put(&request, "commit", m->commit);
    int rc = call_once(cl, &request, &reply);
    if (rc < 0)
        return rc;
    rc = ipc_get_bool(reply, "committed", &is_committed);
    ipc_in_free(reply);
    return rc < 0 ? ERR_PROTOCOL : is_committed;
}

/* A lost connection leaves the outcome open: the next qmgr knows it. */
static int commit_surely(struct queue_client *cl, const struct queue_message *m,
                         struct span envelope, struct span inline_octets)
{
    int rc = ERR_TRUNCATED;

    for (int i = 0; i < COMMIT_TRIES && rc == ERR_TRUNCATED; i++) {
        rc = commit_once(cl, m, envelope, inline_octets);
        for (int j = 0; j < COMMIT_TRIES && rc == ERR_TRUNCATED; j++) {
            int answer = ask_committed(cl, m);
            if (answer == 1)
                return 0;
            if (answer == 0)
                break; /* it never arrived: send it again */
            rc = answer;
        }
    }
    return as_temporary(rc);
}

/* Valid until the next call. */
static struct span new_commit_id(struct queue_client *cl)
{
    if (cl->random_left == 0) {
        random_bytes(cl->random, sizeof(cl->random));
        cl->random_left = sizeof(cl->random);
    }
    cl->random_left -= COMMIT_ID_SIZE;
    return span_make(cl->random + cl->random_left, COMMIT_ID_SIZE);
}

int queue_commit(struct queue_client *cl, struct queue_message *m, struct queue_upload *u)
{
    struct span inline_octets = SPAN_NONE;
    struct str envelope = {0};
    int rc = 0;

    if (u != NULL)
        rc = queue_upload_finish(u, m, &inline_octets);
    if (rc == 0)
        rc = arena_copy(&m->arena, new_commit_id(cl), &m->commit);
    if (rc == 0)
        rc = queue_message_encode(m, &envelope);
    if (rc == 0)
        rc = commit_surely(cl, m, str_span(&envelope), inline_octets);
    str_fini(&envelope);
    if (rc == 0)
        queue_upload_free(u);
    else
        queue_upload_abort(u);
    return rc;
}
