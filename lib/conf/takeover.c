/* takeover.c: Postfix's services that are absorbed. */
#include "conf/takeover.h"

#include "base/mem.h"

static const struct {
    const char *command;
    const char *service; /* NULL: any name */
    const char *by;
} takeovers[] = {
    {"cleanup", NULL, "smtpd and pickup"},
    {"trivial-rewrite", NULL, "smtpd and qmgr"},
    {"bounce", "defer", "qmgr"},
    {"bounce", "trace", "qmgr and bounce"},
    {"verify", NULL, "nothing (address verification is not supported)"},
    {"flush", NULL, "nothing (ETRN is not offered)"},
    {"proxymap", NULL, "broker"},
    {"showq", NULL, "qmgr"},
    {"error", NULL, "qmgr"},
    {"discard", NULL, "qmgr"},
    {"scache", NULL, "smtp"},
    {"tlsmgr", NULL, "tlsproxy"},
    {"dnsblog", NULL, "nothing (postscreen is not supported)"},
    {"postscreen", NULL, "smtpd"},
    {"virtual", NULL, "nothing (not supported, see store(8); mail for it is deferred)"},
    {"lmtp", NULL, "nothing (LMTP is not supported; mail for it is deferred)"},
    {"pipe", NULL, "nothing (delivery to commands is not supported; mail for it is deferred)"},
    {"spawn", NULL, "nothing (commands as services are not supported)"},
    {"qmqpd", NULL, "nothing (QMQP is not supported)"},
};

/* postscreen hands its clients to "smtpd pass": smtpd listens itself. */
static void become_smtpd(const struct master_cf *m, struct master_entry *entry)
{
    const struct master_entry *pass = master_cf_find(m, "smtpd", SERVICE_TYPE_PASS);

    entry->command = "smtpd";
    entry->limit = MASTER_CF_LIMIT_DEFAULT;
    entry->overrides = NULL;
    entry->override_count = 0;
    if (pass == NULL)
        return;
    entry->limit = pass->limit;
    entry->overrides = pass->overrides;
    entry->override_count = pass->override_count;
}

void takeover_apply(const struct master_cf *m, struct master_entry *entry)
{
    if (strcmp(entry->command, "postscreen") == 0 && entry->type == SERVICE_TYPE_INET) {
        become_smtpd(m, entry);
        return;
    }
    if (entry->type == SERVICE_TYPE_PASS) {
        entry->taken_over_by = "smtpd";
        return;
    }
    for (size_t i = 0; i < COUNT_OF(takeovers); i++) {
        if (strcmp(takeovers[i].command, entry->command) == 0 &&
            (takeovers[i].service == NULL || strcmp(takeovers[i].service, entry->name) == 0)) {
            entry->taken_over_by = takeovers[i].by;
            return;
        }
    }
}
