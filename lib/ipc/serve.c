/* Answering the requests of one connection, several at once. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "ipc/conn.h"

struct request {
    struct ipc_server *server;
    struct ipc_in *message;
};

void ipc_server_init(struct ipc_server *s, struct ipc_conn *conn, const char *name, size_t at_once,
                     ipc_answer_fn *answer)
{
    *s = (struct ipc_server){.conn = conn, .name = name, .answer = answer};
    task_group_init(&s->answers);
    task_semaphore_init(&s->slots, at_once);
}

static void answer(void *arg)
{
    struct request *r = arg;
    int rc = r->server->answer(r->server, r->message);

    if (rc < 0)
        ipc_conn_fail(r->server->conn, rc);
    task_semaphore_give(&r->server->slots);
    ipc_in_free(r->message);
    free(r);
}

/* Takes message in every case. */
static int start_answer(struct ipc_server *s, struct ipc_in *message)
{
    struct request *r = NEW(struct request);
    int rc = -ENOMEM;

    if (r != NULL) {
        *r = (struct request){s, message};
        rc = task_group_spawn(&s->answers, s->name, answer, r);
    }
    if (rc < 0) {
        ipc_in_free(message);
        free(r);
    }
    return rc;
}

int ipc_server_take(struct ipc_server *s, struct ipc_in *request)
{
    int rc = task_semaphore_take(&s->slots, DEADLINE_NONE);

    if (rc == 0)
        return start_answer(s, request);
    ipc_in_free(request);
    return rc;
}

int ipc_server_run(struct ipc_server *s)
{
    struct ipc_in *message;
    int rc = 0;

    while (rc == 0) {
        rc = task_semaphore_take(&s->slots, DEADLINE_NONE);
        if (rc == 0)
            rc = ipc_receive(s->conn, &message, DEADLINE_NONE);
        if (rc == 0)
            rc = start_answer(s, message);
    }
    return rc;
}
