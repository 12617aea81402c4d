#include "tests/unit/mail/support_mail.h"

#include "base/error.h"
#include "mail/dsn.h"

static void test_take(void **state)
{
    static const struct {
        const char *text;
        unsigned code;
        const char *status, *rest;
    } rows[] = {
        {"5.1.1 no such user", 550, "5.1.1", "no such user"},
        {"2.0.0", 250, "2.0.0", ""},
        {"4.7.500  later", 451, "4.7.500", "later"},
        {"5.1.1 odd", 450, NULL, "5.1.1 odd"},
        {"3.1.1 odd", 354, NULL, "3.1.1 odd"},
        {"5.1 odd", 550, NULL, "5.1 odd"},
        {"5.1.1x", 550, NULL, "5.1.1x"},
        {"5.01.1", 550, NULL, "5.01.1"},
        {"5.1.1000 x", 550, NULL, "5.1.1000 x"},
        {"", 550, NULL, ""},
    };
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span text = span_cstr(rows[i].text);
        struct dsn_status status;
        bool has = dsn_take(&text, rows[i].code, &status);

        assert_int_equal(has, rows[i].status != NULL);
        assert_true(span_eq(text, span_cstr(rows[i].rest)));
        if (has) {
            dsn_append(&out, status);
            check_text(&out, rows[i].status, rows[i].text);
        }
    }
    str_fini(&out);
}

static void test_parse(void **state)
{
    struct dsn_status status;
    struct str out = {0};

    assert_int_equal(dsn_parse(SPAN_LIT("4.4.1"), &status), 0);
    assert_int_equal(status.class, 4);
    assert_int_equal(dsn_parse(SPAN_LIT("4.4.1 "), &status), ERR_SYNTAX);
    dsn_append(&out, dsn_of_reply(421));
    check_text(&out, "4.0.0", "421");
    dsn_append(&out, dsn_of_reply(0));
    check_text(&out, "5.0.0", "nothing");
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_parse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
