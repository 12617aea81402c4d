/* pop3d(8): POP3's TRANSACTION and UPDATE states on the mail store. */
#include <errno.h>

#include "login/mailbox.h"
#include "pop3d/session.h"
#include "service/service.h"
#include "store/store.h"
#include "store/store.h"

static const char *const paths[] = {"store_directory", NULL};

static const struct mailbox_protocol protocol = {
    .name = "pop3",
    .serve = session_serve,
};

static int start(const struct conf *conf)
{
    int rc = session_start(conf, service_directory("store_directory"));

    return rc < 0 ? rc : mailbox_start(conf, &protocol);
}

static const char *const askers[] = {"waypost_login_user", NULL};

static const struct service pop3d_service = {
    .name = "pop3d",
    .kind = SERVICE_CLIENTS,
    .are_clients_handed = true,
    .user_parameter = "waypost_store_user",
    .askers = askers,
    .rights = SERVICE_FILES,
    .paths = paths,
    .on_load = store_preload,
    .on_start = start,
    .on_client = mailbox_serve_client,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &pop3d_service);
}
