#include "conf/certificates.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "conf/conf.h"
#include "conf/master_cf.h"

enum tls_use certificates_use_of_smtpd(const struct conf *c)
{
    struct span level = span_cstr(conf_string(c, "smtpd_tls_security_level"));

    if (conf_bool(c, "smtpd_tls_wrappermode"))
        return TLS_USE_IMPLICIT;
    /* The level, or the two switches that it replaced. */
    if (span_ieq(level, SPAN_LIT("encrypt")) || (level.n == 0 && conf_bool(c, "smtpd_enforce_tls")))
        return TLS_USE_DEMANDED;
    if (span_ieq(level, SPAN_LIT("may")) || (level.n == 0 && conf_bool(c, "smtpd_use_tls")))
        return TLS_USE_OFFERED;
    return TLS_USE_NONE;
}

enum tls_use certificates_use(const struct conf *c, const struct master_entry *entry)
{
    if (entry->taken_over_by != NULL || entry->type != SERVICE_TYPE_INET)
        return TLS_USE_NONE;
    if (strcmp(entry->command, "smtpd") == 0)
        return certificates_use_of_smtpd(c);
    if (strcmp(entry->command, "tlsproxy") == 0)
        return TLS_USE_IMPLICIT;
    if (strcmp(entry->command, "imap-login") == 0 || strcmp(entry->command, "pop3-login") == 0)
        return TLS_USE_OFFERED;
    return TLS_USE_NONE;
}

bool certificates_are_named(const struct conf *c, const char *prefix)
{
    static const char *const suffixes[] = {"chain_files", "cert_file", "eccert_file"};
    struct str name = {0};
    bool is_named = false;

    for (size_t i = 0; i < COUNT_OF(suffixes) && !is_named; i++) {
        const char *value;

        str_clear(&name);
        str_printf(&name, "%s_%s", prefix, suffixes[i]);
        value = conf_string(c, str_cstr(&name));
        is_named = value[0] != '\0' && strcmp(value, "none") != 0;
    }
    str_fini(&name);
    return is_named;
}

const char *certificates_prefix(const char *program)
{
    return strcmp(program, "smtpd") == 0 ? "smtpd_tls" : "tlsproxy_tls";
}
