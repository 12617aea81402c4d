/* qmgr: owns the queue. See qmgr(8) and ARCHITECTURE.md, "The queue". */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "map/map.h"
#include "qmgr/active.h"
#include "qmgr/admin.h"
#include "qmgr/commit.h"
#include "qmgr/finish.h"
#include "qmgr/ledger.h"
#include "qmgr/offline.h"
#include "qmgr/receiver.h"
#include "qmgr/tasks.h"
#include "qmgr/transport.h"
#include "qmgr/under_way.h"
#include "service/service.h"

enum { WRITERS = 3, ROUTERS = 4, LOCK_WAIT_MS = 60000, LOCK_RETRY_MS = 50 };

static int on_load(const struct conf *conf, struct str *why)
{
    struct qmgr_config *c = &qmgr_config;

    map_ask_broker();
    c->minimal_backoff_s = conf_seconds(conf, "minimal_backoff_time");
    c->maximal_backoff_s = conf_seconds(conf, "maximal_backoff_time");
    c->queue_lifetime_s = conf_seconds(conf, "maximal_queue_lifetime");
    c->bounce_lifetime_s = conf_seconds(conf, "bounce_queue_lifetime");
    c->delay_warning_s = conf_seconds(conf, "delay_warning_time");
    c->transport_retry_ms = conf_ms(conf, "transport_retry_time");
    c->ipc_timeout_ms = conf_ms(conf, "ipc_timeout");
    c->active_limit = conf_int(conf, "qmgr_message_active_limit");
    c->defer_transports = conf_string(conf, "defer_transports");
    int rc = route_load(&c->route, conf, why);
    return rc < 0 || service_is_trial() ? rc : admin_listen(why);
}

/* The qmgr before this one may still be writing. */
static int open_queue(int queue_fd)
{
    deadline_t end = deadline_in(LOCK_WAIT_MS);
    struct str why = {0};
    int rc;

    while ((rc = ledger_open(queue_fd, &why)) == -EAGAIN && clock_mono_ms() < end) {
        str_clear(&why);
        rc = task_sleep(deadline_in(LOCK_RETRY_MS));
        if (rc < 0)
            break;
    }
    if (rc < 0)
        log_error("%s", str_cstr(&why));
    str_fini(&why);
    return rc;
}

static int on_start(const struct conf *conf)
{
    int queue_fd = service_directory("queue_directory");
    int rc = open_queue(queue_fd);

    if (rc == 0)
        rc = finish_init();
    if (rc < 0)
        return rc;
    under_way_load(queue_fd);
    map_on_change(service_give_up);
    receiver_init(queue_fd);
    tasks_init();
    for (int i = 0; i < WRITERS; i++)
        tasks_spawn("commit", commit_run_writer, NULL);
    for (int i = 0; i < ROUTERS; i++)
        tasks_spawn("activate", active_run, NULL);
    tasks_spawn("acknowledge", transport_run_acknowledger, NULL);
    tasks_spawn("reap", ledger_run_reaper, NULL);
    tasks_spawn("clean", ledger_run_cleaner, NULL);
    tasks_spawn("admin", admin_run, NULL);
    return 0;
}

static void on_client(struct service_client *client)
{
    receiver_serve(client->fd);
}

/* The next qmgr waits for the journal's lock: everybody asks that one again. */
static void on_drain(void)
{
    under_way_save(service_directory("queue_directory"));
    transport_close_all();
    receiver_close_all();
}

static void on_stop(void)
{
    bool shield = task_shield(true);

    transport_close_all();
    receiver_close_all();
    tasks_end();
    /* One that has hung since it was cancelled may yet write a result. */
    if (!receiver_is_any())
        ledger_keep_entries();
    ledger_close();
    route_free(qmgr_config.route);
    task_shield(shield);
}

static const char *const paths[] = {"queue_directory", NULL};

static const char *const askers[] = {"waypost_smtpd_user", "waypost_smtp_user",
                                     "waypost_store_user", NULL};

static const struct service qmgr_service = {
    .name = "qmgr",
    .kind = SERVICE_SINGLE,
    .user_parameter = "waypost_queue_user",
    .askers = askers,
    .open_socket = "showq",
    .rights = SERVICE_FILES,
    .paths = paths,
    .on_load = on_load,
    .on_start = on_start,
    .on_client = on_client,
    .on_drain = on_drain,
    .on_stop = on_stop,
};

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "-A") == 0)
        return offline_main(argv[2]);
    return service_main(argc, argv, &qmgr_service);
}
