/* restrict_checks.c: the restrictions by name: one function and one row each. */
#include "base/error.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtpd/restrict_internal.h"

static enum restrict_verdict do_permit(struct session *s, const struct restriction *r)
{
    return RESTRICT_OK;
}

static enum restrict_verdict do_reject(struct session *s, const struct restriction *r)
{
    struct restrict_subject subject = restrict_subject(s, s->stage);

    return restrict_reject(s, s->server->restrictions->reject_code, "5.7.1",
                           "<%.*s>: %s rejected: Access denied", SPAN_ARG(subject.name),
                           subject.class);
}

static enum restrict_verdict do_defer(struct session *s, const struct restriction *r)
{
    struct restrict_subject subject = restrict_subject(s, s->stage);

    return restrict_reject(s, s->server->restrictions->defer_code, "4.3.2",
                           "<%.*s>: %s rejected: Try again later", SPAN_ARG(subject.name),
                           subject.class);
}

static enum restrict_verdict defer_if_permit(struct session *s, const struct restriction *r)
{
    struct restrict_subject subject = restrict_subject(s, s->stage);

    restrict_defer_if_permit(s, "450 4.7.0 <%.*s>: %s rejected: defer_if_permit requested",
                             SPAN_ARG(subject.name), subject.class);
    return RESTRICT_DUNNO;
}

static enum restrict_verdict defer_if_reject(struct session *s, const struct restriction *r)
{
    struct restrict_subject subject = restrict_subject(s, s->stage);

    if (s->defer_if_reject.len == 0)
        str_printf(&s->defer_if_reject, "450 4.7.0 <%.*s>: %s rejected: defer_if_reject requested",
                   SPAN_ARG(subject.name), subject.class);
    return RESTRICT_DUNNO;
}

static enum restrict_verdict do_sleep(struct session *s, const struct restriction *r)
{
    (void)stream_flush(s->stream, session_deadline(s));
    (void)task_sleep(deadline_in(r->number * 1000));
    return RESTRICT_DUNNO;
}

static enum restrict_verdict permit_mynetworks(struct session *s, const struct restriction *r)
{
    return s->is_mynetworks ? RESTRICT_OK : RESTRICT_DUNNO;
}

static enum restrict_verdict permit_sasl_authenticated(struct session *s,
                                                       const struct restriction *r)
{
    return s->login.n > 0 ? RESTRICT_OK : RESTRICT_DUNNO;
}

/* --- relay control --- */

/* Do we deliver, or relay by configuration, to this recipient? */
static bool is_authorized_destination(const struct session *s)
{
    const struct route_result *result = s->resolved;

    if (result == NULL)
        return true; /* before RCPT there is no destination to refuse */
    if (result->is_routed && !s->server->restrictions->allow_untrusted_routing)
        return false;
    return result->class != ROUTE_CLASS_DEFAULT;
}

static enum restrict_verdict permit_auth_destination(struct session *s, const struct restriction *r)
{
    return s->resolved != NULL && is_authorized_destination(s) ? RESTRICT_OK : RESTRICT_DUNNO;
}

static enum restrict_verdict reject_unauth_destination(struct session *s,
                                                       const struct restriction *r)
{
    if (is_authorized_destination(s))
        return RESTRICT_DUNNO;
    return restrict_reject(s, s->server->restrictions->relay_code, "5.7.1",
                           "<%.*s>: Relay access denied", SPAN_ARG(s->recipient_text));
}

static enum restrict_verdict defer_unauth_destination(struct session *s,
                                                      const struct restriction *r)
{
    if (is_authorized_destination(s))
        return RESTRICT_DUNNO;
    return restrict_reject(s, 454, "4.7.1", "<%.*s>: Relay access denied",
                           SPAN_ARG(s->recipient_text));
}

/* --- existence --- */

static enum restrict_verdict reject_unlisted_recipient(struct session *s,
                                                       const struct restriction *r)
{
    return restrict_unlisted_recipient(s);
}

static enum restrict_verdict reject_unlisted_sender(struct session *s, const struct restriction *r)
{
    return restrict_unlisted_sender(s);
}

