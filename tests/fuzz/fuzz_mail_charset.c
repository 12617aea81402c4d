/*
 * Charsets, transfer encodings, case mapping: in pieces as in one go. The first octet
 * chooses the charset, the second the size of the pieces.
 */
#include <stdlib.h>

#include "mail/casemap.h"
#include "mail/charset.h"
#include "mail/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const charsets[] = {
    "utf-8",  "utf-16",    "utf-16le",    "iso-8859-1",  "windows-1255",
    "koi8-r", "gb18030",   "big5",        "euc-jp",      "euc-kr",
    "euc-tw", "shift_jis", "iso-2022-jp", "iso-2022-kr", "big5-hkscs",
};

static void check_charset(struct span name, struct span text, size_t step)
{
    struct str whole = {0}, pieces = {0};
    struct charset_decoder *d;

    if (charset_to_utf8(&whole, name, text) != 0 || charset_decoder_new(name, &d) != 0)
        abort();
    for (struct span rest = text; rest.n > 0; rest = span_drop(rest, step))
        charset_decoder_feed(d, span_take(rest, step), &pieces);
    charset_decoder_finish(d, &pieces);
    charset_decoder_free(d);
    if (!utf8_is_valid(str_span(&whole)) || !utf8_is_valid(str_span(&pieces)))
        abort();
    if (!span_eq(str_span(&whole), str_span(&pieces)) && utf8_is_valid(text) &&
        span_eq(name, SPAN_LIT("utf-8")))
        abort();
    str_clear(&pieces);
    casemap_fold(&pieces, str_span(&whole));
    if (!utf8_is_valid(str_span(&pieces)))
        abort();
    str_fini(&whole);
    str_fini(&pieces);
}

static void check_encoding(enum mime_encoding encoding, struct span text, size_t step)
{
    struct str whole = {0}, pieces = {0};
    struct mime_decoder d;

    mime_decode(encoding, text, &whole);
    mime_decoder_init(&d, encoding);
    for (struct span rest = text; rest.n > 0; rest = span_drop(rest, step))
        mime_decoder_feed(&d, span_take(rest, step), &pieces);
    mime_decoder_finish(&d, &pieces);
    mime_decoder_fini(&d);
    if (!span_eq(str_span(&whole), str_span(&pieces)))
        abort();
    str_fini(&whole);
    str_fini(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text;
    size_t step;

    if (size < 2)
        return 0;
    text = span_make(data + 2, size - 2);
    step = data[1] % 7 + 1;
    check_charset(span_cstr(charsets[data[0] % COUNT_OF(charsets)]), text, step);
    check_encoding(MIME_BASE64, text, step);
    check_encoding(MIME_QUOTED_PRINTABLE, text, step);
    return 0;
}
