/* server.c: what a process loads before it is walled in. */
#include "smtpd/server.h"

#include <stdlib.h>

#include "base/error.h"
#include "conf/certificates.h"
#include "conf/host.h"
#include "service/service.h"
#include "service/signer.h"

static bool list_has(const struct conf *conf, const char *parameter, const char *word)
{
    struct span rest = span_cstr(conf_string(conf, parameter)), item;

    while (span_token(&rest, ", \t\r\n", &item))
        if (span_ieq(item, span_cstr(word)))
            return true;
    return false;
}

static unsigned load_discarded_keywords(const struct conf *conf)
{
    static const struct {
        const char *name;
        unsigned bit;
    } keywords[] = {
        {"pipelining", EHLO_PIPELINING},
        {"size", EHLO_SIZE},
        {"vrfy", EHLO_VRFY},
        {"starttls", EHLO_STARTTLS},
        {"auth", EHLO_AUTH},
        {"enhancedstatuscodes", EHLO_ENHANCEDSTATUSCODES},
        {"8bitmime", EHLO_8BITMIME},
        {"chunking", EHLO_CHUNKING},
        {"silent-discard", EHLO_SILENT_DISCARD},
    };
    unsigned found = 0;

    for (size_t i = 0; i < COUNT_OF(keywords); i++)
        if (list_has(conf, "smtpd_discard_ehlo_keywords", keywords[i].name))
            found |= keywords[i].bit;
    return found;
}

static enum bare_newline load_bare_newline(const struct conf *conf)
{
    struct span value = span_cstr(conf_string(conf, "smtpd_forbid_bare_newline"));

    if (span_ieq(value, SPAN_LIT("reject")))
        return BARE_NEWLINE_REJECT;
    if (span_ieq(value, SPAN_LIT("no")))
        return BARE_NEWLINE_ALLOW;
    return BARE_NEWLINE_NORMALIZE; /* "yes" is its old name */
}

static void load_numbers(struct server *s)
{
    const struct conf *conf = s->conf;
    const struct {
        unsigned *value;
        const char *name;
    } numbers[] = {
        {&s->soft_error_limit, "smtpd_soft_error_limit"},
        {&s->hard_error_limit, "smtpd_hard_error_limit"},
        {&s->junk_command_limit, "smtpd_junk_command_limit"},
        {&s->recipient_limit, "smtpd_recipient_limit"},
        {&s->recipient_overshoot_limit, "smtpd_recipient_overshoot_limit"},
        {&s->connection_count_limit, "smtpd_client_connection_count_limit"},
        {&s->response_limit, "smtpd_sasl_response_limit"},
    };

    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        *numbers[i].value = (unsigned)conf_int(conf, numbers[i].name);
    s->timeout_ms = conf_ms(conf, "smtpd_timeout");
    s->starttls_timeout_ms = conf_ms(conf, "smtpd_starttls_timeout");
    s->error_sleep_ms = conf_ms(conf, "smtpd_error_sleep_time");
    s->min_data_rate = conf_int(conf, "smtpd_min_data_rate");
    s->line_length_limit = (size_t)conf_int(conf, "line_length_limit");
    s->message_size_limit = (uint64_t)conf_int(conf, "message_size_limit");
    s->queue_minfree = (uint64_t)conf_int(conf, "queue_minfree");
    s->session_budget = (size_t)conf_int(conf, "session_memory_limit");
    s->bare_newline_code = (int)conf_int(conf, "smtpd_forbid_bare_newline_reject_code");
    s->tls_log_level = (unsigned)atoi(conf_string(conf, "smtpd_tls_loglevel"));
}

