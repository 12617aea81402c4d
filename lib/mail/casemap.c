/* i;unicode-casemap (RFC 5051) with the tables of libunistring. */
#include "mail/casemap.h"

#include <unicase.h>
#include <uninorm.h>

#include "mail/charset.h"

/* A decomposition has at most UC_DECOMPOSITION_MAX_LENGTH (32) characters, and its first
 * one may decompose again. */
enum { STACK_MAX = 4 * UC_DECOMPOSITION_MAX_LENGTH };

static void append_folded(struct str *out, ucs4_t c)
{
    ucs4_t stack[STACK_MAX];
    unsigned depth = 0;

    stack[depth++] = uc_totitle(c);
    while (depth > 0) {
        ucs4_t parts[UC_DECOMPOSITION_MAX_LENGTH];
        int tag, n = -1;

        c = stack[--depth];
        if (depth + UC_DECOMPOSITION_MAX_LENGTH <= STACK_MAX)
            n = uc_decomposition(c, &tag, parts);
        if (n < 0)
            utf8_append(out, c);
        while (n > 0)
            stack[depth++] = parts[--n];
    }
}

/* Eight octets at a time: octet by octet this was a fifth of SEARCH TEXT. */
static void upper_ascii(char *to, struct span text)
{
    const uint64_t ones = 0x0101010101010101;
    size_t i = 0;
    uint64_t word;

    for (; i + sizeof(word) <= text.n; i += sizeof(word)) {
        memcpy(&word, text.p + i, sizeof(word));
        /* The high bit of an octet: at least 'a', and not above 'z'. */
        word -= ((word + ones * (0x80 - 'a')) & ~(word + ones * (0x7f - 'z')) & (ones << 7)) >> 2;
        memcpy(to + i, &word, sizeof(word));
    }
    for (; i < text.n; i++)
        to[i] = ascii_upper(text.p[i]);
}

int casemap_fold(struct str *out, struct span text)
{
    while (text.n > 0) {
        size_t n = span_ascii(text);
        int32_t c;

        if (n > 0 && str_reserve(out, n) == 0) {
            upper_ascii(out->data + out->len, span_take(text, n));
            out->len += n;
            out->data[out->len] = '\0';
            text = span_drop(text, n);
            continue;
        }
        c = utf8_next(&text);
        if (c < 0)
            utf8_append(out, 0xfffd);
        else
            append_folded(out, (ucs4_t)c);
        if (str_error(out) != 0)
            break;
    }
    return str_error(out);
}