/* --- names --- */

static bool is_qualified(struct span domain)
{
    int family;
    uint8_t ip[16];

    if (domain.n > 0 && domain.p[0] == '[')
        return address_literal_ip(domain, true, &family, ip) == 0;
    return address_is_domain(domain, true, false) && span_find(domain, '.') > 0;
}

static enum restrict_verdict reject_non_fqdn_helo(struct session *s, const struct restriction *r)
{
    if (s->helo.n == 0 || is_qualified(s->helo))
        return RESTRICT_DUNNO;
    if (s->helo.p[0] == '[')
        return restrict_reject(s, s->server->restrictions->invalid_helo_code, "5.5.2",
                               "<%.*s>: Helo command rejected: invalid ip address",
                               SPAN_ARG(s->helo));
    return restrict_reject(s, s->server->restrictions->non_fqdn_code, "5.5.2",
                           "<%.*s>: Helo command rejected: need fully-qualified hostname",
                           SPAN_ARG(s->helo));
}

static enum restrict_verdict reject_invalid_helo(struct session *s, const struct restriction *r)
{
    int family;
    uint8_t ip[16];

    if (s->helo.n == 0)
        return RESTRICT_DUNNO;
    if (s->helo.p[0] == '[' ? address_literal_ip(s->helo, true, &family, ip) == 0
                            : address_is_domain(s->helo, true, false))
        return RESTRICT_DUNNO;
    return restrict_reject(s, s->server->restrictions->invalid_helo_code, "5.5.2",
                           "<%.*s>: Helo command rejected: Invalid name", SPAN_ARG(s->helo));
}

static enum restrict_verdict reject_non_fqdn(struct session *s, struct span address,
                                             struct span text, const char *class)
{
    if (address.n == 0 || is_qualified(route_domain(address)))
        return RESTRICT_DUNNO;
    return restrict_reject(s, s->server->restrictions->non_fqdn_code, "5.5.2",
                           "<%.*s>: %s rejected: need fully-qualified address", SPAN_ARG(text),
                           class);
}

static enum restrict_verdict reject_non_fqdn_sender(struct session *s, const struct restriction *r)
{
    /* What the client wrote counts, not what rewriting made of it. */
    return reject_non_fqdn(s, s->tx.sender_text, s->tx.sender_text, "Sender address");
}

static enum restrict_verdict reject_non_fqdn_recipient(struct session *s,
                                                       const struct restriction *r)
{
    if (span_ieq(s->recipient_text, SPAN_LIT("postmaster")))
        return RESTRICT_DUNNO;
    return reject_non_fqdn(s, s->recipient_text, s->recipient_text, "Recipient address");
}

/* --- the client --- */

static enum restrict_verdict reject_unknown_client(struct session *s, const struct restriction *r)
{
    if (!span_eq(s->name, SPAN_LIT("unknown")))
        return RESTRICT_DUNNO;
    return restrict_reject(
        s, s->is_name_temporary ? 450 : s->server->restrictions->unknown_client_code, "4.7.25",
        "Client host rejected: cannot find your hostname, [%.*s]", SPAN_ARG(s->address));
}

static enum restrict_verdict reject_unknown_reverse_client(struct session *s,
                                                           const struct restriction *r)
{
    if (!span_eq(s->reverse_name, SPAN_LIT("unknown")))
        return RESTRICT_DUNNO;
    return restrict_reject(
        s, s->is_name_temporary ? 450 : s->server->restrictions->unknown_client_code, "4.7.25",
        "Client host rejected: cannot find your reverse hostname, [%.*s]", SPAN_ARG(s->address));
}

static enum restrict_verdict reject_plaintext(struct session *s, const struct restriction *r)
{
    if (session_is_secured(s))
        return RESTRICT_DUNNO;
    return restrict_reject(s, s->server->restrictions->plaintext_code, "4.7.1",
                           "Session encryption is required");
}