static void load_switches(struct server *s)
{
    const struct conf *conf = s->conf;
    const struct {
        bool *value;
        const char *name;
    } switches[] = {
        {&s->per_request_deadline, "smtpd_per_request_deadline"},
        {&s->delay_reject, "smtpd_delay_reject"},
        {&s->helo_required, "smtpd_helo_required"},
        {&s->strict_envelopes, "strict_rfc821_envelopes"},
        {&s->vrfy_disabled, "disable_vrfy_command"},
        {&s->soft_bounce, "soft_bounce"},
        {&s->peername_lookup, "smtpd_peername_lookup"},
        {&s->port_logging, "smtpd_client_port_logging"},
        {&s->tls_wrapper, "smtpd_tls_wrappermode"},
        {&s->tls_auth_only, "smtpd_tls_auth_only"},
        {&s->tls_received_header, "smtpd_tls_received_header"},
        {&s->auth_enabled, "smtpd_sasl_auth_enable"},
        {&s->auth_broken_clients, "broken_sasl_auth_clients"},
        {&s->auth_header, "smtpd_sasl_authenticated_header"},
        {&s->blank_stray, "cleanup_replace_stray_cr_lf"},
        {&s->forbid_pipelining, "smtpd_forbid_unauth_pipelining"},
    };

    for (size_t i = 0; i < COUNT_OF(switches); i++)
        *switches[i].value = conf_bool(conf, switches[i].name);
    s->auth_plain = !list_has(conf, "smtpd_sasl_security_options", "noplaintext");
    s->auth_plain_tls = !list_has(conf, "smtpd_sasl_tls_security_options", "noplaintext");
}

/* Whether tlsproxy holds the keys for these certificates: it has those of main.cf;
 * what a master.cf entry sets for itself is read here. */
static bool is_key_remote(const struct conf *conf)
{
    static const char *const parameters[] = {
        "smtpd_tls_chain_files", "smtpd_tls_cert_file",  "smtpd_tls_key_file",
        "smtpd_tls_eccert_file", "smtpd_tls_eckey_file",
    };
    const struct conf *main_conf = service_main_conf();

    if (main_conf == NULL || !conf_bool(conf, "smtpd_tls_remote_key"))
        return false;
    for (size_t i = 0; i < COUNT_OF(parameters); i++) {
        if (strcmp(conf_string(conf, parameters[i]), conf_string(main_conf, parameters[i])) != 0)
            return false;
    }
    return true;
}

static int load_tls(struct server *s, struct str *why)
{
    const struct conf *conf = s->conf;
    enum tls_use use = certificates_use_of_smtpd(conf);
    bool is_mandatory = use == TLS_USE_DEMANDED || use == TLS_USE_IMPLICIT;

    s->tls_required = is_mandatory;
    /* Mandatory TLS means it for passwords too (smtpd_tls_security_level). */
    s->tls_auth_only = s->tls_auth_only || is_mandatory;
    /* As Postfix: without a certificate there is no TLS, and where it is mandatory no
     * mail; "waypost check" and the start say so. */
    if (use == TLS_USE_NONE || !certificates_are_named(conf, "smtpd_tls"))
        return 0;
    struct tls_options options = {
        .chain_files = conf_string(conf, "smtpd_tls_chain_files"),
        .cert_file = conf_string(conf, "smtpd_tls_cert_file"),
        .key_file = conf_string(conf, "smtpd_tls_key_file"),
        .eccert_file = conf_string(conf, "smtpd_tls_eccert_file"),
        .eckey_file = conf_string(conf, "smtpd_tls_eckey_file"),
        .ca_file = conf_string(conf, "smtpd_tls_CAfile"),
        .protocols = conf_string(conf, is_mandatory ? "smtpd_tls_mandatory_protocols"
                                                    : "smtpd_tls_protocols"),
        .cipher_list = conf_cipher_list(conf, is_mandatory ? "smtpd_tls_mandatory_ciphers"
                                                           : "smtpd_tls_ciphers"),
        .exclude_ciphers = conf_string(conf, "smtpd_tls_exclude_ciphers"),
        .prefer_server_ciphers = conf_bool(conf, "tls_preempt_cipherlist"),
        .level = is_mandatory ? TLS_LEVEL_ENCRYPT : TLS_LEVEL_MAY,
    };
    options.is_key_remote = is_key_remote(conf);
    if (options.is_key_remote && service_signer_start() < 0) {
        str_append_cstr(why, "OpenSSL does not take the provider of remote keys");
        return ERR_TLS;
    }
    return tls_context_new_server(&s->tls, &options, why);
}

static int load_match(struct server *s, struct map_match **out, const char *parameter,
                      unsigned flags, struct str *why)
{
    if (conf_string(s->conf, parameter)[0] == '\0')
        return 0;
    return map_match_open(out, s->conf, parameter, flags, why);
}

