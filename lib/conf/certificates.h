/* certificates.h: which services end TLS, and whether they have a certificate for it. */
#ifndef CONF_CERTIFICATES_H
#define CONF_CERTIFICATES_H

#include <stdbool.h>

struct conf;
struct master_entry;

enum tls_use {
    TLS_USE_NONE,
    TLS_USE_OFFERED,  /* STARTTLS, for clients that want it */
    TLS_USE_DEMANDED, /* no mail before STARTTLS */
    TLS_USE_IMPLICIT, /* from the first octet on */
};

/* What smtpd does with this configuration (its entry's overrides included). */
enum tls_use certificates_use_of_smtpd(const struct conf *c);
/* What the service of this line does; TLS_USE_NONE also where others end TLS for it. */
enum tls_use certificates_use(const struct conf *c, const struct master_entry *entry);
/* Is a certificate named? prefix: "smtpd_tls" or "tlsproxy_tls". */
bool certificates_are_named(const struct conf *c, const char *prefix);
/* The prefix that counts for a program. */
const char *certificates_prefix(const char *program);

#endif
