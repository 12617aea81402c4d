#include "smtp/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "conf/host.h"
#include "net/listen.h"

static const char separators[] = ", \t\r\n";

static int connect_tcp(const struct settings *s, const struct net_address *to,
                       struct budget *budget, struct stream **out, deadline_t deadline)
{
    const struct net_address *from = to->family == AF_INET6 ? &s->bind6 : &s->bind4;
    int fd, rc;

    rc = net_connect(&fd, to, from->family != AF_UNSPEC ? from : NULL, deadline);
    return rc < 0 ? rc : stream_new(out, fd, budget);
}

static bool list_has(const char *list, const char *word)
{
    struct span rest = span_cstr(list), item;

    while (span_token(&rest, separators, &item))
        if (span_ieq(item, span_cstr(word)))
            return true;
    return false;
}

/* --- addresses --- */

/* "all" means what this kernel can do. */
static bool has_family(int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 || errno != EAFNOSUPPORT;

    fd_close(&fd);
    return has;
}

static int add_own(struct settings *s, const struct net_address *address)
{
    struct net_address *own = array_push(&s->own);

    if (own == NULL)
        return -ENOMEM;
    *own = *address;
    return 0;
}

static int load_own_addresses(struct settings *s, struct str *why)
{
    struct span rest = span_cstr(conf_string(s->conf, "proxy_interfaces")), item;
    struct host_address *list = NULL;
    struct net_address address;
    size_t count = 0;
    int rc = host_addresses(s->conf, &list, &count, why);

    for (size_t i = 0; rc == 0 && i < count; i++)
        if (net_address_from_sockaddr((struct sockaddr *)&list[i].address, &address) == 0)
            rc = add_own(s, &address);
    free(list);
    while (rc == 0 && span_token(&rest, separators, &item)) {
        rc = net_address_parse(item, &address);
        if (rc < 0)
            str_printf(why, "proxy_interfaces: not an address: %.*s", SPAN_ARG(item));
        else
            rc = add_own(s, &address);
    }
    return rc;
}

bool settings_is_own(const struct settings *s, const struct net_address *address)
{
    for (size_t i = 0; i < s->own.len; i++)
        if (net_address_eq(&s->own.items[i], address))
            return true;
    return false;
}

static int load_bind(const struct conf *conf, const char *name, int family,
                     struct net_address *address, struct str *why)
{
    struct span text = span_cstr(conf_string(conf, name));

    if (text.n == 0)
        return 0;
    if (net_address_parse(text, address) == 0 && address->family == family)
        return 0;
    str_printf(why, "%s: not an address of its family: %.*s", name, SPAN_ARG(text));
    return ERR_SYNTAX;
}

static int load_addresses(struct settings *s, struct str *why)
{
    const char *protocols = conf_string(s->conf, "inet_protocols");
    bool all = list_has(protocols, "all");
    int rc;

    s->has_ipv4 = (all && has_family(AF_INET)) || list_has(protocols, "ipv4");
    s->has_ipv6 = (all && has_family(AF_INET6)) || list_has(protocols, "ipv6");
    rc = net_port_parse(span_cstr(conf_string(s->conf, "smtp_tcp_port")), &s->port);
    if (rc < 0) {
        str_printf(why, "smtp_tcp_port: not a port: %s", conf_string(s->conf, "smtp_tcp_port"));
        return rc;
    }
    rc = load_bind(s->conf, "smtp_bind_address", AF_INET, &s->bind4, why);
    if (rc == 0)
        rc = load_bind(s->conf, "smtp_bind_address6", AF_INET6, &s->bind6, why);
    return rc < 0 ? rc : load_own_addresses(s, why);
}

/* --- names --- */

