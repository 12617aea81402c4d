/* span, str with its sticky errors and budget, and what the log escapes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/span.h"
#include "base/str.h"

static void test_errors_stick(void **state)
{
    struct budget b;
    struct str s = {.max = 4};

    assert_int_equal(str_append_cstr(&s, "abcd"), 0);
    assert_int_equal(str_append_char(&s, 'e'), ERR_TOO_LONG);
    assert_int_equal(str_append_cstr(&s, ""), ERR_TOO_LONG);
    assert_string_equal(str_cstr(&s), "abcd");
    str_clear(&s);
    assert_int_equal(str_append_cstr(&s, "x"), 0);
    str_fini(&s);

    budget_init(&b, 1000);
    str_init(&s, &b);
    assert_int_equal(str_append_fill(&s, 'a', 2000), -ENOMEM);
    assert_int_equal(str_error(&s), -ENOMEM);
    str_clear(&s);
    assert_int_equal(str_append_cstr(&s, "fits"), 0);
    assert_true(b.used > 0);
    str_fini(&s);
    assert_int_equal(b.used, 0);
}

static void test_numbers(void **state)
{
    uint64_t value;
    uint32_t small;

    assert_int_equal(span_to_u64(SPAN_LIT("18446744073709551615"), &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(span_to_u64(SPAN_LIT("18446744073709551616"), &value), -ERANGE);
    assert_int_equal(span_to_u64(SPAN_LIT(""), &value), ERR_SYNTAX);
    assert_int_equal(span_to_u64(SPAN_LIT("+1"), &value), ERR_SYNTAX);
    assert_int_equal(span_to_u32(SPAN_LIT("4294967296"), &small), -ERANGE);
}

static void test_log_escape(void **state)
{
    static const struct {
        const char *raw, *escaped;
    } rows[] = {{"plain", "plain"},
                {"a\r\nb", "a\\015\\012b"},
                {"\033[1m\177", "\\033[1m\\177"},
                {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
                {"\xc2\x85", "\\302\\205"},
                {"\xc0\xaf", "\\300\\257"},
                {"\xed\xa0\x80", "\\355\\240\\200"},
                {"cut \xe2\x82", "cut \\342\\202"}};
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        str_clear(&out);
        assert_int_equal(log_escape(&out, span_cstr(rows[i].raw)), 0);
        assert_string_equal(str_cstr(&out), rows[i].escaped);
    }
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_stick),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_log_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
