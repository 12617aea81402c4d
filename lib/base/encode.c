#include "base/encode.h"

#include "base/error.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(struct str *out, struct span data)
{
    const unsigned char *p = (const unsigned char *)data.p;
    size_t n = data.n;

    if (str_reserve(out, (n + 2) / 3 * 4) < 0)
        return str_error(out);
    for (; n > 0; p += n < 3 ? n : 3, n -= n < 3 ? n : 3) {
        uint32_t group =
            (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? (uint32_t)p[2] : 0);
        char quad[4] = {alphabet[group >> 18], alphabet[group >> 12 & 63],
                        n > 1 ? alphabet[group >> 6 & 63] : '=',
                        n > 2 ? alphabet[group & 63] : '='};
        str_append(out, span_make(quad, 4));
    }
    return str_error(out);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

int base64_decode(struct str *out, struct span text)
{
    if (text.n % 4 != 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < text.n; i += 4) {
        const char *q = text.p + i;
        bool last = i + 4 == text.n;
        int pad = last && q[3] == '=' ? (q[2] == '=' ? 2 : 1) : 0;
        uint32_t group = 0;
        char octets[3];

        for (int k = 0; k < 4; k++) {
            int value = k >= 4 - pad ? 0 : base64_value(q[k]);
            if (value < 0)
                return ERR_SYNTAX;
            group = group << 6 | (uint32_t)value;
        }
        if ((pad == 1 && (group & 0xff) != 0) || (pad == 2 && (group & 0xffff) != 0))
            return ERR_SYNTAX;
        octets[0] = (char)(group >> 16);
        octets[1] = (char)(group >> 8);
        octets[2] = (char)group;
        if (str_append(out, span_make(octets, (size_t)(3 - pad))) < 0)
            return str_error(out);
    }
    return str_error(out);
}

int hex_encode(struct str *out, struct span data)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < data.n; i++) {
        unsigned char octet = (unsigned char)data.p[i];
        char pair[2] = {digits[octet >> 4], digits[octet & 15]};
        str_append(out, span_make(pair, 2));
    }
    return str_error(out);
}

int hex_digit(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(struct str *out, struct span text)
{
    if (text.n % 2 != 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_digit(text.p[i]), low = hex_digit(text.p[i + 1]);
        if (high < 0 || low < 0)
            return ERR_SYNTAX;
        if (str_append_char(out, (char)(high << 4 | low)) < 0)
            return str_error(out);
    }
    return str_error(out);
}
