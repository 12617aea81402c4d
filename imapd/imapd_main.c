/* imapd(8): IMAP after authentication (RFC 3501) on the mail store. */
#include "imapd/session.h"
#include "login/mailbox.h"
#include "mail/charset.h"
#include "service/service.h"
#include "store/store.h"

static const char *const paths[] = {"store_directory", NULL};

static const struct mailbox_protocol protocol = {
    .name = "imap",
    .serve = session_serve,
};

static int load(const struct conf *conf, struct str *why)
{
    charset_preload();
    return store_preload(conf, why);
}

static int start(const struct conf *conf)
{
    int rc = session_start(conf, service_directory("store_directory"));

    return rc < 0 ? rc : mailbox_start(conf, &protocol);
}

static const char *const askers[] = {"waypost_login_user", NULL};

static const struct service imapd_service = {
    .name = "imapd",
    .kind = SERVICE_CLIENTS,
    .user_parameter = "waypost_store_user",
    .askers = askers,
    .rights = SERVICE_FILES,
    .paths = paths,
    .are_clients_handed = true,
    .on_load = load,
    .on_start = start,
    .on_client = mailbox_serve_client,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &imapd_service);
}
