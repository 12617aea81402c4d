/* UTF-8 (RFC 3629). */
#include "mail/charset.h"

int32_t utf8_next(struct span *text)
{
    const unsigned char *p = (const unsigned char *)text->p;
    unsigned more = p[0] < 0x80   ? 0
                    : p[0] < 0xc2 ? 9
                    : p[0] < 0xe0 ? 1
                    : p[0] < 0xf0 ? 2
                    : p[0] < 0xf5 ? 3
                                  : 9;
    int32_t c = more == 0 ? p[0] : p[0] & (0x3f >> (more & 3));
    bool is_good = more <= 3 && more < text->n;

    for (unsigned i = 1; i <= more && is_good; i++) {
        is_good = (p[i] & 0xc0) == 0x80;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (is_good && more == 2)
        is_good = c >= 0x800 && (c < 0xd800 || c > 0xdfff);
    if (is_good && more == 3)
        is_good = c >= 0x10000 && c <= 0x10ffff;
    *text = span_drop(*text, is_good ? more + 1 : 1);
    return is_good ? c : -1;
}

int utf8_append(struct str *out, uint32_t c)
{
    char octets[4];
    size_t n;

    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        c = 0xfffd;
    if (c < 0x80) {
        octets[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        octets[0] = (char)(0xc0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        octets[0] = (char)(0xe0 | c >> 12);
        n = 3;
    } else {
        octets[0] = (char)(0xf0 | c >> 18);
        n = 4;
    }
    for (size_t i = n - 1; i > 0 && n > 1; i--, c >>= 6)
        octets[i] = (char)(0x80 | (c & 0x3f));
    return str_append(out, span_make(octets, n));
}

/* Octets of UTF-8 at the front. */
static size_t valid_length(struct span text)
{
    struct span rest = text;

    while (rest.n > 0) {
        struct span at = rest = span_drop(rest, span_ascii(rest));

        if (at.n > 0 && utf8_next(&rest) < 0)
            return text.n - at.n;
    }
    return text.n;
}

bool utf8_is_valid(struct span text)
{
    return valid_length(text) == text.n;
}

int utf8_repair(struct str *out, struct span text)
{
    while (text.n > 0) {
        size_t n = valid_length(text);

        str_append(out, span_take(text, n));
        text = span_drop(text, n);
        if (text.n > 0) {
            (void)utf8_next(&text);
            str_append(out, SPAN_LIT("\xef\xbf\xbd"));
        }
    }
    return str_error(out);
}
