/* restrictions.c: which smtpd_*_restrictions there are; see restrictions.h. */
#include "conf/restrictions.h"

#include "base/error.h"
#include "base/mem.h"

enum { CLASS_DEPTH_MAX = 20 };

static const char *const parameters[] = {
    "smtpd_client_restrictions",      "smtpd_helo_restrictions",      "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",       "smtpd_recipient_restrictions", "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
};

static const struct {
    const char *name;
    enum restrict_argument argument;
} known[] = {
    {"permit", RESTRICT_NO_ARGUMENT},
    {"reject", RESTRICT_NO_ARGUMENT},
    {"defer", RESTRICT_NO_ARGUMENT},
    {"defer_if_permit", RESTRICT_NO_ARGUMENT},
    {"defer_if_reject", RESTRICT_NO_ARGUMENT},
    {"warn_if_reject", RESTRICT_NO_ARGUMENT},
    {"sleep", RESTRICT_NUMBER},
    {"permit_mynetworks", RESTRICT_NO_ARGUMENT},
    {"permit_sasl_authenticated", RESTRICT_NO_ARGUMENT},
    {"permit_auth_destination", RESTRICT_NO_ARGUMENT},
    {"reject_unauth_destination", RESTRICT_NO_ARGUMENT},
    {"defer_unauth_destination", RESTRICT_NO_ARGUMENT},
    {"reject_unlisted_recipient", RESTRICT_NO_ARGUMENT},
    {"check_recipient_maps", RESTRICT_NO_ARGUMENT},
    {"reject_unlisted_sender", RESTRICT_NO_ARGUMENT},
    {"check_client_access", RESTRICT_TABLE},
    {"check_helo_access", RESTRICT_TABLE},
    {"check_sender_access", RESTRICT_TABLE},
    {"check_recipient_access", RESTRICT_TABLE},
    {"reject_non_fqdn_helo_hostname", RESTRICT_NO_ARGUMENT},
    {"reject_non_fqdn_hostname", RESTRICT_NO_ARGUMENT},
    {"reject_invalid_helo_hostname", RESTRICT_NO_ARGUMENT},
    {"reject_invalid_hostname", RESTRICT_NO_ARGUMENT},
    {"reject_non_fqdn_sender", RESTRICT_NO_ARGUMENT},
    {"reject_non_fqdn_recipient", RESTRICT_NO_ARGUMENT},
    {"reject_unknown_client_hostname", RESTRICT_NO_ARGUMENT},
    {"reject_unknown_client", RESTRICT_NO_ARGUMENT},
    {"reject_unknown_reverse_client_hostname", RESTRICT_NO_ARGUMENT},
    {"reject_plaintext_session", RESTRICT_NO_ARGUMENT},
    {"reject_unauth_pipelining", RESTRICT_NO_ARGUMENT},
    {"reject_multi_recipient_bounce", RESTRICT_NO_ARGUMENT},
    {"reject_unknown_sender_domain", RESTRICT_NO_ARGUMENT},
    {"reject_unknown_recipient_domain", RESTRICT_NO_ARGUMENT},
};

bool restriction_is_known(struct span name, enum restrict_argument *argument)
{
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (span_ieq(name, span_cstr(known[i].name))) {
            *argument = known[i].argument;
            return true;
        }
    return false;
}

size_t restriction_count(void)
{
    return COUNT_OF(known);
}

const char *restriction_name(size_t index)
{
    return known[index].name;
}

bool restriction_next_word(struct span *rest, struct span *word)
{
    size_t depth = 0, n;

    while (rest->n > 0 && (rest->p[0] == ',' || ascii_is_space(rest->p[0])))
        *rest = span_drop(*rest, 1);
    for (n = 0; n < rest->n; n++) {
        char c = rest->p[n];

        if (c == '{')
            depth++;
        else if (c == '}' && depth > 0)
            depth--;
        else if (depth == 0 && (c == ',' || ascii_is_space(c)))
            break;
    }
    *word = span_take(*rest, n);
    *rest = span_drop(*rest, n);
    if (word->n > 2 && word->p[0] == '{' && word->p[word->n - 1] == '}')
        *word = span_trim(span_take(span_drop(*word, 1), word->n - 2));
    return word->n > 0;
}

