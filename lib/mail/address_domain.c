/* Domains and address literals of envelope addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <idn2.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error.h"
#include "mail/address.h"

enum { LABEL_MAX = 63 };

static bool is_label_octet(char c, bool lenient, bool allow_utf8)
{
    if (ascii_is_alpha(c) || ascii_is_digit(c) || c == '-')
        return true;
    return (c == '_' && lenient) || ((unsigned char)c >= 0x80 && allow_utf8);
}

bool address_is_domain(struct span name, bool lenient, bool allow_utf8)
{
    struct span rest = name, label;
    bool is_numeric = true;

    if (name.n == 0 || name.n > ADDRESS_DOMAIN_MAX)
        return false;
    while (span_next(&rest, '.', &label)) {
        if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++) {
            if (!is_label_octet(label.p[i], lenient, allow_utf8))
                return false;
            is_numeric = is_numeric && ascii_is_digit(label.p[i]);
        }
    }
    return !is_numeric;
}

int address_literal_ip(struct span domain, bool lenient, int *family, uint8_t ip[16])
{
    static const struct span tag = SPAN_LIT("IPv6:");
    char text[INET6_ADDRSTRLEN];
    bool has_tag;

    if (domain.n < 3 || domain.p[0] != '[' || domain.p[domain.n - 1] != ']')
        return ERR_SYNTAX;
    domain = span_make(domain.p + 1, domain.n - 2);
    has_tag = span_istarts(domain, tag);
    if (has_tag)
        domain = span_drop(domain, tag.n);
    if (domain.n >= sizeof(text) || memchr(domain.p, '\0', domain.n) != NULL)
        return ERR_SYNTAX;
    memcpy(text, domain.p, domain.n);
    text[domain.n] = '\0';
    *family = AF_INET;
    if (!has_tag && inet_pton(AF_INET, text, ip) == 1)
        return 0;
    *family = AF_INET6;
    if ((has_tag || lenient) && inet_pton(AF_INET6, text, ip) == 1)
        return 0;
    return ERR_SYNTAX;
}

static bool is_plain_ascii(struct span domain)
{
    struct span rest = domain, label;

    for (size_t i = 0; i < domain.n; i++)
        if ((unsigned char)domain.p[i] >= 0x80)
            return false;
    while (span_next(&rest, '.', &label))
        if (span_istarts(label, SPAN_LIT("xn--")))
            return false;
    return true;
}

static int convert(struct str *out, struct span domain, bool to_ascii)
{
    char name[ADDRESS_DOMAIN_MAX + 1], *converted = NULL;
    int result;

    if (domain.n == 0 || is_plain_ascii(domain)) {
        for (size_t i = 0; i < domain.n; i++)
            str_append_char(out, to_ascii ? ascii_lower(domain.p[i]) : domain.p[i]);
        return str_error(out);
    }
    if (domain.n > ADDRESS_DOMAIN_MAX)
        return ERR_TOO_LONG;
    if (memchr(domain.p, '\0', domain.n) != NULL)
        return ERR_SYNTAX;
    memcpy(name, domain.p, domain.n);
    name[domain.n] = '\0';
    result = to_ascii ? idn2_to_ascii_8z(name, &converted, IDN2_NONTRANSITIONAL)
                      : idn2_to_unicode_8z8z(name, &converted, 0);
    if (result == IDN2_OK)
        str_append_cstr(out, converted);
    idn2_free(converted);
    if (result == IDN2_MALLOC)
        return -ENOMEM;
    return result == IDN2_OK ? str_error(out) : ERR_SYNTAX;
}

int address_domain_to_ascii(struct str *out, struct span domain)
{
    return convert(out, domain, true);
}

int address_domain_to_unicode(struct str *out, struct span domain)
{
    return convert(out, domain, false);
}
