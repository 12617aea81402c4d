#include "tests/unit/mail/support_mail.h"

#include "base/error.h"
#include "mail/date.h"
#include "mail/header.h"

static void test_walk(void **state)
{
    struct span message = SPAN_LIT("A: 1\r\nB :  2\n\t3\r\nno colon\r\nC:\r\n 4\n\nbody\n");
    static const char *const expected[][2] = {
        {"A", "1"}, {"B", "2\n\t3"}, {"", "no colon"}, {"C", "\r\n 4"}};
    struct header_walk w = header_begin(message);
    struct header_field field;
    size_t raw = 0;

    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_true(header_next(&w, &field));
        assert_true(span_eq(field.name, span_cstr(expected[i][0])));
        assert_true(span_eq(field.value, span_cstr(expected[i][1])));
        raw += field.raw.n;
    }
    assert_false(header_next(&w, &field));
    assert_false(header_next(&w, &field));
    assert_true(w.has_blank);
    assert_true(span_eq(w.rest, SPAN_LIT("body\n")));
    assert_int_equal(header_size(message), raw + 1);
}

static void test_end(void **state)
{
    static const struct {
        const char *message;
        size_t size;
        unsigned fields;
    } rows[] = {
        {"", 0, 0},       {"\r\n", 2, 0},    {"\n", 1, 0},          {"A: b", 4, 1},
        {"A: b\n", 5, 1}, {"A: b\n ", 6, 1}, {"A: b\n\r\nx", 7, 1}, {" A: b\n\nx", 7, 1},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct header_walk w = header_begin(span_cstr(rows[i].message));
        struct header_field field;
        unsigned n = 0;

        while (header_next(&w, &field))
            n++;
        assert_int_equal(n, rows[i].fields);
        assert_int_equal(header_size(span_cstr(rows[i].message)), rows[i].size);
    }
}

static void test_decode(void **state)
{
    static const struct {
        const char *value, *text;
    } rows[] = {
        {"plain", "plain"},
        {"=?utf-8?Q?a=C3=BCb?=", "a\xc3\xbc"
                                 "b"},
        {"=?iso-8859-1?q?=FC_x?= y", "\xc3\xbc x y"},
        {"=?utf-8?B?w7w=?=", "\xc3\xbc"},
        {"=?utf-8?B?w7w?=", "\xc3\xbc"},
        {"a =?utf-8?q?b?= =?utf-8?q?c?= d", "a bc d"},
        {"=?utf-8?q?b?=\r\n =?utf-8?q?c?=", "bc"},
        {"=?utf-8?q?b?= x =?utf-8?q?c?=", "b x c"},
        {"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "\xc3\xbc"}, /* a character cut in two */
        {"=?utf-8*en?q?x?=", "x"},
        {"=?no-such?q?x?=", "x"},
        {"=?utf-8?x?y?=", "=?utf-8?x?y?="},
        {"=?utf-8?q?y", "=?utf-8?q?y"},
        {"=?", "=?"},
        {"=", "="},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"a\r\n\tb", "a b"},
        {"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac"},
        {"=?gb2312?B?1tDOxA==?=", "\xe4\xb8\xad\xe6\x96\x87"},
    };
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(header_decode(&out, span_cstr(rows[i].value)), 0);
        check_text(&out, rows[i].text, rows[i].value);
    }
    str_fini(&out);
}

static void test_date(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t seconds;
        int zone;
    } rows[] = {
        {"Fri, 21 Nov 1997 09:55:06 -0600", 0, 880127706, -360},
        {"21 Nov 1997 09:55:06 -0600", 0, 880127706, -360},
        {"Fri, 21 Nov 97 09:55:06 CST", 0, 880127706, -360},
        {"Fri,21 Nov 1997 15:55:06 GMT", 0, 880127706, 0},
        {"Fri, 21 Nov 1997 (c (d) \\)) 09(x):55:06 -0600 (CST)", 0, 880127706, -360},
        {"Thu, 1 Jan 1970 00:00 +0000", 0, 0, 0},
        {"Thu, 1 Jan 1970 00:00:00", 0, 0, 0},
        {"29 Feb 2000 00:00:00 Z", 0, 951782400, 0},
        {"29 Feb 1900 00:00:00 Z", ERR_SYNTAX, 0, 0},
        {"31 Dec 1969 23:59:59 +0000", 0, -1, 0},
        {"1 Jan 49 00:00:00 +0000", 0, 2493072000, 0},
        {"32 Jan 2000 00:00:00 +0000", ERR_SYNTAX, 0, 0},
        {"1 Foo 2000 00:00:00 +0000", ERR_SYNTAX, 0, 0},
        {"1 Jan 2000 25:00:00 +0000", ERR_SYNTAX, 0, 0},
        {"", ERR_SYNTAX, 0, 0},
        {"garbage", ERR_SYNTAX, 0, 0},
        {"(unclosed", ERR_SYNTAX, 0, 0},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct mail_date date = {0};
        int result = date_parse(span_cstr(rows[i].text), &date);

        if (result != rows[i].result ||
            (result == 0 && (date.seconds != rows[i].seconds || date.zone != rows[i].zone)))
            fail_msg("%s: %d, %lld %d", rows[i].text, result, (long long)date.seconds, date.zone);
    }
}

static void test_date_forms(void **state)
{
    struct mail_date date = {.seconds = 880127706, .zone = -360};
    struct str out = {0};
    int64_t day;

    date_append(&out, date);
    check_text(&out, "Fri, 21 Nov 1997 09:55:06 -0600", "RFC 5322");
    date_append_imap(&out, (struct mail_date){.seconds = 760165345, .zone = -480});
    check_text(&out, " 1-Feb-1994 21:02:25 -0800", "IMAP");
    assert_int_equal(date_parse_imap(SPAN_LIT(" 1-Feb-1994 21:02:25 -0800"), &date), 0);
    assert_int_equal(date.seconds, 760165345);
    assert_int_equal(date_parse_imap(SPAN_LIT("01-Feb-1994 21:02:25 -0800"), &date), 0);
    assert_int_equal(date_parse_imap(SPAN_LIT("1-Feb-1994 21:02:25 -0800"), &date), ERR_SYNTAX);
    assert_int_equal(date_parse_imap(SPAN_LIT(" 1-Feb-1994 21:02:25 -0800x"), &date), ERR_SYNTAX);
    assert_int_equal(date_parse_imap_day(SPAN_LIT("2-jan-1970"), &day), 0);
    assert_int_equal(day, 1);
    assert_int_equal(date_parse_imap_day(SPAN_LIT("30-Feb-1970"), &day), ERR_SYNTAX);
    date = (struct mail_date){.seconds = 3600, .zone = -120};
    assert_int_equal(date_day(date, true), -1);
    assert_int_equal(date_day(date, false), 0);
    str_fini(&out);
}

/* Every day of four centuries goes there and back. */
static void test_civil_days(void **state)
{
    for (int64_t day = -150000; day < 150000; day += 7) {
        struct date_parts parts;

        date_split(day * 86400 + 86399, &parts);
        assert_int_equal(date_join(&parts), day * 86400 + 86399);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),       cmocka_unit_test(test_end),
        cmocka_unit_test(test_decode),     cmocka_unit_test(test_date),
        cmocka_unit_test(test_date_forms), cmocka_unit_test(test_civil_days),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
