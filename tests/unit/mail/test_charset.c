#include "tests/unit/mail/support_mail.h"

#include <malloc.h>
#include <pthread.h>

#include "base/error.h"
#include "mail/casemap.h"
#include "mail/charset.h"
#include "mail/imap.h"

static const struct {
    const char *charset;
    struct span text;
    const char *utf8;
} samples[] = {
    {"", SPAN_LIT("abc"), "abc"},
    {"us-ascii", SPAN_LIT("a\xc3\xbc"), "a\xc3\xbc"},
    {"UTF-8", SPAN_LIT("\xff"), "\xef\xbf\xbd"},
    {"utf-8", SPAN_LIT("\xe2\x82"), "\xef\xbf\xbd"},
    {"utf-8", SPAN_LIT("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"utf-8", SPAN_LIT("\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80"),
     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"iso-8859-1", SPAN_LIT("\xfc"), "\xc3\xbc"},
    {"ISO_8859-15:1998", SPAN_LIT("\xa4"), "\xe2\x82\xac"},
    {"iso8859-2", SPAN_LIT("\xb1"), "\xc4\x85"},
    {"windows-1252", SPAN_LIT("\x80"), "\xe2\x82\xac"},
    {"windows-1251", SPAN_LIT("\xe4\xe0"), "\xd0\xb4\xd0\xb0"},
    {"koi8-r", SPAN_LIT("\xc4\xc1"), "\xd0\xb4\xd0\xb0"},
    {"gb2312", SPAN_LIT("\xd6\xd0"), "\xe4\xb8\xad"},
    {"gb18030", SPAN_LIT("\xd6\xd0"), "\xe4\xb8\xad"},
    {"big5", SPAN_LIT("\xa4\xa4"), "\xe4\xb8\xad"},
    {"euc-jp", SPAN_LIT("\xc6\xfc"), "\xe6\x97\xa5"},
    {"shift_jis", SPAN_LIT("\x93\xfa"), "\xe6\x97\xa5"},
    {"iso-2022-jp", SPAN_LIT("\x1b$BF|\x1b(Bx"), "\xe6\x97\xa5x"},
    {"euc-kr", SPAN_LIT("\xb0\xa1"), "\xea\xb0\x80"},
    {"iso-2022-kr", SPAN_LIT("\x1b$)C\x0e\x30\x21\x0f"), "\xea\xb0\x80"},
    {"utf-16le", SPAN_LIT("\xfc\x00"), "\xc3\xbc"},
    {"utf-16be", SPAN_LIT("\x00\xfc\x00"), "\xc3\xbc\xef\xbf\xbd"},
    {"euc-jp", SPAN_LIT("a\xc6"), "a\xef\xbf\xbd"},
    {"euc-jp",
     SPAN_LIT("a\xff"
              "b"),
     "a\xef\xbf\xbd"
     "b"},
};

static void test_samples(void **state)
{
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        assert_int_equal(charset_to_utf8(&out, span_cstr(samples[i].charset), samples[i].text), 0);
        check_text(&out, samples[i].utf8, samples[i].charset);
    }
    str_fini(&out);
}

static void test_pieces(void **state)
{
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        struct charset_decoder *d;

        assert_int_equal(charset_decoder_new(span_cstr(samples[i].charset), &d), 0);
        for (size_t at = 0; at < samples[i].text.n; at++)
            charset_decoder_feed(d, span_make(samples[i].text.p + at, 1), &out);
        charset_decoder_finish(d, &out);
        charset_decoder_free(d);
        check_text(&out, samples[i].utf8, samples[i].charset);
    }
    str_fini(&out);
}

/* Converters belong to their users: threads do not meet. */
static void *convert_all(void *arg)
{
    struct str out = {0};
    bool *is_good = arg;

    *is_good = true;
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < COUNT_OF(samples); i++) {
            charset_to_utf8(&out, span_cstr(samples[i].charset), samples[i].text);
            *is_good = *is_good && span_eq(str_span(&out), span_cstr(samples[i].utf8));
            str_clear(&out);
        }
    }
    str_fini(&out);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    bool is_good[COUNT_OF(threads)];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, convert_all, &is_good[i]), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_true(is_good[i]);
}

/* A descriptor with a buffer for each name took 2 MiB. */
static void test_preload_is_small(void **state)
{
    struct mallinfo2 before = mallinfo2(), after;

    assert_true(charset_preload() > 50);
    after = mallinfo2();
    assert_in_range(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd, 0, 512 * 1024);
}

