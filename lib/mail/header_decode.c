/* Encoded words in headers (RFC 2047), with the leniency real mail needs. */
#include <errno.h>

#include "base/encode.h"
#include "base/error.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "mail/mime.h"

/* Octets of adjacent words in one charset are put together before they are converted: some
 * senders cut a character in two. */
struct word_decoder {
    struct str *out;
    struct str octets;
    struct span charset; /* of octets */
};

static void flush_words(struct word_decoder *w)
{
    struct span octets = str_span(&w->octets);

    if (octets.n > 0 && charset_to_utf8(w->out, w->charset, octets) == ERR_NOT_FOUND)
        utf8_repair(w->out, octets);
    str_clear(&w->octets);
    w->charset = SPAN_NONE;
}

/* Text between encoded words: line breaks go, the blank behind one becomes a space. */
static void append_plain(struct word_decoder *w, struct span text)
{
    struct span line;

    flush_words(w);
    while (text.n > 0) {
        const char *lf = memchr(text.p, '\n', text.n);

        line = span_take(text, lf == NULL ? text.n : (size_t)(lf - text.p));
        text = span_drop(text, lf == NULL ? text.n : line.n + 1);
        if (lf != NULL && line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        utf8_repair(w->out, line);
        if (lf != NULL && text.n > 0 && text.p[0] == '\t') {
            str_append_char(w->out, ' ');
            text = span_drop(text, 1);
        }
    }
}

/* The Q encoding (RFC 2047 4.2). */
static void decode_q(struct str *out, struct span text)
{
    while (text.n > 0) {
        int high = text.p[0] == '=' && text.n > 2 ? hex_digit(text.p[1]) : -1;
        int low = high >= 0 ? hex_digit(text.p[2]) : -1;

        if (low >= 0)
            str_append_char(out, (char)(high << 4 | low));
        else
            str_append_char(out, text.p[0] == '_' ? ' ' : text.p[0]);
        text = span_drop(text, low >= 0 ? 3 : 1);
    }
}

/* At "=?": length of the encoded word, 0 when it is none. */
static size_t parse_word(struct span text, struct span *charset, char *encoding,
                         struct span *payload)
{
    struct span rest = span_drop(text, 2), word;
    ptrdiff_t end;

    if (!span_next(&rest, '?', charset) || !span_next(&rest, '?', &word) || rest.p == NULL)
        return 0;
    if (word.n != 1 || charset->n == 0 || memchr(charset->p, '\n', charset->n) != NULL)
        return 0;
    *encoding = ascii_lower(word.p[0]);
    end = span_find(rest, '?');
    if (end < 0 || (size_t)end + 1 >= rest.n || rest.p[end + 1] != '=' ||
        (*encoding != 'q' && *encoding != 'b'))
        return 0;
    *payload = span_take(rest, (size_t)end);
    /* RFC 2231 5: "charset*language". */
    if (span_find(*charset, '*') >= 0)
        charset->n = (size_t)span_find(*charset, '*');
    return (size_t)(rest.p - text.p) + (size_t)end + 2;
}

static bool is_only_space(struct span text)
{
    return span_trim(text).n == 0;
}

int header_decode(struct str *out, struct span value)
{
    struct word_decoder w = {.out = out};
    struct span plain = value, rest = value;
    bool after_word = false;
    int error;

    str_init(&w.octets, out->budget);
    while (rest.n > 1 && str_error(out) == 0) {
        struct span charset, payload, between;
        const char *at = memchr(rest.p, '=', rest.n - 1);
        char encoding;
        size_t n;

        if (at == NULL)
            break;
        rest = span_drop(rest, (size_t)(at - rest.p));
        n = at[1] == '?' ? parse_word(rest, &charset, &encoding, &payload) : 0;
        if (n == 0) {
            rest = span_drop(rest, 1);
            continue;
        }
        between = span_make(plain.p, (size_t)(at - plain.p));
        if (between.n > 0 && !(after_word && is_only_space(between)))
            append_plain(&w, between);
        if (!span_ieq(charset, w.charset))
            flush_words(&w);
        w.charset = charset;
        if (encoding == 'q')
            decode_q(&w.octets, payload);
        else
            mime_decode(MIME_BASE64, payload, &w.octets);
        after_word = true;
        rest = plain = span_drop(rest, n);
    }
    append_plain(&w, plain);
    error = str_error(&w.octets) != 0 ? str_error(&w.octets) : str_error(out);
    str_fini(&w.octets);
    return error;
}
