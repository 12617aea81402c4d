/* auth(8): passwords, SASL, users, one-time session ids. */
#include <string.h>

#include "auth/bequest.h"
#include "auth/server.h"
#include "base/fd.h"
#include "service/service.h"

static void serve_client(struct service_client *client)
{
    /* What is left there is for a process that starts. */
    if (strcmp(client->listener, BEQUEST_SOCKET) == 0)
        fd_close(&client->fd);
    else
        server_run(client->fd);
}

static const char *const askers[] = {"waypost_smtpd_user", "waypost_login_user",
                                     "waypost_store_user", NULL};

static const struct service auth_service = {
    .name = "auth",
    .kind = SERVICE_SINGLE,
    .user_parameter = "waypost_auth_user",
    .askers = askers,
    .rights = SERVICE_READ_FILES,
    .paths = NULL,
    .is_chrooted = true,
    .on_load = server_load,
    .on_start = server_start,
    .on_client = serve_client,
    .on_drain = server_drain,
    .on_stop = server_stop,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &auth_service);
}
