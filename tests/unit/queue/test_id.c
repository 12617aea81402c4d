#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "queue/id.h"

static void test_known_forms(void **state)
{
    /* Made by Postfix's own rules: seconds and microseconds in base 52, inode in 51. */
    static const struct {
        struct queue_id id;
        const char *text;
    } cases[] = {
        {{1, 1000000}, "0000010000z1"},
        {{50, 51}, "000000000zzy"},
        {{51, 52}, "0000000010z10"},
        {{51 * 51, 1353358345LL * 1000000 + 999999}, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[QUEUE_ID_TEXT_MAX];
        struct queue_id back;

        queue_id_format(text, cases[i].id);
        if (cases[i].text != NULL)
            assert_string_equal(text, cases[i].text);
        assert_int_equal(queue_id_parse(span_cstr(text), &back), 0);
        assert_int_equal(back.number, cases[i].id.number);
        assert_int_equal(back.time_us, cases[i].id.time_us);
    }
}

static void test_round_trip(void **state)
{
    uint64_t number = 1;
    int64_t time_us = 1;

    for (int i = 0; i < 2000; i++) {
        struct queue_id id = {number, time_us}, back;
        char text[QUEUE_ID_TEXT_MAX];

        assert_int_equal(queue_id_parse(span_cstr(queue_id_format(text, id)), &back), 0);
        assert_int_equal(back.number, number);
        assert_int_equal(back.time_us, time_us);
        number = number * 6364136223846793005u + 1442695040888963407u;
        time_us = (int64_t)(number >> 12) % 4102444800000000LL;
    }
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "z",
        "4BzZx12345",
        "0000010000z",
        "0000010000za",
        "0000010000zz",
        "000001zzzzz1",
        "00000 0000z1",
        "000001000z1",
        "00000010000z1",
        "0000010000z01",
        "0000010000z1 ",
        "aeiou10000z1",
        "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    };
    struct queue_id id;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(queue_id_parse(span_cstr(cases[i]), &id), ERR_SYNTAX);
    assert_int_equal(queue_id_parse(span_make("0000010000z\0", 12), &id), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_forms),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
