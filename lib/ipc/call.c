/* Requests and their replies on one connection. */
#include <errno.h>

#include "base/error.h"
#include "ipc/conn.h"

/* On the stack of the task that asked. */
struct call {
    struct hash_node node; /* its hash is the id */
    struct task_cond answered;
    struct ipc_in *reply;
    int error;
    bool is_done;
};

static struct call *find_call(struct ipc_conn *c, uint64_t id)
{
    struct hash_node *node = hash_first(&c->calls, id);

    return node == NULL ? NULL : CONTAINER_OF(node, struct call, node);
}

static void finish(struct ipc_conn *c, struct call *call, struct ipc_in *reply, int error)
{
    hash_remove(&c->calls, &call->node);
    call->reply = reply;
    call->error = error;
    call->is_done = true;
    task_cond_signal(&call->answered);
}

bool ipc_call_deliver(struct ipc_conn *c, struct ipc_in *m)
{
    struct call *call = NULL;
    uint64_t id;

    if (!ipc_is(m, "reply"))
        return false;
    if (ipc_get_u64(m, "id", &id) == 0)
        call = find_call(c, id);
    if (call != NULL)
        finish(c, call, m, 0);
    else
        ipc_in_free(m); /* nobody waits for it any more */
    return true;
}

void ipc_call_fail_all(struct ipc_conn *c, int error)
{
    struct hash_walk w = {0};
    struct hash_node *node;

    while ((node = hash_walk(&c->calls, &w)) != NULL)
        finish(c, CONTAINER_OF(node, struct call, node), NULL, error);
}

/* Queue the request with an id; as it was before when that fails. */
static int send_request(struct ipc_conn *c, struct ipc_out *request, uint64_t id,
                        deadline_t deadline)
{
    size_t length = request->text.len, values = request->values;
    int error = request->error, rc;

    ipc_put_u64(request, "id", id);
    rc = ipc_send(c, request, deadline);
    if (rc < 0) {
        str_truncate(&request->text, length);
        request->text.error = 0;
        request->values = values;
        request->error = error;
    }
    return rc;
}

int ipc_call(struct ipc_conn *c, struct ipc_out *request, struct ipc_in **reply,
             deadline_t deadline)
{
    struct call call = {0};
    int rc;

    *reply = NULL;
    if (c->error != 0)
        return c->error;
    ipc_conn_hold(c);
    task_cond_init(&call.answered);
    rc = hash_insert(&c->calls, &call.node, ++c->last_id);
    if (rc < 0)
        goto out;
    rc = send_request(c, request, call.node.hash, deadline);
    if (rc == 0) {
        while (rc == 0 && !call.is_done)
            rc = task_cond_wait(&call.answered, deadline);
        /* A reply that came in time counts, whatever else happened. */
        if (call.is_done)
            rc = call.reply != NULL ? 0 : call.error;
        *reply = call.reply;
    }
    if (!call.is_done)
        hash_remove(&c->calls, &call.node);
out:
    ipc_conn_drop(c);
    return rc;
}

static void reader_main(void *arg)
{
    struct ipc_conn *c = arg;
    struct ipc_in *m;
    int rc;

    do {
        rc = ipc_receive(c, &m, DEADLINE_NONE);
        ipc_in_free(m);
    } while (rc == 0);
    /* Without a reader no reply can arrive any more. */
    ipc_conn_fail(c, rc);
    ipc_conn_drop(c);
}

int ipc_start_reader(struct ipc_conn *c)
{
    ipc_conn_hold(c);
    if (task_spawn("ipc-reader", reader_main, c) != NULL)
        return 0;
    ipc_conn_drop(c);
    return -ENOMEM;
}
