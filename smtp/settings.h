/*
 * settings.h: the configuration of one smtp process, in the form that sessions use.
 * Made before the sandbox, never changed.
 */
#ifndef SMTP_SETTINGS_H
#define SMTP_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/array.h"
#include "conf/conf.h"
#include "net/address.h"
#include "net/dns.h"
#include "net/stream.h"
#include "net/tls.h"

enum smtp_preference { SMTP_PREFER_ANY, SMTP_PREFER_IPV4, SMTP_PREFER_IPV6 };

/* EHLO keywords; discarded ones are not seen. */
enum smtp_feature {
    SMTP_ESMTP = 1 << 0,
    SMTP_PIPELINING = 1 << 1,
    SMTP_SIZE = 1 << 2,
    SMTP_8BITMIME = 1 << 3,
    SMTP_STARTTLS = 1 << 4,
    SMTP_DSN = 1 << 5,
    SMTP_SMTPUTF8 = 1 << 6,
    SMTP_ENHANCEDSTATUSCODES = 1 << 7,
};

struct settings {
    const struct conf *conf;
    const char *helo_name, *myhostname, *relayhost, *fallback_relay;
    const char *cache_destinations;
    /* Names are looked up. */
    struct resolver *resolver;
    struct hosts *hosts;
    bool use_dns, use_hosts; /* smtp_host_lookup */
    bool use_mx;             /* not disable_dns_lookups */
    bool has_ipv4, has_ipv6; /* inet_protocols */
    bool randomize, balance, ignore_mx_error, defer_if_no_mx_address;
    enum smtp_preference preference;
    uint16_t port;
    unsigned address_limit, session_limit;
    ARRAY(struct net_address) own; /* addresses of this host and of its proxies */
    struct net_address bind4, bind6;
    /* The session. */
    int64_t connect_ms, helo_ms, starttls_ms, mail_ms, rcpt_ms, data_init_ms, data_xfer_ms,
        data_done_ms, rset_ms, quit_ms;
    bool skip_5xx_greeting, skip_quit_response, always_ehlo, never_ehlo, soft_bounce;
    unsigned discarded; /* enum smtp_feature */
    unsigned line_limit;
    size_t reply_limit, session_budget;
    /* TLS. */
    enum tls_level level;
    struct tls_context *tls; /* NULL: none */
    bool tls_wrapper, tls_note_offer, tls_reuse;
    unsigned tls_log_level;
    int64_t plaintext_after_us; /* a message that waited so long may go without TLS */
    /* Connections that are kept. */
    bool reuse;
    int64_t idle_ms, reuse_time_ms, overlap_limit_us;
    unsigned reuse_count;
    /* Opens a stream to an address; tests put a scripted peer here. */
    TASK_WAITS int (*connect)(const struct settings *s, const struct net_address *to,
                              struct budget *budget, struct stream **out, deadline_t deadline);
};

/* From conf, which must outlive s. 0 or a negative code with a reason. */
int settings_load(struct settings *s, const struct conf *conf, struct str *why);
void settings_fini(struct settings *s);
bool settings_is_own(const struct settings *s, const struct net_address *address);

#endif
