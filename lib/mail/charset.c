/*
 * Charsets by iconv, behind an allow-list. glibc loads a converter's module with the first
 * descriptor that needs it and keeps it while one is open: charset_preload() holds one of
 * each for the life of the process, so that later iconv_open() calls open no file. A
 * descriptor itself belongs to one decoder, hence to one thread.
 */
#include "mail/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The octets of one character, with shift sequences, fit in here. */
enum { PENDING_MAX = 16 };

/* Names as they come in mail; the first of each run of a charset is iconv's. UTF-8 and
 * US-ASCII need no iconv: 8-bit in US-ASCII is read as UTF-8 where it is that. */
static const struct charset_name {
    const char *name, *iconv;
} names[] = {
    {"utf-8", NULL},
    {"utf8", NULL},
    {"us-ascii", NULL},
    {"ascii", NULL},
    {"ansi_x3.4-1968", NULL},
    {"iso646-us", NULL},
    {"utf-16", "UTF-16"},
    {"utf-16le", "UTF-16LE"},
    {"utf-16be", "UTF-16BE"},
    {"iso-8859-1", "ISO-8859-1"},
    {"iso-8859-2", "ISO-8859-2"},
    {"iso-8859-3", "ISO-8859-3"},
    {"iso-8859-4", "ISO-8859-4"},
    {"iso-8859-5", "ISO-8859-5"},
    {"iso-8859-6", "ISO-8859-6"},
    {"iso-8859-7", "ISO-8859-7"},
    {"iso-8859-8", "ISO-8859-8"},
    {"iso-8859-8-i", "ISO-8859-8"},
    {"iso-8859-8-e", "ISO-8859-8"},
    {"iso-8859-9", "ISO-8859-9"},
    {"iso-8859-10", "ISO-8859-10"},
    {"iso-8859-11", "ISO-8859-11"},
    {"iso-8859-13", "ISO-8859-13"},
    {"iso-8859-14", "ISO-8859-14"},
    {"iso-8859-15", "ISO-8859-15"},
    {"iso-8859-16", "ISO-8859-16"},
    {"latin1", "ISO-8859-1"},
    {"latin2", "ISO-8859-2"},
    {"latin5", "ISO-8859-9"},
    {"latin9", "ISO-8859-15"},
    {"tis-620", "TIS-620"},
    {"windows-1250", "CP1250"},
    {"windows-1251", "CP1251"},
    {"windows-1252", "CP1252"},
    {"windows-1253", "CP1253"},
    {"windows-1254", "CP1254"},
    {"windows-1255", "CP1255"},
    {"windows-1256", "CP1256"},
    {"windows-1257", "CP1257"},
    {"windows-1258", "CP1258"},
    {"cp1250", "CP1250"},
    {"cp1251", "CP1251"},
    {"cp1252", "CP1252"},
    {"cp1253", "CP1253"},
    {"cp1254", "CP1254"},
    {"cp1255", "CP1255"},
    {"cp1256", "CP1256"},
    {"cp1257", "CP1257"},
    {"cp1258", "CP1258"},
    {"koi8-r", "KOI8-R"},
    {"koi8-u", "KOI8-U"},
    {"gb18030", "GB18030"},
    {"gbk", "GB18030"}, /* a superset of both */
    {"gb2312", "GB18030"},
    {"cp936", "GB18030"},
    {"big5", "BIG5"},
    {"big5-hkscs", "BIG5-HKSCS"},
    {"cp950", "BIG5"},
    {"euc-jp", "EUC-JP"},
    {"euc-kr", "CP949"}, /* a superset */
    {"ks_c_5601-1987", "CP949"},
    {"cp949", "CP949"},
    {"euc-tw", "EUC-TW"},
    {"shift_jis", "SHIFT_JIS"},
    {"shift-jis", "SHIFT_JIS"},
    {"sjis", "SHIFT_JIS"},
    {"windows-31j", "CP932"},
    {"cp932", "CP932"},
    {"iso-2022-jp", "ISO-2022-JP"},
    {"iso-2022-jp-2", "ISO-2022-JP-2"},
    {"iso-2022-kr", "ISO-2022-KR"},
};

struct charset_decoder {
    iconv_t cd; /* (iconv_t)-1: UTF-8 */
    char pending[PENDING_MAX];
    size_t pending_len;
};

static const struct charset_name *find_name(struct span name)
{
    struct span rest;

    if (name.n == 0)
        return &names[0];
    /* "iso8859-1", "iso_8859-1" and "iso_8859-1:1987" are seen too. */
    if (span_istarts(name, SPAN_LIT("iso8859-")) || span_istarts(name, SPAN_LIT("iso_8859-"))) {
        rest = span_drop(name, name.p[3] == '_' ? 9 : 8);
        if (span_find(rest, ':') > 0)
            rest.n = (size_t)span_find(rest, ':');
        for (size_t i = 0; i < COUNT_OF(names); i++)
            if (span_istarts(span_cstr(names[i].name), SPAN_LIT("iso-8859-")) &&
                span_ieq(span_drop(span_cstr(names[i].name), 9), rest))
                return &names[i];
        return NULL;
    }
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_ieq(span_cstr(names[i].name), name))
            return &names[i];
    return NULL;
}