static enum restrict_verdict reject_unauth_pipelining(struct session *s,
                                                      const struct restriction *r)
{
    struct restrict_subject subject = restrict_subject(s, s->stage);

    /* Input in front of our greeting or of the reply to a command that must be the
     * last of its group (RFC 2920 3.1). */
    if (!s->was_pipelined || (strcmp(s->protocol, "ESMTP") == 0 && strcmp(s->command, "DATA") != 0))
        return RESTRICT_DUNNO;
    return restrict_reject(s, 503, "5.5.0",
                           "<%.*s>: %s rejected: Improper use of SMTP command pipelining",
                           SPAN_ARG(subject.name), subject.class);
}

static enum restrict_verdict reject_multi_recipient_bounce(struct session *s,
                                                           const struct restriction *r)
{
    struct restrict_subject subject = restrict_subject(s, s->stage);

    if (s->tx.sender.n > 0 || !s->tx.is_open || s->tx.recipients.len < 2)
        return RESTRICT_DUNNO;
    return restrict_reject(s, s->server->restrictions->multi_recipient_bounce_code, "5.5.3",
                           "<%.*s>: %s rejected: Multi-recipient bounce", SPAN_ARG(subject.name),
                           subject.class);
}

/* --- DNS --- */

enum domain_state { DOMAIN_EXISTS, DOMAIN_MISSING, DOMAIN_NULL_MX, DOMAIN_UNKNOWN };

static enum domain_state look_up_domain(struct session *s, const char *domain)
{
    static const enum dns_type types[] = {DNS_MX, DNS_A, DNS_AAAA};
    deadline_t deadline = session_deadline(s);
    enum domain_state state = DOMAIN_MISSING;

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        struct dns_answer answer = {0};
        int rc = dns_query(s->server->resolver, domain, types[i], 0, &answer, deadline);
        bool is_null = rc == 0 && types[i] == DNS_MX && answer.count == 1 &&
                       answer.records[0].mx.host[0] == '\0';

        dns_answer_fini(&answer);
        if (rc == 0)
            return is_null ? DOMAIN_NULL_MX : DOMAIN_EXISTS;
        if (rc != ERR_NOT_FOUND && rc != ERR_SYNTAX)
            state = DOMAIN_UNKNOWN;
    }
    return state;
}

/* Is it a domain that mail can be sent to? Our own are not asked about. */
static enum restrict_verdict reject_unknown_domain(struct session *s, struct span address,
                                                   struct span text, bool is_sender)
{
    const char *class = is_sender ? "Sender address" : "Recipient address";
    const char *dsn = is_sender ? "4.1.8" : "4.1.2";
    struct span domain = route_domain(address);
    enum route_class address_class;
    const char *name;

    if (domain.n == 0 || domain.p[0] == '[' || s->server->resolver == NULL)
        return RESTRICT_DUNNO;
    if (route_classify(s->server->route, domain, &address_class) < 0)
        return restrict_table_failed(s);
    if (address_class != ROUTE_CLASS_DEFAULT && address_class != ROUTE_CLASS_RELAY)
        return RESTRICT_DUNNO;
    name = arena_strdup(&s->tx.arena, domain);
    if (name == NULL)
        return restrict_table_failed(s);
    switch (look_up_domain(s, name)) {
    case DOMAIN_EXISTS:
        break;
    case DOMAIN_NULL_MX:
        return restrict_reject(s, is_sender ? 550 : 556, is_sender ? "5.7.27" : "5.1.10",
                               "<%.*s>: %s rejected: Domain %s does not accept mail (nullMX)",
                               SPAN_ARG(text), class, name);
    case DOMAIN_MISSING:
        return restrict_reject(s, s->server->restrictions->unknown_address_code, dsn,
                               "<%.*s>: %s rejected: Domain not found", SPAN_ARG(text), class);
    case DOMAIN_UNKNOWN:
        if (!s->is_warning)
            restrict_defer_if_permit(s, "450 %s <%.*s>: %s rejected: Domain not found", dsn,
                                     SPAN_ARG(text), class);
        break;
    }
    return RESTRICT_DUNNO;
}

static enum restrict_verdict reject_unknown_sender_domain(struct session *s,
                                                          const struct restriction *r)
{
    return reject_unknown_domain(s, s->tx.sender, s->tx.sender_text, true);
}

