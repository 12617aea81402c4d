/* smtp(8): deliver to remote hosts. */
#include "queue/deliver.h"
#include "service/service.h"
#include "smtp/delivery.h"
#include "smtp/pool.h"
#include "smtp/settings.h"

static struct settings settings;
static struct deliver_agent agent;

static int load(const struct conf *conf, struct str *why)
{
    return settings_load(&settings, conf, why);
}

static void report_active(size_t active)
{
    service_set_work(active, agent.capacity);
}

static int start(const struct conf *conf)
{
    agent = (struct deliver_agent){
        .deliver = delivery_run,
        .arg = &settings,
        .capacity = service_client_limit(),
        .on_active = report_active,
    };
    return 0;
}

static void serve(struct service_client *client)
{
    deliver_serve(client->fd, &agent);
}

static void stop(void)
{
    pool_close();
    settings_fini(&settings);
}

static const char *const askers[] = {"waypost_queue_user", NULL};

static const struct service smtp_service = {
    .name = "smtp",
    .kind = SERVICE_AGENT,
    .user_parameter = "waypost_smtp_user",
    .askers = askers,
    .rights = SERVICE_NETWORK,
    .is_chrooted = true,
    .on_load = load,
    .on_start = start,
    .on_client = serve,
    .on_drain = deliver_drain,
    .on_stop = stop,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &smtp_service);
}
