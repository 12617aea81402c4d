/* Content transfer encodings (RFC 2045 6): base64 and quoted-printable. */
#include "base/encode.h"
#include "base/error.h"
#include "mail/mime.h"
#include "mail/token.h"

enum mime_encoding mime_encoding_parse(struct span value)
{
    static const struct {
        struct span name;
        enum mime_encoding encoding;
    } names[] = {
        {SPAN_LIT("7bit"), MIME_IDENTITY},
        {SPAN_LIT("8bit"), MIME_IDENTITY},
        {SPAN_LIT("binary"), MIME_IDENTITY},
        {SPAN_LIT("base64"), MIME_BASE64},
        {SPAN_LIT("quoted-printable"), MIME_QUOTED_PRINTABLE},
    };
    struct token_reader r = token_begin(value);
    const char *start;

    if (value.p == NULL)
        return MIME_IDENTITY;
    (void)token_skip_blanks(&r);
    for (start = r.p; !token_at_end(&r) && token_is_mime(*r.p);)
        r.p++;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_ieq(span_make(start, (size_t)(r.p - start)), names[i].name))
            return names[i].encoding;
    return MIME_UNKNOWN;
}

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding)
{
    *d = (struct mime_decoder){.encoding = encoding};
}

void mime_decoder_fini(struct mime_decoder *d)
{
    str_fini(&d->blanks);
}

/* --- base64 --- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Octets outside of the alphabet are skipped; padding ends the data. */
static int feed_base64(struct mime_decoder *d, struct span text, struct str *out)
{
    int error = str_reserve(out, text.n / 4 * 3 + 3);

    for (size_t i = 0; i < text.n && !d->has_ended && error == 0; i++) {
        int digit = base64_digit(text.p[i]);

        if (digit < 0) {
            d->has_ended = text.p[i] == '=' && d->count >= 2;
            continue;
        }
        d->bits = d->bits << 6 | (uint32_t)digit;
        if (++d->count < 4)
            continue;
        d->count = 0;
        error = str_append(
            out,
            span_make((char[]){(char)(d->bits >> 16), (char)(d->bits >> 8), (char)d->bits}, 3));
    }
    return error;
}

static int finish_base64(struct mime_decoder *d, struct str *out)
{
    if (d->count >= 2)
        str_append_char(out, (char)(d->bits >> (d->count == 2 ? 4 : 10)));
    if (d->count == 3)
        str_append_char(out, (char)(d->bits >> 2));
    d->count = 0;
    return str_error(out);
}

/* --- quoted-printable --- */

enum qp_state {
    QP_TEXT,
    QP_ESCAPE,  /* "=" */
    QP_DIGIT,   /* "=X" */
    QP_SOFT,    /* "=" and blanks */
    QP_SOFT_CR, /* the same and CR */
};

static bool is_plain(char c)
{
    return c != '=' && c != ' ' && c != '\t' && c != '\r' && c != '\n';
}

static void flush_blanks(struct mime_decoder *d, struct str *out)
{
    if (d->blanks.len > 0)
        str_append(out, str_span(&d->blanks));
    str_clear(&d->blanks);
}

/* What was taken for an escape is none: it stays as it was written. */
static void flush_escape(struct mime_decoder *d, struct str *out)
{
    if (d->state == QP_TEXT)
        return;
    str_append_char(out, '=');
    if (d->state == QP_DIGIT)
        str_append_char(out, d->digit);
    flush_blanks(d, out);
    if (d->state == QP_SOFT_CR)
        str_append_char(out, '\r');
    d->state = QP_TEXT;
}

/* One octet behind "=". False: it must be looked at again as text. */
static bool feed_escape(struct mime_decoder *d, char c, struct str *out)
{
    if (c == '\n' && d->state != QP_DIGIT) {
        str_clear(&d->blanks);
        d->state = QP_TEXT;
        return true;
    }
    if (d->state == QP_ESCAPE && hex_digit(c) >= 0) {
        d->digit = c;
        d->state = QP_DIGIT;
        return true;
    }
    if (d->state == QP_DIGIT && hex_digit(c) >= 0) {
        str_append_char(out, (char)(hex_digit(d->digit) << 4 | hex_digit(c)));
        d->state = QP_TEXT;
        return true;
    }
    if (ascii_is_blank(c) && (d->state == QP_ESCAPE || d->state == QP_SOFT)) {
        str_append_char(&d->blanks, c);
        d->state = QP_SOFT;
        return true;
    }
    if (c == '\r' && (d->state == QP_ESCAPE || d->state == QP_SOFT)) {
        d->state = QP_SOFT_CR;
        return true;
    }
    flush_escape(d, out);
    return false;
}

static int feed_qp(struct mime_decoder *d, struct span text, struct str *out)
{
    size_t i = 0;

    while (i < text.n) {
        size_t start = i;

        if (d->state != QP_TEXT && feed_escape(d, text.p[i], out)) {
            i++;
            continue;
        }
        while (i < text.n && is_plain(text.p[i]))
            i++;
        if (i > start) {
            flush_blanks(d, out);
            str_append(out, span_make(text.p + start, i - start));
            continue;
        }
        if (text.p[i] == '=') {
            flush_blanks(d, out);
            d->state = QP_ESCAPE;
        } else if (text.p[i] == '\n') {
            /* Blanks in front of a line break were added on the way (RFC 2045 6.7). */
            bool has_cr = d->blanks.len > 0 && d->blanks.data[d->blanks.len - 1] == '\r';

            str_clear(&d->blanks);
            str_append(out, has_cr ? SPAN_LIT("\r\n") : SPAN_LIT("\n"));
        } else {
            str_append_char(&d->blanks, text.p[i]);
        }
        i++;
    }
    return str_error(&d->blanks) != 0 ? str_error(&d->blanks) : str_error(out);
}

/* --- both --- */

int mime_decoder_feed(struct mime_decoder *d, struct span text, struct str *out)
{
    switch (d->encoding) {
    case MIME_BASE64:
        return feed_base64(d, text, out);
    case MIME_QUOTED_PRINTABLE:
        d->blanks.budget = out->budget;
        return feed_qp(d, text, out);
    default:
        return str_append(out, text);
    }
}

int mime_decoder_finish(struct mime_decoder *d, struct str *out)
{
    if (d->encoding == MIME_BASE64)
        return finish_base64(d, out);
    if (d->encoding == MIME_QUOTED_PRINTABLE && d->state != QP_ESCAPE)
        flush_escape(d, out);
    return str_error(out);
}

int mime_decode(enum mime_encoding encoding, struct span text, struct str *out)
{
    struct mime_decoder d;
    int error;

    mime_decoder_init(&d, encoding);
    error = mime_decoder_feed(&d, text, out);
    if (error == 0)
        error = mime_decoder_finish(&d, out);
    mime_decoder_fini(&d);
    return error;
}
