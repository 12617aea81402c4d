/* store(8): deliver into the mail store. */
#include "local/store_agent.h"
#include "service/service.h"
#include "store/store.h"

static const char *const paths[] = {"store_directory", NULL};

static void set_work(size_t active)
{
    service_set_work(active, service_client_limit());
}

static struct deliver_agent agent = {
    .deliver = store_agent_deliver,
    .on_active = set_work,
    .qmgr_socket = "qmgr",
};

static int start(const struct conf *conf)
{
    return store_agent_start(conf, service_directory("store_directory"));
}

static void serve_client(struct service_client *client)
{
    agent.capacity = service_client_limit();
    deliver_serve(client->fd, &agent);
}

static const char *const askers[] = {"waypost_queue_user", NULL};

static const struct service store_service = {
    .name = "store",
    .kind = SERVICE_AGENT,
    .user_parameter = "waypost_store_user",
    .askers = askers,
    .rights = SERVICE_FILES,
    .paths = paths,
    .on_load = store_preload,
    .on_start = start,
    .on_client = serve_client,
    .on_drain = deliver_drain,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &store_service);
}