static int load_names(struct settings *s, struct str *why)
{
    const char *lookup = conf_string(s->conf, "smtp_host_lookup");
    const char *preference = conf_string(s->conf, "smtp_address_preference");
    struct resolver_options options = {
        .servers = conf_string(s->conf, "dns_servers"),
        .timeout_ms = (int)conf_ms(s->conf, "dns_timeout"),
        .tries = (int)conf_int(s->conf, "dns_attempts"),
    };
    int rc;

    s->use_mx = !conf_bool(s->conf, "disable_dns_lookups");
    s->use_hosts = list_has(lookup, "native") || !s->use_mx;
    s->use_dns = list_has(lookup, "dns") || s->use_hosts;
    if (!s->use_dns) {
        str_printf(why, "smtp_host_lookup: neither dns nor native: %s", lookup);
        return ERR_SYNTAX;
    }
    s->preference = strcmp(preference, "ipv4") == 0   ? SMTP_PREFER_IPV4
                    : strcmp(preference, "ipv6") == 0 ? SMTP_PREFER_IPV6
                                                      : SMTP_PREFER_ANY;
    s->randomize = conf_bool(s->conf, "smtp_randomize_addresses");
    s->balance = conf_bool(s->conf, "smtp_balance_inet_protocols");
    s->ignore_mx_error = conf_bool(s->conf, "ignore_mx_lookup_error");
    s->defer_if_no_mx_address = conf_bool(s->conf, "smtp_defer_if_no_mx_address_found");
    s->address_limit = (unsigned)conf_int(s->conf, "smtp_mx_address_limit");
    s->session_limit = (unsigned)conf_int(s->conf, "smtp_mx_session_limit");
    rc = hosts_read(&s->hosts, "/etc/hosts");
    return rc < 0 ? rc : resolver_new(&s->resolver, &options, why);
}

/* --- TLS --- */

static int load_tls_level(struct settings *s, struct str *why)
{
    struct span text = span_cstr(conf_string(s->conf, "smtp_tls_security_level"));
    int rc = 0;

    if (text.n > 0)
        rc = tls_level_parse(text, &s->level);
    else if (conf_bool(s->conf, "smtp_enforce_tls"))
        s->level = TLS_LEVEL_ENCRYPT;
    else if (conf_bool(s->conf, "smtp_use_tls"))
        s->level = TLS_LEVEL_MAY;
    if (rc < 0 || s->level > TLS_LEVEL_ENCRYPT) {
        str_printf(why, "smtp_tls_security_level: %.*s is not supported: none, may or encrypt",
                   SPAN_ARG(text));
        return ERR_NOT_SUPPORTED;
    }
    s->tls_wrapper = conf_bool(s->conf, "smtp_tls_wrappermode");
    if (s->tls_wrapper && s->level < TLS_LEVEL_ENCRYPT) {
        str_append_cstr(why, "smtp_tls_wrappermode needs smtp_tls_security_level = encrypt");
        return ERR_SYNTAX;
    }
    return 0;
}

static int load_tls(struct settings *s, struct str *why)
{
    const struct conf *conf = s->conf;
    int rc = load_tls_level(s, why);
    bool is_mandatory = s->level >= TLS_LEVEL_ENCRYPT;
    struct str excluded = {0};

    if (rc < 0 || s->level == TLS_LEVEL_NONE)
        return rc;
    str_append_cstr(&excluded, conf_string(conf, "smtp_tls_exclude_ciphers"));
    if (is_mandatory)
        str_printf(&excluded, " %s", conf_string(conf, "smtp_tls_mandatory_exclude_ciphers"));
    struct tls_options options = {
        .chain_files = conf_string(conf, "smtp_tls_chain_files"),
        .cert_file = conf_string(conf, "smtp_tls_cert_file"),
        .key_file = conf_string(conf, "smtp_tls_key_file"),
        .eccert_file = conf_string(conf, "smtp_tls_eccert_file"),
        .eckey_file = conf_string(conf, "smtp_tls_eckey_file"),
        .ca_file = conf_string(conf, "smtp_tls_CAfile"),
        .ca_path = conf_string(conf, "smtp_tls_CApath"),
        .protocols =
            conf_string(conf, is_mandatory ? "smtp_tls_mandatory_protocols" : "smtp_tls_protocols"),
        .cipher_list = conf_cipher_list(conf, is_mandatory ? "smtp_tls_mandatory_ciphers"
                                                           : "smtp_tls_ciphers"),
        .exclude_ciphers = str_cstr(&excluded),
        .verify_depth = (unsigned)conf_int(conf, "smtp_tls_scert_verifydepth"),
        .level = s->level,
    };
    s->tls_log_level = (unsigned)atoi(conf_string(conf, "smtp_tls_loglevel"));
    s->tls_note_offer = conf_bool(conf, "smtp_tls_note_starttls_offer");
    s->tls_reuse = conf_bool(conf, "smtp_tls_connection_reuse");
    s->plaintext_after_us = conf_seconds(conf, "minimal_backoff_time") * 1000000;
    rc = tls_context_new_client(&s->tls, &options, why);
    str_fini(&excluded);
    return rc;
}

