/*
 * broker_main.c: look-ups for sandboxed services, which may not open files:
 * tables that proxy_read_maps names. Protocol: map/broker.h.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "map/broker.h"
#include "service/service.h"

static struct broker_tables *tables;

static int answer(struct ipc_conn *conn, const struct ipc_in *request)
{
    struct ipc_out reply = {0};
    int error =
        ipc_is(request, "lookup") ? broker_answer_lookup(tables, request, &reply) : ERR_PROTOCOL;

    if (error == 0)
        error = ipc_send(conn, &reply, DEADLINE_NONE);
    ipc_out_fini(&reply);
    return error;
}

/* One look-up of a connection: others of the same connection go on meanwhile. */
struct work {
    struct ipc_conn *conn;
    struct ipc_in *request;
    struct peer *peer;
};

enum { LOOKUPS_AT_ONCE = 64 };

struct peer {
    struct task_group group;
    struct task_semaphore slots;
    int error;
};

static void look_up(void *arg)
{
    struct work *w = arg;
    int error = answer(w->conn, w->request);

    if (error < 0)
        w->peer->error = error;
    task_semaphore_give(&w->peer->slots);
    ipc_in_free(w->request);
    free(w);
}

static int start_lookup(struct peer *peer, struct ipc_conn *conn, struct ipc_in *request)
{
    struct work *w = NEW(struct work);
    int error = w == NULL ? -ENOMEM : task_semaphore_take(&peer->slots, DEADLINE_NONE);

    if (error == 0) {
        *w = (struct work){conn, request, peer};
        error = task_group_spawn(&peer->group, "lookup", look_up, w);
        if (error < 0)
            task_semaphore_give(&peer->slots);
    }
    if (error < 0) {
        ipc_in_free(request);
        free(w);
    }
    return error;
}

static void serve(struct service_client *client)
{
    struct peer peer = {0};
    struct ipc_conn *conn = NULL;
    struct ipc_in *request;
    int error = ipc_accept(&conn, client->fd, BROKER_PROTOCOL, BROKER_VERSION, deadline_in(10000));

    task_group_init(&peer.group);
    task_semaphore_init(&peer.slots, LOOKUPS_AT_ONCE);
    while (error == 0) {
        error = ipc_receive(conn, &request, DEADLINE_NONE);
        if (error == 0)
            error = start_lookup(&peer, conn, request);
        if (error == 0)
            error = peer.error;
    }
    if (error == ERR_SYNTAX || error == ERR_PROTOCOL)
        log_warn("malformed request from pid %ld", conn != NULL ? (long)ipc_peer_pid(conn) : 0L);
    task_group_end(&peer.group);
    ipc_close(conn);
}

static int load_tables(const struct conf *conf, struct str *why)
{
    /* The name service loads its modules at the first question. */
    (void)getpwnam("root");
    (void)getgrnam("root");
    return broker_tables_open(&tables, conf, why);
}

static void free_tables(void)
{
    broker_tables_free(tables);
    tables = NULL;
}

int main(int argc, char **argv)
{
    static const char *const paths[] = {"broker_read_directory", NULL};
    static const char *const askers[] = {"waypost_smtpd_user", "waypost_queue_user",
                                         "waypost_smtp_user", "waypost_store_user", NULL};
    static const struct service broker = {
        .name = "broker",
        .kind = SERVICE_SINGLE,
        .user_parameter = "waypost_broker_user",
        .askers = askers,
        .rights = SERVICE_READ_FILES,
        .paths = paths,
        .on_load = load_tables,
        .on_client = serve,
        .on_stop = free_tables,
    };

    return service_main(argc, argv, &broker);
}
