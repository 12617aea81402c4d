/* server_queue.c: the production ends of the seams in server.h. */
#include "base/error.h"
#include "service/anvil.h"
#include "smtpd/server.h"

static uint64_t qmgr_space(void *arg)
{
    return queue_space(arg);
}

static int qmgr_take_id(void *arg, struct queue_id *id)
{
    return queue_take_id(arg, id);
}

static int qmgr_begin(void *arg, struct budget *budget, void **upload)
{
    struct queue_upload *u = NULL;
    int rc = queue_upload_begin(&u, arg, budget);

    *upload = u;
    return rc;
}

static int qmgr_append(void *upload, struct span octets)
{
    return queue_upload_append(upload, octets);
}

static int qmgr_insert(void *upload, uint64_t at, struct span octets)
{
    return queue_upload_insert(upload, at, octets);
}

static void qmgr_abort(void *upload)
{
    queue_upload_abort(upload);
}

static int qmgr_commit(void *arg, struct queue_message *m, void *upload)
{
    return queue_commit(arg, m, upload);
}

void server_use_qmgr(struct server *server, struct queue_client *client)
{
    server->queue = (struct server_queue){.space = qmgr_space,
                                          .take_id = qmgr_take_id,
                                          .begin = qmgr_begin,
                                          .append = qmgr_append,
                                          .insert = qmgr_insert,
                                          .abort = qmgr_abort,
                                          .commit = qmgr_commit,
                                          .arg = client};
}

enum { ANVIL_TIMEOUT_MS = 5000 };

static int anvil_count(void *arg, const char *service, const struct net_address *client,
                       uint64_t *count)
{
    struct anvil_counts counts = {0};
    int rc = anvil_connect(arg, span_cstr(service), client, &counts, deadline_in(ANVIL_TIMEOUT_MS));

    *count = counts.connections;
    return rc;
}

static void anvil_uncount(void *arg, const char *service, const struct net_address *client)
{
    anvil_disconnect(arg, span_cstr(service), client);
}

void server_use_anvil(struct server *server, struct ipc_client *client)
{
    server->anvil =
        (struct server_anvil){.connect = anvil_count, .disconnect = anvil_uncount, .arg = client};
}