/* --- the rest --- */

static int load_discarded(struct settings *s, struct str *why)
{
    static const struct {
        const char *word;
        unsigned feature;
    } words[] = {
        {"pipelining", SMTP_PIPELINING},
        {"size", SMTP_SIZE},
        {"8bitmime", SMTP_8BITMIME},
        {"starttls", SMTP_STARTTLS},
        {"dsn", SMTP_DSN},
        {"smtputf8", SMTP_SMTPUTF8},
        {"enhancedstatuscodes", SMTP_ENHANCEDSTATUSCODES},
    };
    struct span rest = span_cstr(conf_string(s->conf, "smtp_discard_ehlo_keywords")), item;

    while (span_token(&rest, separators, &item))
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (span_ieq(item, span_cstr(words[i].word)))
                s->discarded |= words[i].feature;
    return 0;
}

static void load_session(struct settings *s)
{
    const struct conf *conf = s->conf;
    const struct {
        int64_t *field;
        const char *name;
    } times[] = {
        {&s->connect_ms, "smtp_connect_timeout"},
        {&s->helo_ms, "smtp_helo_timeout"},
        {&s->starttls_ms, "smtp_starttls_timeout"},
        {&s->mail_ms, "smtp_mail_timeout"},
        {&s->rcpt_ms, "smtp_rcpt_timeout"},
        {&s->data_init_ms, "smtp_data_init_timeout"},
        {&s->data_xfer_ms, "smtp_data_xfer_timeout"},
        {&s->data_done_ms, "smtp_data_done_timeout"},
        {&s->rset_ms, "smtp_rset_timeout"},
        {&s->quit_ms, "smtp_quit_timeout"},
        {&s->idle_ms, "smtp_connection_cache_time_limit"},
        {&s->reuse_time_ms, "smtp_connection_reuse_time_limit"},
    };

    for (size_t i = 0; i < COUNT_OF(times); i++)
        *times[i].field = conf_ms(conf, times[i].name);
    if (s->connect_ms == 0)
        s->connect_ms = -1; /* the kernel's own limit */
    s->skip_5xx_greeting = conf_bool(conf, "smtp_skip_5xx_greeting");
    s->skip_quit_response = conf_bool(conf, "smtp_skip_quit_response");
    s->always_ehlo = conf_bool(conf, "smtp_always_send_ehlo");
    s->never_ehlo = conf_bool(conf, "smtp_never_send_ehlo");
    s->soft_bounce = conf_bool(conf, "soft_bounce");
    s->line_limit = (unsigned)conf_int(conf, "smtp_line_length_limit");
    s->reply_limit = (size_t)conf_int(conf, "smtp_reply_size_limit");
    s->session_budget = (size_t)conf_int(conf, "session_memory_limit");
    s->reuse = conf_bool(conf, "smtp_connection_cache_on_demand");
    s->cache_destinations = conf_string(conf, "smtp_connection_cache_destinations");
    s->reuse_count = (unsigned)conf_int(conf, "smtp_connection_reuse_count_limit");
    s->overlap_limit_us = conf_int(conf, "smtp_overlap_latency_limit") * 1000;
    s->helo_name = conf_string(conf, "smtp_helo_name");
    s->myhostname = conf_string(conf, "myhostname");
    s->relayhost = conf_string(conf, "relayhost");
    s->fallback_relay = conf_string(conf, "smtp_fallback_relay");
}

int settings_load(struct settings *s, const struct conf *conf, struct str *why)
{
    int rc;

    *s = (struct settings){.conf = conf, .connect = connect_tcp};
    load_session(s);
    rc = load_discarded(s, why);
    if (rc == 0)
        rc = load_addresses(s, why);
    if (rc == 0)
        rc = load_names(s, why);
    if (rc == 0)
        rc = load_tls(s, why);
    if (rc < 0)
        settings_fini(s);
    return rc;
}

void settings_fini(struct settings *s)
{
    tls_context_free(s->tls);
    if (s->resolver != NULL)
        resolver_free(s->resolver);
    hosts_free(s->hosts);
    array_free(&s->own);
    *s = (struct settings){0};
}
