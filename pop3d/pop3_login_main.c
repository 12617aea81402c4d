/* pop3-login(8): POP3's AUTHORIZATION state (RFC 1939 4, RFC 5034, RFC 2595 4). */
#include "pop3d/pop3_login.h"
#include "service/service.h"

static int start(const struct conf *conf)
{
    return login_start(conf, &pop3_login_protocol);
}

static const char *const askers[] = {"waypost_tls_user", NULL};

static const struct service pop3_login_service = {
    .name = "pop3-login",
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
    return service_main(argc, argv, &pop3_login_service);
}
