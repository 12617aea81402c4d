#include "mail/search.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "mail/casemap.h"
#include "mail/charset.h"
#include "mail/header.h"

enum {
    NEEDLE_MAX = 4096,
    /* A part is decoded and looked at in pieces of so many octets. */
    PIECE = 4096,
};

struct search_needle {
    struct str folded;
};

/* Text is added in pieces; what stays between two is one octet less than the needle. */
struct finder {
    struct span needle;
    struct str window;
    bool is_found;
};

int search_needle_new(struct span text, struct search_needle **out)
{
    struct search_needle *n;
    int error;

    *out = NULL;
    if (text.n > NEEDLE_MAX)
        return ERR_TOO_LONG;
    n = NEW(struct search_needle);
    if (n == NULL)
        return -ENOMEM;
    error = casemap_fold(&n->folded, text);
    if (error < 0) {
        search_needle_free(n);
        return error;
    }
    *out = n;
    return 0;
}

void search_needle_free(struct search_needle *n)
{
    if (n == NULL)
        return;
    str_fini(&n->folded);
    free(n);
}

static void finder_init(struct finder *f, const struct search_needle *n, struct budget *budget)
{
    *f = (struct finder){.needle = str_span(&n->folded)};
    str_init(&f->window, budget);
}

/* Whole characters of UTF-8. */
static int finder_feed(struct finder *f, struct span utf8)
{
    int error;

    if (f->is_found || utf8.n == 0)
        return 0;
    error = casemap_fold(&f->window, utf8);
    if (error < 0)
        return error;
    if (f->window.len < f->needle.n)
        return 0;
    f->is_found = memmem(f->window.data, f->window.len, f->needle.p, f->needle.n) != NULL;
    str_drop_front(&f->window, f->window.len - f->needle.n + 1);
    return 0;
}

static int finder_end(struct finder *f, int error)
{
    str_fini(&f->window);
    return error < 0 ? error : f->is_found;
}

/* --- headers --- */

/* Runs of blanks as one. */
static void squeeze_blanks(struct str *text)
{
    size_t to = 0;

    for (size_t i = 0; i < text->len; i++) {
        char c = text->data[i];

        if (ascii_is_space(c)) {
            if (to > 0 && text->data[to - 1] == ' ')
                continue;
            c = ' ';
        }
        text->data[to++] = c;
    }
    str_truncate(text, to);
}

static int match_value(struct span value, const struct search_needle *n, struct budget *budget)
{
    struct finder f;
    struct str text;
    int error;

    str_init(&text, budget);
    finder_init(&f, n, budget);
    error = header_decode(&text, value);
    if (error == 0) {
        squeeze_blanks(&text);
        error = finder_feed(&f, str_span(&text));
    }
    str_fini(&text);
    return finder_end(&f, error);
}

int search_header(struct span message, struct span name, const struct search_needle *n,
                  struct budget *budget)
{
    struct header_walk walk = header_begin(message);
    struct header_field field;

    while (header_next(&walk, &field)) {
        int found;

        if (!span_ieq(field.name, name))
            continue;
        if (n->folded.len == 0)
            return 1;
        found = match_value(field.value, n, budget);
        if (found != 0)
            return found;
    }
    return 0;
}

/* A whole header as text: "Name: decoded value" lines. */
static int feed_header(struct finder *f, struct span header)
{
    struct header_walk walk = header_begin(header);
    struct header_field field;
    struct str text;
    int error = 0;

    str_init(&text, f->window.budget);
    while (error == 0 && !f->is_found && header_next(&walk, &field)) {
        str_clear(&text);
        if (field.name.n > 0) {
            utf8_repair(&text, field.name);
            str_append(&text, SPAN_LIT(": "));
        }
        error = header_decode(&text, field.value);
        str_append(&text, SPAN_LIT("\r\n"));
        if (error == 0)
            error = finder_feed(f, str_span(&text));
    }
    str_fini(&text);
    return error;
}

/* --- bodies --- */

static bool has_text(const struct mime_part *part)
{
    if ((part->flags & (MIME_MULTIPART | MIME_MESSAGE)) != 0)
        return false;
    /* A type that does not parse is text too (RFC 2045 5.2). */
    return part->type.type.n == 0 || span_ieq(part->type.type, SPAN_LIT("text")) ||
           span_ieq(part->type.type, SPAN_LIT("message"));
}

/* The charset of a part; UTF-8 (which reads US-ASCII too) when it names none or an unknown
 * one. */
static int open_charset(const struct mime_part *part, struct charset_decoder **out)
{
    const struct mime_param *param = mime_value_find(&part->type, SPAN_LIT("charset"));
    int error = ERR_NOT_FOUND;

    if (param != NULL)
        error = charset_decoder_new(param->value, out);
    if (error == ERR_NOT_FOUND)
        error = charset_decoder_new(SPAN_LIT("utf-8"), out);
    return error;
}

struct body_reader {
    struct mime_decoder decoder;
    struct charset_decoder *charset;
    struct str octets, utf8;
};

/* text p NULL: finish. */
static int feed_piece(struct body_reader *b, struct span text, struct finder *f)
{
    int error;

    str_clear(&b->octets);
    str_clear(&b->utf8);
    error = text.p == NULL ? mime_decoder_finish(&b->decoder, &b->octets)
                           : mime_decoder_feed(&b->decoder, text, &b->octets);
    if (error == 0)
        error = charset_decoder_feed(b->charset, str_span(&b->octets), &b->utf8);
    if (error == 0 && text.p == NULL)
        error = charset_decoder_finish(b->charset, &b->utf8);
    return error == 0 ? finder_feed(f, str_span(&b->utf8)) : error;
}

static int feed_body(struct finder *f, struct span body, const struct mime_part *part)
{
    enum mime_encoding encoding = mime_encoding_parse(part->transfer_encoding);
    struct body_reader b;
    int error;

    if (encoding == MIME_UNKNOWN || body.n == 0)
        return 0;
    error = open_charset(part, &b.charset);
    if (error < 0)
        return error;
    mime_decoder_init(&b.decoder, encoding);
    str_init(&b.octets, f->window.budget);
    str_init(&b.utf8, f->window.budget);
    for (; error == 0 && body.n > 0 && !f->is_found; body = span_drop(body, PIECE))
        error = feed_piece(&b, span_take(body, PIECE), f);
    if (error == 0 && !f->is_found)
        error = feed_piece(&b, SPAN_NONE, f);
    str_fini(&b.octets);
    str_fini(&b.utf8);
    mime_decoder_fini(&b.decoder);
    charset_decoder_free(b.charset);
    return error;
}

static int search_parts(struct span message, const struct mime_part *root,
                        const struct search_needle *n, bool with_headers, struct budget *budget)
{
    struct finder f;
    int error = 0;

    if (n->folded.len == 0)
        return 1;
    finder_init(&f, n, budget);
    for (const struct mime_part *part = root; part != NULL && error == 0 && !f.is_found;
         part = mime_part_walk(part)) {
        /* Nothing matches across the border of two parts. */
        str_clear(&f.window);
        if (with_headers)
            error = feed_header(&f, mime_part_header(message, part));
        if (error == 0 && has_text(part)) {
            str_clear(&f.window);
            error = feed_body(&f, mime_part_body(message, part), part);
        }
    }
    return finder_end(&f, error);
}

int search_body(struct span message, const struct mime_part *root, const struct search_needle *n,
                struct budget *budget)
{
    return search_parts(message, root, n, false, budget);
}

int search_text(struct span message, const struct mime_part *root, const struct search_needle *n,
                struct budget *budget)
{
    return search_parts(message, root, n, true, budget);
}