static bool is_class_name(const struct conf *conf, struct span name)
{
    struct span rest = span_cstr(conf_string(conf, "smtpd_restriction_classes")), word;

    while (span_token(&rest, ", \t\r\n", &word))
        if (span_eq(word, name))
            return true;
    return false;
}

static bool is_table(struct span word)
{
    return span_find(word, ':') > 0;
}

static int check_list(const struct conf *conf, struct span list, struct span *bad, unsigned depth);

static int check_class(const struct conf *conf, struct span name, struct span *bad, unsigned depth)
{
    const char *value;

    *bad = name;
    if (depth >= CLASS_DEPTH_MAX)
        return ERR_NOT_SUPPORTED;
    value = conf_lookup(conf, name);
    return value == NULL ? ERR_NOT_SUPPORTED : check_list(conf, span_cstr(value), bad, depth + 1);
}

static int check_list(const struct conf *conf, struct span list, struct span *bad, unsigned depth)
{
    struct span word, argument;

    while (restriction_next_word(&list, &word)) {
        enum restrict_argument kind = RESTRICT_NO_ARGUMENT;
        bool is_known = restriction_is_known(word, &kind);
        uint64_t number;
        int rc = 0;

        *bad = word;
        if (!is_known && is_class_name(conf, word))
            rc = check_class(conf, word, bad, depth);
        else if (!is_known)
            rc = ERR_NOT_SUPPORTED;
        else if (kind == RESTRICT_TABLE &&
                 (!restriction_next_word(&list, &argument) || !is_table(argument)))
            rc = ERR_NOT_SUPPORTED;
        else if (kind == RESTRICT_NUMBER &&
                 (!restriction_next_word(&list, &argument) || span_to_u64(argument, &number) != 0))
            rc = ERR_NOT_SUPPORTED;
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Without opening tables: 0, or ERR_NOT_SUPPORTED with *bad naming the first word of
 * list that is not implemented (a restriction class of conf is fine). */
static int check_text(const struct conf *conf, struct span list, struct span *bad)
{
    return check_list(conf, list, bad, 0);
}

/* As Postfix: without one of these everybody may relay, so nobody may start. */
static bool has_relay_control(const struct conf *conf)
{
    static const char *const safe[] = {"reject_unauth_destination", "defer_unauth_destination",
                                       "reject", "defer", "defer_if_permit"};
    static const char *const lists[] = {"smtpd_relay_restrictions", "smtpd_recipient_restrictions"};

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct span rest = span_cstr(conf_string(conf, lists[i])), word, before = SPAN_NONE;

        for (; restriction_next_word(&rest, &word); before = word)
            for (size_t j = 0; j < COUNT_OF(safe); j++)
                if (span_ieq(word, span_cstr(safe[j])) &&
                    !span_ieq(before, SPAN_LIT("warn_if_reject")))
                    return true;
    }
    return false;
}

/* Access tables may name a class that no list does. */
static int check_classes(const struct conf *conf, struct str *why)
{
    struct span rest = span_cstr(conf_string(conf, "smtpd_restriction_classes")), name, bad;

    while (span_token(&rest, ", \t\r\n", &name))
        if (check_class(conf, name, &bad, 0) != 0) {
            str_printf(why, "%.*s: %.*s: unknown or unsupported restriction", SPAN_ARG(name),
                       SPAN_ARG(bad));
            return ERR_NOT_SUPPORTED;
        }
    return 0;
}

int restrictions_check_all(const struct conf *conf, struct str *why)
{
    for (size_t i = 0; i < COUNT_OF(parameters); i++) {
        struct span bad;

        if (check_text(conf, span_cstr(conf_string(conf, parameters[i])), &bad) != 0) {
            str_printf(why, "%s: %.*s: unknown or unsupported restriction", parameters[i],
                       SPAN_ARG(bad));
            return ERR_NOT_SUPPORTED;
        }
    }
    if (check_classes(conf, why) != 0)
        return ERR_NOT_SUPPORTED;
    if (!has_relay_control(conf)) {
        str_append_cstr(why, "in parameter smtpd_relay_restrictions or "
                             "smtpd_recipient_restrictions, specify at least one working instance "
                             "of: reject_unauth_destination, defer_unauth_destination, reject, "
                             "defer or defer_if_permit");
        return ERR_NOT_SUPPORTED;
    }
    return 0;
}
