/* imap-login(8): IMAP before authentication. */
#include "imapd/imap_login.h"
#include "service/service.h"

static int start(const struct conf *conf)
{
    return login_start(conf, &imap_login_protocol);
}

static const char *const askers[] = {"waypost_tls_user", NULL};

static const struct service imap_login_service = {
    .name = "imap-login",
    .kind = SERVICE_CLIENTS,
    .are_clients_handed = true,
    .user_parameter = "waypost_login_user",
    .askers = askers,
    .is_chrooted = true,
    .on_start = start,
    .on_client = login_serve_client,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &imap_login_service);
}
