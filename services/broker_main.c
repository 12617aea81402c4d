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

enum { LOOKUPS_AT_ONCE = 64 }; /* of one process; further ones wait in its socket */

static struct broker_tables *tables;

static int answer(struct ipc_server *server, struct ipc_in *request)
{
    struct ipc_out reply = {0};
    int error =
        ipc_is(request, "lookup") ? broker_answer_lookup(tables, request, &reply) : ERR_PROTOCOL;

    if (error == 0)
        error = ipc_send(server->conn, &reply, DEADLINE_NONE);
    ipc_out_fini(&reply);
    return error;
}

static void serve(struct service_client *client)
{
    struct ipc_server server;
    struct ipc_conn *conn;
    int error;

    if (ipc_accept(&conn, client->fd, BROKER_PROTOCOL, BROKER_VERSION, deadline_in(IPC_HELLO_MS)) <
        0)
        return;
    ipc_server_init(&server, conn, "lookup", LOOKUPS_AT_ONCE, answer);
    error = ipc_server_run(&server);
    if (error == ERR_SYNTAX || error == ERR_PROTOCOL)
        log_warn("malformed request from pid %ld", (long)ipc_peer_pid(conn));
    task_group_end(&server.answers);
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