/* local_header_rewrite_clients: permit_... names, and tables of clients. */
static int load_rewrite_clients(struct server *s, struct str *why)
{
    const char *parameter = "local_header_rewrite_clients";
    struct span rest = span_cstr(conf_string(s->conf, parameter)), word;
    int rc = 0;

    while (rc == 0 && span_token(&rest, ", \t\r\n", &word)) {
        if (span_ieq(word, SPAN_LIT("permit_inet_interfaces")))
            s->rewrite_inet_interfaces = true;
        else if (span_ieq(word, SPAN_LIT("permit_mynetworks")))
            s->rewrite_mynetworks = true;
        else if (span_ieq(word, SPAN_LIT("permit_sasl_authenticated")))
            s->rewrite_sasl = true;
        else if (span_ieq(word, SPAN_LIT("check_address_map")))
            continue;
        else if (span_find(word, ':') > 0 && s->rewrite_clients == NULL)
            rc = map_match_open_text(&s->rewrite_clients, s->conf, word, MAP_MATCH_EXACT, why);
        else {
            str_printf(why, "%s: %.*s is not supported", parameter, SPAN_ARG(word));
            rc = ERR_NOT_SUPPORTED;
        }
    }
    return rc;
}

static int load_tables(struct server *s, struct str *why)
{
    int rc = route_load(&s->route, s->conf, why);

    if (rc == 0)
        rc = restrictions_load(&s->restrictions, s->conf, why);
    if (rc == 0)
        rc = load_match(s, &s->mynetworks, "mynetworks",
                        MAP_MATCH_ADDRESS | map_match_domain_flags(s->conf, "mynetworks"), why);
    if (rc == 0)
        rc = load_match(s, &s->bare_newline_exclusions, "smtpd_forbid_bare_newline_exclusions",
                        MAP_MATCH_ADDRESS, why);
    if (rc == 0)
        rc = load_match(s, &s->limit_exceptions, "smtpd_client_event_limit_exceptions",
                        MAP_MATCH_ADDRESS |
                            map_match_domain_flags(s->conf, "smtpd_client_event_limit_exceptions"),
                        why);
    if (rc == 0)
        rc = load_match(s, &s->sasl_exceptions, "smtpd_sasl_exceptions_networks", MAP_MATCH_ADDRESS,
                        why);
    if (rc == 0)
        rc = load_rewrite_clients(s, why);
    if (rc == 0)
        rc = host_addresses(s->conf, &s->own_addresses, &s->own_address_count, why);
    return rc;
}

int server_load(struct server *s, const struct conf *conf, const char *listener, struct str *why)
{
    int rc;

    memset(s, 0, sizeof(*s));
    s->conf = conf;
    s->listener = listener;
    s->myhostname = span_cstr(conf_string(conf, "myhostname"));
    s->mail_name = span_cstr(conf_string(conf, "mail_name"));
    s->banner = conf_string(conf, "smtpd_banner");
    s->auth_mechanisms = conf_string(conf, "auth_mechanisms");
    s->noop_commands = conf_string(conf, "smtpd_noop_commands");
    s->forbidden_commands = conf_string(conf, "smtpd_forbidden_commands");
    s->discarded_keywords = load_discarded_keywords(conf);
    s->bare_newline = load_bare_newline(conf);
    load_numbers(s);
    load_switches(s);
    rc = load_tls(s, why);
    if (rc == 0)
        rc = load_tables(s, why);
    if (rc < 0)
        server_unload(s);
    else
        intake_options_load(&s->intake, conf, s->route);
    return rc;
}

void server_unload(struct server *s)
{
    struct map_match *lists[] = {s->mynetworks, s->bare_newline_exclusions, s->limit_exceptions,
                                 s->sasl_exceptions, s->rewrite_clients};

    for (size_t i = 0; i < COUNT_OF(lists); i++)
        map_match_free(lists[i]);
    restrictions_free(s->restrictions);
    route_free(s->route);
    tls_context_free(s->tls);
    free(s->own_addresses);
    memset(s, 0, sizeof(*s));
}
