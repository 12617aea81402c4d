/* local(8): aliases, and delivery to Unix users. */
#include "local/agent.h"
#include "service/service.h"

static void set_work(size_t active)
{
    service_set_work(active, service_client_limit());
}

static struct deliver_agent agent = {
    .deliver = agent_deliver,
    .on_active = set_work,
    .qmgr_socket = "qmgr",
};

static void serve_client(struct service_client *client)
{
    agent.capacity = service_client_limit();
    deliver_serve(client->fd, &agent);
}

static const char *const askers[] = {"waypost_queue_user", NULL};

static const struct service local_service = {
    .name = "local",
    .kind = SERVICE_AGENT,
    .rights = SERVICE_PRIVILEGED,
    .askers = askers,
    .on_load = agent_load,
    .on_start = agent_start,
    .on_client = serve_client,
    .on_drain = deliver_drain,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &local_service);
}
