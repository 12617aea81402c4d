/* tlsproxy(8): ends TLS for IMAP and POP3; the only holder of the private keys. */
#include "service/service.h"
#include "services/tlsproxy.h"

static const char *const askers[] = {"waypost_login_user", "waypost_smtpd_user", NULL};

static const struct service tlsproxy_service = {
    .name = "tlsproxy",
    .kind = SERVICE_CLIENTS,
    .user_parameter = "waypost_tls_user",
    .askers = askers,
    .is_chrooted = true,
    .are_clients_handed = true,
    .on_load = tlsproxy_load,
    .on_start = tlsproxy_start,
    .on_client = tlsproxy_serve_client,
    .on_stop = tlsproxy_stop,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &tlsproxy_service);
}
