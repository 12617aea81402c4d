/* Mailbox names: modified UTF-7 (RFC 3501 5.1.3), strict in both directions. */
#include "base/error.h"
#include "mail/charset.h"
#include "mail/imap.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_value(char c)
{
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    return at == NULL ? -1 : (int)(at - digits);
}

/* One UTF-16 unit of a shifted sequence; *high holds a high surrogate that waits. */
static int add_unit(struct str *out, uint32_t unit, uint32_t *high)
{
    if (*high != 0) {
        if (unit < 0xdc00 || unit > 0xdfff)
            return ERR_SYNTAX;
        unit = 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00);
        *high = 0;
        return utf8_append(out, unit);
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return 0;
    }
    /* Printable ASCII must stand for itself; a lone low surrogate is nothing. */
    if ((unit >= 0x20 && unit < 0x7f) || (unit >= 0xdc00 && unit <= 0xdfff) || unit == 0)
        return ERR_SYNTAX;
    return utf8_append(out, unit);
}

/* What stands between & and -. */
static int decode_shifted(struct str *out, struct span text)
{
    uint32_t bits = 0, high = 0;
    unsigned count = 0;

    for (size_t i = 0; i < text.n; i++) {
        int value = digit_value(text.p[i]);

        if (value < 0)
            return ERR_SYNTAX;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 16) {
            int error = add_unit(out, bits >> (count - 16) & 0xffff, &high);

            if (error < 0)
                return error;
            count -= 16;
        }
    }
    /* Left-over bits are zero and fewer than a digit; no surrogate waits. */
    if (high != 0 || count >= 6 || (bits & ((1u << count) - 1)) != 0)
        return ERR_SYNTAX;
    return 0;
}

int imap_utf7_decode(struct str *out, struct span name)
{
    bool after_shift = false;

    while (name.n > 0) {
        char c = name.p[0];
        ptrdiff_t end;
        int error;

        if (!ascii_is_print(c))
            return ERR_SYNTAX;
        if (c != '&') {
            str_append_char(out, c);
            name = span_drop(name, 1);
            after_shift = false;
            continue;
        }
        end = span_find(name, '-');
        if (end < 0)
            return ERR_SYNTAX;
        if (end == 1) {
            str_append_char(out, '&');
            after_shift = false;
        } else {
            /* Two shifted sequences in a row could have been one. */
            if (after_shift)
                return ERR_SYNTAX;
            error = decode_shifted(out, span_make(name.p + 1, (size_t)end - 1));
            if (error < 0)
                return error;
            after_shift = true;
        }
        name = span_drop(name, (size_t)end + 1);
    }
    return str_error(out);
}

static void encode_unit(struct str *out, uint32_t unit, uint32_t *bits, unsigned *count)
{
    *bits = *bits << 16 | unit;
    for (*count += 16; *count >= 6; *count -= 6)
        str_append_char(out, digits[*bits >> (*count - 6) & 63]);
}

int imap_utf7_encode(struct str *out, struct span name)
{
    while (name.n > 0) {
        uint32_t bits = 0;
        unsigned count = 0;

        if (ascii_is_print(name.p[0])) {
            str_append_char(out, name.p[0]);
            if (name.p[0] == '&')
                str_append_char(out, '-');
            name = span_drop(name, 1);
            continue;
        }
        str_append_char(out, '&');
        while (name.n > 0 && !ascii_is_print(name.p[0])) {
            int32_t c = utf8_next(&name);

            if (c <= 0)
                return ERR_SYNTAX;
            if (c >= 0x10000) {
                encode_unit(out, 0xd800 + ((uint32_t)(c - 0x10000) >> 10), &bits, &count);
                encode_unit(out, 0xdc00 + ((uint32_t)(c - 0x10000) & 0x3ff), &bits, &count);
            } else {
                encode_unit(out, (uint32_t)c, &bits, &count);
            }
        }
        if (count > 0)
            str_append_char(out, digits[bits << (6 - count) & 63]);
        str_append_char(out, '-');
    }
    return str_error(out);
}
