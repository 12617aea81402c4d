/* Writing header fields. */
#include "base/encode.h"
#include "mail/charset.h"
#include "mail/header.h"

/* Length up to the next blank, the blanks in front of it included. */
static size_t word_length(struct span text)
{
    size_t n = 0;

    while (n < text.n && ascii_is_blank(text.p[n]))
        n++;
    while (n < text.n && !ascii_is_blank(text.p[n]))
        n++;
    return n;
}

static void append_clean(struct str *out, struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        str_append_char(out, c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
    }
}

int header_append(struct str *out, struct span name, struct span value)
{
    size_t column = name.n + 2;

    str_append(out, name);
    str_append(out, SPAN_LIT(": "));
    for (bool is_first = true; value.n > 0; is_first = false) {
        size_t n = word_length(value);

        /* A fold needs a blank to stand at, and text behind it: a line of nothing but
         * blanks would look like the header's end to some. */
        if (!is_first && column + n > HEADER_LINE_SOFT && ascii_is_blank(value.p[0]) &&
            span_trim(span_take(value, n)).n > 0) {
            str_append(out, SPAN_LIT("\r\n"));
            column = 0;
        }
        append_clean(out, span_take(value, n));
        column += n;
        value = span_drop(value, n);
    }
    return str_append(out, SPAN_LIT("\r\n"));
}

int header_encode(struct str *out, struct span text)
{
    /* 45 octets make 60 digits: with the frame at most 75 (RFC 2047 2). */
    enum { WORD_OCTETS = 45 };
    bool is_plain = span_search(text, SPAN_LIT("=?")) < 0;

    for (size_t i = 0; i < text.n && is_plain; i++)
        is_plain = ascii_is_print(text.p[i]) || text.p[i] == '\t';
    if (is_plain)
        return str_append(out, text);
    while (text.n > 0) {
        size_t n = text.n < WORD_OCTETS ? text.n : WORD_OCTETS;

        /* A word ends between characters (RFC 2047 5). */
        while (n < text.n && n > WORD_OCTETS - 4 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
            n--;
        str_append(out, SPAN_LIT("=?utf-8?B?"));
        base64_encode(out, span_take(text, n));
        str_append(out, SPAN_LIT("?="));
        text = span_drop(text, n);
        if (text.n > 0)
            str_append_char(out, ' ');
    }
    return str_error(out);
}

int header_message_id(struct str *out, int64_t now_s, uint64_t unique, struct span host)
{
    return str_printf(out, "<%llx.%016llx@%.*s>", (unsigned long long)now_s,
                      (unsigned long long)unique, SPAN_ARG(host));
}
