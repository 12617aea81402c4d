/* ESMTP parameters (RFC 5321 4.1.1.11) and xtext (RFC 3461 4). */
#include "base/encode.h"
#include "base/error.h"
#include "mail/address.h"
#include "mail/charset.h"

static bool is_keyword_octet(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-';
}

bool esmtp_param_next(struct span *rest, struct span *keyword, struct span *value)
{
    struct span s = *rest;
    size_t n = 0;

    while (s.n > 0 && s.p[0] == ' ')
        s = span_drop(s, 1);
    if (s.n == 0) {
        *rest = s;
        return false;
    }
    while (n < s.n && is_keyword_octet(s.p[n]))
        n++;
    if (n == 0 || s.p[0] == '-' || (n < s.n && s.p[n] != '=' && s.p[n] != ' '))
        return false;
    *keyword = span_take(s, n);
    *value = SPAN_NONE;
    s = span_drop(s, n);
    if (s.n > 0 && s.p[0] == '=') {
        s = span_drop(s, 1);
        for (n = 0; n < s.n && s.p[n] != ' ' && s.p[n] != '=' && (unsigned char)s.p[n] > 32 &&
                    s.p[n] != 127;)
            n++;
        if (n == 0 || (n < s.n && s.p[n] != ' '))
            return false;
        *value = span_take(s, n);
        s = span_drop(s, n);
    }
    *rest = s;
    return true;
}

int xtext_encode(struct str *out, struct span text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c > 32 && c < 127 && c != '+' && c != '=') {
            str_append_char(out, (char)c);
        } else {
            str_append_char(out, '+');
            str_append_char(out, digits[c >> 4]);
            str_append_char(out, digits[c & 15]);
        }
    }
    return str_error(out);
}

int xtext_decode(struct str *out, struct span xtext)
{
    for (size_t i = 0; i < xtext.n; i++) {
        unsigned char c = (unsigned char)xtext.p[i];

        if (c == '+') {
            int high = i + 2 < xtext.n ? hex_digit(xtext.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(xtext.p[i + 2]) : -1;

            if (low < 0)
                return ERR_SYNTAX;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c <= 32 || c == 127 || c == '=') {
            return ERR_SYNTAX;
        }
        str_append_char(out, (char)c);
    }
    return str_error(out);
}
