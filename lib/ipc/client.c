/* A shared client connection that is made again after it was lost. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "ipc/conn.h"

enum {
    CONNECT_TRY_MS = 10000, /* for one attempt, hello included */
    RETRY_FIRST_MS = 20,
    RETRY_MAX_MS = 1000,
    AWAY_WARN_MS = 5000,
    ASK_TRIES = 4, /* a question that ends each process that reads it must not be put forever */
};

struct ipc_client {
    char *socket_name, *protocol;
    uint32_t version;
    unsigned refs; /* the owner and the calls */
    bool is_closed;
    struct ipc_conn *conn; /* NULL until connected */
    bool is_connecting;
    struct task_cond changed; /* connected, or the attempt ended */
};

struct ipc_client *ipc_client_new(const char *socket_name, const char *protocol, uint32_t version)
{
    struct ipc_client *cl = NEW(struct ipc_client);

    if (cl == NULL)
        return NULL;
    cl->refs = 1;
    cl->version = version;
    cl->socket_name = mem_strdup(span_cstr(socket_name));
    cl->protocol = mem_strdup(span_cstr(protocol));
    task_cond_init(&cl->changed);
    if (cl->socket_name == NULL || cl->protocol == NULL) {
        ipc_client_free(cl);
        return NULL;
    }
    return cl;
}

static void client_drop(struct ipc_client *cl)
{
    if (--cl->refs > 0)
        return;
    free(cl->socket_name);
    free(cl->protocol);
    free(cl);
}

void ipc_client_free(struct ipc_client *cl)
{
    if (cl == NULL)
        return;
    cl->is_closed = true;
    ipc_close(cl->conn);
    cl->conn = NULL;
    task_cond_broadcast(&cl->changed);
    client_drop(cl);
}

static int connect_once(struct ipc_client *cl, deadline_t deadline)
{
    struct ipc_conn *conn;
    int rc;

    rc = ipc_connect(&conn, cl->socket_name, cl->protocol, cl->version,
                     deadline_min(deadline, deadline_in(CONNECT_TRY_MS)));
    if (rc < 0)
        return rc;
    rc = cl->is_closed ? ERR_CLOSED : ipc_start_reader(conn);
    if (rc < 0)
        ipc_close(conn);
    else
        cl->conn = conn;
    return rc;
}

/* Trying again will not help, or may not happen. */
static bool is_final(int rc)
{
    return rc == -ECANCELED || rc == ERR_CLOSED || rc == ERR_VERSION || rc == ERR_PROTOCOL ||
           rc == -EACCES || rc == -EPERM || rc == -ENAMETOOLONG;
}

/* Connect until it works or the deadline passes: one task for all that wait. */
static int connect_until(struct ipc_client *cl, deadline_t deadline)
{
    int64_t began = clock_mono_ms(), pause = RETRY_FIRST_MS;
    bool is_warned = false;
    int rc;

    cl->is_connecting = true;
    while ((rc = connect_once(cl, deadline)) < 0 && !is_final(rc)) {
        if (!is_warned && clock_mono_ms() - began >= AWAY_WARN_MS) {
            log_warn("connect to %s: %s; still trying", cl->socket_name, error_text(rc));
            is_warned = true;
        }
        if (clock_mono_ms() + pause >= deadline) {
            log_warn("connect to %s: %s", cl->socket_name, error_text(rc));
            rc = -ETIMEDOUT;
            break;
        }
        rc = task_sleep(deadline_in(pause));
        if (rc < 0 && rc != -ETIMEDOUT)
            break;
        pause = pause * 2 < RETRY_MAX_MS ? pause * 2 : RETRY_MAX_MS;
    }
    cl->is_connecting = false;
    task_cond_broadcast(&cl->changed);
    return rc;
}

static int connection(struct ipc_client *cl, struct ipc_conn **conn, deadline_t deadline)
{
    int rc = 0;

    while (rc == 0) {
        if (cl->is_closed)
            return ERR_CLOSED;
        if (cl->conn != NULL && ipc_error(cl->conn) != 0) {
            ipc_close(cl->conn);
            cl->conn = NULL;
        }
        if (cl->conn != NULL) {
            *conn = cl->conn;
            return 0;
        }
        rc = cl->is_connecting ? task_cond_wait(&cl->changed, deadline)
                               : connect_until(cl, deadline);
    }
    return rc;
}

int ipc_client_connect(struct ipc_client *cl, deadline_t deadline)
{
    struct ipc_conn *conn = NULL;
    int rc;

    cl->refs++;
    rc = connection(cl, &conn, deadline);
    client_drop(cl);
    return rc;
}

int ipc_client_call(struct ipc_client *cl, struct ipc_out *request, struct ipc_in **reply,
                    deadline_t deadline)
{
    struct ipc_conn *conn = NULL;
    int rc;

    *reply = NULL;
    cl->refs++;
    do {
        rc = connection(cl, &conn, deadline);
        if (rc < 0)
            break;
        /* conn may be replaced while we wait; it lives until its calls ended. */
        ipc_conn_hold(conn);
        rc = ipc_call(conn, request, reply, deadline);
        /* Died before the request was queued: nothing was asked yet. */
        if (rc < 0 && rc != ERR_TRUNCATED && rc != -ETIMEDOUT && rc != -ECANCELED &&
            request->error == 0 && ipc_error(conn) != 0 && !cl->is_closed)
            rc = -EAGAIN;
        ipc_conn_drop(conn);
    } while (rc == -EAGAIN);
    client_drop(cl);
    return rc;
}

int ipc_client_ask(struct ipc_client *cl, const struct ipc_out *question, struct ipc_in **reply,
                   deadline_t deadline)
{
    struct ipc_out m = {0};
    int rc = ERR_TRUNCATED;

    for (int i = 0; rc == ERR_TRUNCATED && i < ASK_TRIES; i++) {
        ipc_out_copy(&m, question);
        rc = ipc_client_call(cl, &m, reply, deadline);
        ipc_out_fini(&m);
    }
    return rc;
}

int ipc_client_post(struct ipc_client *cl, struct ipc_out *m)
{
    int rc = ERR_CLOSED;

    if (cl->conn != NULL && ipc_error(cl->conn) == 0)
        rc = ipc_post(cl->conn, m);
    ipc_out_fini(m);
    return rc;
}
