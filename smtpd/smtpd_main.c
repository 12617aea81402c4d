/* smtpd_main.c: the SMTP server: one task per client. */
#include <errno.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "net/stream.h"
#include "service/anvil.h"
#include "service/service.h"
#include "service/signer.h"
#include "smtpd/session.h"

enum { AUTH_LOOKUP_MS = 60000 };

static struct server the_server; /* made by on_load, immutable from on_start on */

static int ask_auth(struct span address, struct str *value)
{
    str_clear(value);
    return auth_lookup(the_server.auth, address, value, deadline_in(AUTH_LOOKUP_MS));
}

static int on_load(const struct conf *conf, struct str *why)
{
    const struct resolver_options options = {.servers = conf_string(conf, "dns_servers")};
    int rc;

    tzset(); /* reads the zone while files may be opened */
    map_ask_broker();
    rc = server_load(&the_server, conf, service_entry_name(), why);
    if (rc == 0 && the_server.peername_lookup)
        rc = hosts_read(&the_server.hosts, "/etc/hosts");
    if (rc == 0)
        rc = resolver_new(&the_server.resolver, &options, why);
    return rc;
}

static int on_start(const struct conf *conf)
{
    struct queue_client *queue = queue_client_new("qmgr", conf_ms(conf, "ipc_timeout"));

    struct ipc_client *anvil = anvil_client_new();

    the_server.auth = auth_client_new();
    if (queue == NULL || anvil == NULL || the_server.auth == NULL)
        return -ENOMEM;
    server_use_qmgr(&the_server, queue);
    server_use_anvil(&the_server, anvil);
    map_set_userdb(ask_auth);
    map_on_change(service_give_up);
    return service_signer_hold();
}

static void on_client(struct service_client *client)
{
    struct net_address peer = {0}, local = {0};
    struct stream *stream;
    struct budget budget;

    /* What the pointers show goes away when this task waits. */
    if (client->peer != NULL)
        peer = *client->peer;
    if (client->local != NULL)
        local = *client->local;
    budget_init(&budget, the_server.session_budget);
    if (stream_new(&stream, client->fd, &budget) < 0) {
        log_warn("no memory for a client");
        return;
    }
    session_run(&the_server, stream, &budget, &peer, &local);
}

static const struct service smtpd_service = {
    .name = "smtpd",
    .kind = SERVICE_CLIENTS,
    .user_parameter = "waypost_smtpd_user",
    .rights = SERVICE_NETWORK, /* DNS */
    .is_chrooted = true,
    .on_load = on_load,
    .on_start = on_start,
    .on_client = on_client,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &smtpd_service);
}
