/* Endpoints as parameters write them. */
#include "base/error.h"
#include "base/mem.h"
#include "net/address.h"

/* Of IANA's registry those that mail configurations name: reading /etc/services
 * would not work inside the sandbox. */
static const struct {
    const char *name;
    uint16_t port;
} services[] = {
    {"smtp", 25},   {"lmtp", 24},    {"submission", 587}, {"submissions", 465}, {"smtps", 465},
    {"imap", 143},  {"imap2", 143},  {"imaps", 993},      {"pop3", 110},        {"pop-3", 110},
    {"pop3s", 995}, {"sieve", 4190}, {"domain", 53},      {"http", 80},         {"https", 443},
    {"qmtp", 209},  {"ssmtp", 465},
};

int net_port_parse(struct span text, uint16_t *port)
{
    uint32_t number;

    if (span_to_u32(text, &number) == 0) {
        if (number == 0 || number > 65535)
            return ERR_SYNTAX;
        *port = (uint16_t)number;
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(services); i++) {
        if (span_ieq(text, span_cstr(services[i].name))) {
            *port = services[i].port;
            return 0;
        }
    }
    return ERR_SYNTAX;
}

static bool is_word(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!ascii_is_print(text.p[i]) || text.p[i] == ' ')
            return false;
    }
    return true;
}

/* "[host]" or "[host]:service". */
static int parse_bracketed(struct span text, struct net_endpoint *e)
{
    ptrdiff_t close = span_find(text, ']');

    if (close < 2)
        return ERR_SYNTAX;
    e->is_literal = true;
    e->host = span_make(text.p + 1, (size_t)close - 1);
    text = span_drop(text, (size_t)close + 1);
    if (text.n == 0)
        return 0;
    if (text.p[0] != ':' || text.n == 1)
        return ERR_SYNTAX;
    e->service = span_drop(text, 1);
    return span_find(e->service, ':') >= 0 ? ERR_SYNTAX : 0;
}

static int parse_inet(struct span text, bool is_listener, struct net_endpoint *e)
{
    ptrdiff_t colon;

    if (text.n > 0 && text.p[0] == '[')
        return parse_bracketed(text, e);
    colon = span_find(text, ':');
    if (colon < 0) {
        *(is_listener ? &e->service : &e->host) = text;
        return text.n > 0 ? 0 : ERR_SYNTAX;
    }
    e->host = span_take(text, (size_t)colon);
    e->service = span_drop(text, (size_t)colon + 1);
    /* A second colon: an IPv6 address without its brackets. */
    return e->service.n == 0 || span_find(e->service, ':') >= 0 ? ERR_SYNTAX : 0;
}

int net_endpoint_parse(struct span text, bool is_listener, struct net_endpoint *e)
{
    static const struct span inet = SPAN_LIT("inet:"), unix_tag = SPAN_LIT("unix:");

    *e = (struct net_endpoint){0};
    if (!is_word(text))
        return ERR_SYNTAX;
    if (span_starts(text, unix_tag)) {
        e->is_unix = true;
        e->host = span_drop(text, unix_tag.n);
        return e->host.n > 0 ? 0 : ERR_SYNTAX;
    }
    if (span_starts(text, inet))
        text = span_drop(text, inet.n);
    return parse_inet(text, is_listener, e);
}