static enum restrict_verdict reject_unknown_recipient_domain(struct session *s,
                                                             const struct restriction *r)
{
    return reject_unknown_domain(s, s->recipient, s->recipient_text, false);
}

/* --- the table --- */

static const struct restrict_kind kinds[] = {
    {"permit", do_permit, RESTRICT_NO_ARGUMENT},
    {"reject", do_reject, RESTRICT_NO_ARGUMENT},
    {"defer", do_defer, RESTRICT_NO_ARGUMENT},
    {"defer_if_permit", defer_if_permit, RESTRICT_NO_ARGUMENT},
    {"defer_if_reject", defer_if_reject, RESTRICT_NO_ARGUMENT},
    {"warn_if_reject", NULL, RESTRICT_NO_ARGUMENT},
    {"sleep", do_sleep, RESTRICT_NUMBER},
    {"permit_mynetworks", permit_mynetworks, RESTRICT_NO_ARGUMENT},
    {"permit_sasl_authenticated", permit_sasl_authenticated, RESTRICT_NO_ARGUMENT},
    {"permit_auth_destination", permit_auth_destination, RESTRICT_NO_ARGUMENT},
    {"reject_unauth_destination", reject_unauth_destination, RESTRICT_NO_ARGUMENT},
    {"defer_unauth_destination", defer_unauth_destination, RESTRICT_NO_ARGUMENT},
    {"reject_unlisted_recipient", reject_unlisted_recipient, RESTRICT_NO_ARGUMENT},
    {"check_recipient_maps", reject_unlisted_recipient, RESTRICT_NO_ARGUMENT},
    {"reject_unlisted_sender", reject_unlisted_sender, RESTRICT_NO_ARGUMENT},
    {"check_client_access", check_client_access, RESTRICT_TABLE},
    {"check_helo_access", check_helo_access, RESTRICT_TABLE},
    {"check_sender_access", check_sender_access, RESTRICT_TABLE},
    {"check_recipient_access", check_recipient_access, RESTRICT_TABLE},
    {"reject_non_fqdn_helo_hostname", reject_non_fqdn_helo, RESTRICT_NO_ARGUMENT},
    {"reject_non_fqdn_hostname", reject_non_fqdn_helo, RESTRICT_NO_ARGUMENT},
    {"reject_invalid_helo_hostname", reject_invalid_helo, RESTRICT_NO_ARGUMENT},
    {"reject_invalid_hostname", reject_invalid_helo, RESTRICT_NO_ARGUMENT},
    {"reject_non_fqdn_sender", reject_non_fqdn_sender, RESTRICT_NO_ARGUMENT},
    {"reject_non_fqdn_recipient", reject_non_fqdn_recipient, RESTRICT_NO_ARGUMENT},
    {"reject_unknown_client_hostname", reject_unknown_client, RESTRICT_NO_ARGUMENT},
    {"reject_unknown_client", reject_unknown_client, RESTRICT_NO_ARGUMENT},
    {"reject_unknown_reverse_client_hostname", reject_unknown_reverse_client, RESTRICT_NO_ARGUMENT},
    {"reject_plaintext_session", reject_plaintext, RESTRICT_NO_ARGUMENT},
    {"reject_unauth_pipelining", reject_unauth_pipelining, RESTRICT_NO_ARGUMENT},
    {"reject_multi_recipient_bounce", reject_multi_recipient_bounce, RESTRICT_NO_ARGUMENT},
    {"reject_unknown_sender_domain", reject_unknown_sender_domain, RESTRICT_NO_ARGUMENT},
    {"reject_unknown_recipient_domain", reject_unknown_recipient_domain, RESTRICT_NO_ARGUMENT},
};

const struct restrict_kind *restrict_kind_find(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (span_ieq(name, span_cstr(kinds[i].name)))
            return &kinds[i];
    return NULL;
}

const struct restrict_kind *restrict_kind_at(size_t index)
{
    return index < COUNT_OF(kinds) ? &kinds[index] : NULL;
}
