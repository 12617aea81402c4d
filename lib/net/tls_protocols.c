/* Words of the configuration: security levels and protocol lists. */
#include "base/error.h"
#include "net/tls_internal.h"

int tls_level_parse(struct span text, enum tls_level *level)
{
    static const struct {
        const char *word;
        int level;
    } words[] = {
        {"none", TLS_LEVEL_NONE},
        {"may", TLS_LEVEL_MAY},
        {"encrypt", TLS_LEVEL_ENCRYPT},
        {"verify", TLS_LEVEL_VERIFY},
        {"secure", TLS_LEVEL_VERIFY},
        {"dane", -1},
        {"dane-only", -1},
        {"half-dane", -1},
        {"fingerprint", -1},
    };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!span_ieq(text, span_cstr(words[i].word)))
            continue;
        if (words[i].level < 0)
            return ERR_NOT_SUPPORTED;
        *level = (enum tls_level)words[i].level;
        return 0;
    }
    return ERR_SYNTAX;
}

static const struct protocol {
    const char *name;
    int version;
    uint64_t exclude;
} protocols[] = {
    {"SSLv2", SSL2_VERSION, 0}, /* unknown to OpenSSL 3: excluded anyway */
    {"SSLv3", SSL3_VERSION, SSL_OP_NO_SSLv3},
    {"TLSv1", TLS1_VERSION, SSL_OP_NO_TLSv1},
    {"TLSv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
    {"TLSv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
    {"TLSv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3},
};

static const struct protocol *find_protocol(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(protocols); i++) {
        if (span_ieq(name, span_cstr(protocols[i].name)))
            return &protocols[i];
    }
    return NULL;
}

/* One word; *included collects the exclusion bits of protocols named without "!". */
static int parse_word(struct span word, int *lowest, int *highest, uint64_t *excluded,
                      uint64_t *included)
{
    const struct protocol *p;

    if (span_starts(word, SPAN_LIT(">=")) || span_starts(word, SPAN_LIT("<="))) {
        p = find_protocol(span_drop(word, 2));
        if (p == NULL)
            return ERR_SYNTAX;
        *(word.p[0] == '>' ? lowest : highest) = p->version;
        return 0;
    }
    p = find_protocol(word.p[0] == '!' ? span_drop(word, 1) : word);
    if (p == NULL)
        return ERR_SYNTAX;
    *(word.p[0] == '!' ? excluded : included) |= p->exclude;
    return 0;
}

int tls_protocols_parse(struct span text, int *lowest, int *highest, uint64_t *excluded,
                        struct str *why)
{
    struct span word;
    uint64_t included = 0;

    *lowest = *highest = 0;
    *excluded = 0;
    while (span_token(&text, " \t\r\n,:", &word)) {
        if (parse_word(word, lowest, highest, excluded, &included) < 0) {
            str_printf(why, "unknown TLS protocol \"%.*s\"", SPAN_ARG(word));
            return ERR_SYNTAX;
        }
    }
    /* Naming some means: only those. */
    for (size_t i = 0; included != 0 && i < COUNT_OF(protocols); i++) {
        if ((protocols[i].exclude & included) == 0)
            *excluded |= protocols[i].exclude;
    }
    return 0;
}