/* A descriptor to WCHAR_T is the converter alone: one to UTF-8 has a second step and 32 KiB
 * between the two. With each converter held once, what all hold is 430 KiB instead of 700. */
static bool hold(const char *converter)
{
    static struct {
        const char *converter;
        iconv_t cd;
    } held[COUNT_OF(names)];
    size_t i = 0;

    while (held[i].converter != NULL && strcmp(held[i].converter, converter) != 0)
        i++;
    if (held[i].converter == NULL) {
        iconv_t cd = iconv_open("WCHAR_T", converter);

        if (cd == (iconv_t)-1)
            return false;
        held[i].cd = cd;
        held[i].converter = converter;
    }
    return true;
}

int charset_preload(void)
{
    int count = 0;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (names[i].iconv == NULL || hold(names[i].iconv))
            count++;
    }
    return count;
}

bool charset_is_known(struct span name)
{
    return find_name(name) != NULL;
}

int charset_decoder_new(struct span name, struct charset_decoder **out)
{
    const struct charset_name *charset = find_name(name);
    struct charset_decoder *d;

    *out = NULL;
    if (charset == NULL)
        return ERR_NOT_FOUND;
    d = NEW(struct charset_decoder);
    if (d == NULL)
        return -ENOMEM;
    d->cd = (iconv_t)-1;
    if (charset->iconv != NULL) {
        d->cd = iconv_open("UTF-8", charset->iconv);
        if (d->cd == (iconv_t)-1) {
            int error = errno == ENOMEM ? -ENOMEM : ERR_NOT_FOUND;

            free(d);
            return error;
        }
    }
    *out = d;
    return 0;
}

void charset_decoder_free(struct charset_decoder *d)
{
    if (d == NULL)
        return;
    if (d->cd != (iconv_t)-1)
        iconv_close(d->cd);
    free(d);
}

/* Where an unfinished UTF-8 sequence at the end begins. */
static size_t utf8_whole(struct span text)
{
    for (size_t back = 1; back <= 3 && back <= text.n; back++) {
        unsigned char c = (unsigned char)text.p[text.n - back];
        size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

        if (c < 0x80)
            break;
        if (c >= 0xc0)
            return need > back ? text.n - back : text.n;
    }
    return text.n;
}

/* Convert as much as is whole; returns octets that wait for more, or an error. */
static ptrdiff_t convert(struct charset_decoder *d, struct span text, struct str *out)
{
    char *in = (char *)text.p;
    size_t left = text.n;

    if (d->cd == (iconv_t)-1) {
        size_t whole = utf8_whole(text);
        int error = utf8_repair(out, span_take(text, whole));

        return error < 0 ? error : (ptrdiff_t)(text.n - whole);
    }
    while (left > 0) {
        size_t space, result;
        char *to;
        int error = str_reserve(out, (left < 2048 ? left : 2048) * 2 + 16);

        if (error < 0)
            return error;
        to = out->data + out->len;
        space = out->cap - out->len - 1;
        result = iconv(d->cd, &in, &left, &to, &space);
        out->len = (size_t)(to - out->data);
        out->data[out->len] = '\0';
        if (result == (size_t)-1 && errno == EINVAL)
            break;
        if (result == (size_t)-1 && errno != E2BIG && left > 0) {
            str_append(out, SPAN_LIT("\xef\xbf\xbd"));
            in++;
            left--;
        }
    }
    return str_error(out) < 0 ? str_error(out) : (ptrdiff_t)left;
}

int charset_decoder_feed(struct charset_decoder *d, struct span text, struct str *out)
{
    ptrdiff_t waiting;

    /* Complete the character that the last piece cut, octet by octet. */
    while (d->pending_len > 0 && text.n > 0) {
        size_t n;

        d->pending[d->pending_len++] = text.p[0];
        text = span_drop(text, 1);
        n = d->pending_len;
        waiting = convert(d, span_make(d->pending, n), out);
        if (waiting < 0)
            return (int)waiting;
        memmove(d->pending, d->pending + n - (size_t)waiting, (size_t)waiting);
        d->pending_len = (size_t)waiting;
        if (d->pending_len == PENDING_MAX) {
            str_append(out, SPAN_LIT("\xef\xbf\xbd"));
            d->pending_len = 0;
        }
    }
    waiting = convert(d, text, out);
    if (waiting <= 0)
        return (int)waiting;
    if (waiting >= PENDING_MAX)
        return utf8_append(out, 0xfffd);
    memcpy(d->pending, text.p + text.n - (size_t)waiting, (size_t)waiting);
    d->pending_len = (size_t)waiting;
    return 0;
}

int charset_decoder_finish(struct charset_decoder *d, struct str *out)
{
    if (d->pending_len > 0)
        utf8_append(out, 0xfffd);
    d->pending_len = 0;
    if (d->cd != (iconv_t)-1)
        iconv(d->cd, NULL, NULL, NULL, NULL);
    return str_error(out);
}

int charset_to_utf8(struct str *out, struct span name, struct span text)
{
    struct charset_decoder *d;
    int error;

    error = charset_decoder_new(name, &d);
    if (error < 0)
        return error;
    error = charset_decoder_feed(d, text, out);
    if (error == 0)
        error = charset_decoder_finish(d, out);
    charset_decoder_free(d);
    return error;
}