static void test_allow_list(void **state)
{
    struct str out = {0};

    assert_true(charset_preload() > 50);
    assert_int_equal(charset_preload(), charset_preload());
    for (const char *const *name = (const char *const[]){"utf-7", "ebcdic-us", "utf-8//translit",
                                                         "x", "iso-8859-", "iso-8859-99", NULL};
         *name != NULL; name++) {
        assert_false(charset_is_known(span_cstr(*name)));
        assert_int_equal(charset_to_utf8(&out, span_cstr(*name), SPAN_LIT("x")), ERR_NOT_FOUND);
    }
    assert_int_equal(out.len, 0);
    str_fini(&out);
}

static void test_casemap(void **state)
{
    static const char *const same[][2] = {
        {"Hello", "hELLO"},
        {"\xc3\xbc", "\xc3\x9c"},
        {"\xc3\xbc", "u\xcc\x88"},
        {"\xd0\x94\xd0\xb0", "\xd0\xb4\xd0\x90"},
        {"\xef\xac\x81", "FI"},                       /* ligature fi: compatibility */
        {"\xea\xb0\x80", "\xe1\x84\x80\xe1\x85\xa1"}, /* Hangul syllable and its parts */
        {"\xc7\x86", "\xc7\x84"},                     /* dz digraph, by its titlecase */
    };
    struct str a = {0}, b = {0};

    for (size_t i = 0; i < COUNT_OF(same); i++) {
        casemap_fold(&a, span_cstr(same[i][0]));
        casemap_fold(&b, span_cstr(same[i][1]));
        if (i == 4) /* titlecase does not split ligatures; decomposition gives "fi" */
            check_text(&a, "fi", "ligature");
        else
            check_text(&a, str_cstr(&b), same[i][0]);
        str_clear(&b);
    }
    casemap_fold(&a, SPAN_LIT("a\xff"));
    check_text(&a, "A\xef\xbf\xbd", "broken");
    str_fini(&a);
    str_fini(&b);
}

/* ASCII goes eight octets at a time: every octet at every place of a word. */
static void test_casemap_ascii(void **state)
{
    char text[24], want[25] = {0};

    for (int c = 1; c < 128; c++) {
        for (size_t at = 0; at < sizeof(text); at++) {
            struct str folded = {0};
            memset(text, 'b', sizeof(text));
            memset(want, 'B', sizeof(text));
            text[at] = (char)c;
            want[at] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
            assert_int_equal(casemap_fold(&folded, span_make(text, sizeof(text))), 0);
            assert_string_equal(str_cstr(&folded), want);
            assert_int_equal(span_ascii(span_make(text, sizeof(text))), sizeof(text));
            text[at] = (char)0x80;
            assert_int_equal(span_ascii(span_make(text, sizeof(text))), at);
            str_fini(&folded);
        }
    }
}

static void test_utf7(void **state)
{
    static const struct {
        const char *name, *utf8;
    } rows[] = {
        {"INBOX", "INBOX"},
        {"a&-b", "a&b"},
        {"&AOQ-", "\xc3\xa4"},
        {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
         "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"&AAE-", "\x01"},
    };
    static const char *const bad[] = {"&",      "&AOQ",  "&AOQ",  "\xc3\xa4", "&AGE-",      "&AOR-",
                                      "&AOQA-", "&AO-",  "&2D0-", "&3gA-",    "&AOQ-&APw-", "a\x01",
                                      "&A-",    "&AAA-", "&!!-",  "&2D0AYQ-", "&AO/-"};
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(imap_utf7_decode(&out, span_cstr(rows[i].name)), 0);
        check_text(&out, rows[i].utf8, rows[i].name);
        assert_int_equal(imap_utf7_encode(&out, span_cstr(rows[i].utf8)), 0);
        check_text(&out, rows[i].name, rows[i].name);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (imap_utf7_decode(&out, span_cstr(bad[i])) != ERR_SYNTAX)
            fail_msg("%s: accepted as %s", bad[i], str_cstr(&out));
        str_clear(&out);
    }
    assert_int_equal(imap_utf7_encode(&out, SPAN_LIT("a\xff")), ERR_SYNTAX);
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),       cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_threads),       cmocka_unit_test(test_preload_is_small),
        cmocka_unit_test(test_allow_list),    cmocka_unit_test(test_casemap),
        cmocka_unit_test(test_casemap_ascii), cmocka_unit_test(test_utf7),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
