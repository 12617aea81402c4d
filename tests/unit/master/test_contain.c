/* What happens after crashes and failed starts, minute by minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "master/contain.h"

#define MINUTE 60000

/* "SECONDS ADDRESS" of a refused client, or NULL. */
static const char *refused(const struct containment *c, int64_t now_ms, unsigned index)
{
    static struct str text;

    if (contain_refused(c, now_ms, index, &text))
        return str_cstr(&text);
    str_fini(&text);
    return NULL;
}

static void test_one_crash_is_an_accident(void **state)
{
    struct containment c = {0};

    assert_false(contain_crash(&c, 1000, "192.0.2.1"));
    assert_false(contain_is_active(&c, 1001));
    assert_null(refused(&c, 1001, 0));
    /* The next one comes too late. */
    assert_false(contain_crash(&c, 1001 + MINUTE, "192.0.2.1"));
    /* But that and a third are two in a minute. */
    assert_true(contain_crash(&c, 1001 + 2 * MINUTE, "192.0.2.1"));
}

static void test_two_crashes(void **state)
{
    struct containment c = {0};

    contain_crash(&c, 5000, "192.0.2.1");
    assert_true(contain_crash(&c, 6000, "192.0.2.2"));
    assert_true(contain_is_active(&c, 6000 + 10 * MINUTE - 1));
    assert_false(contain_is_active(&c, 6000 + 10 * MINUTE));
    assert_string_equal(refused(&c, 7000, 0), "599 192.0.2.2");
    assert_null(refused(&c, 7000, 1));
    /* While contained every crash counts, however late. */
    assert_true(contain_crash(&c, 6000 + 5 * MINUTE, "2001:db8::1"));
    assert_string_equal(refused(&c, 6000 + 5 * MINUTE, 1), "600 2001:db8::1");
    /* Each client is let in again after its own ten minutes. */
    assert_string_equal(refused(&c, 6000 + 11 * MINUTE, 0), "240 2001:db8::1");
    assert_null(refused(&c, 6000 + 15 * MINUTE, 0));
}

static void test_unknown_client(void **state)
{
    struct containment c = {0};

    contain_crash(&c, 5000, "");
    assert_true(contain_crash(&c, 6000, ""));
    assert_null(refused(&c, 7000, 0));
}

static void test_table_of_refused_is_bounded(void **state)
{
    struct containment c = {0};
    char address[32];
    unsigned n = 0;

    for (int i = 0; i < 100; i++) {
        snprintf(address, sizeof(address), "192.0.2.%d", i);
        contain_crash(&c, 5000 + i, address);
    }
    while (refused(&c, 6000, n) != NULL)
        n++;
    assert_int_equal(n, CONTAIN_REFUSED_MAX);
    for (n = 0; strcmp(refused(&c, 6000, n), "600 192.0.2.99") != 0; n++)
        assert_true(n < CONTAIN_REFUSED_MAX);
    assert_null(refused(&c, 6000 + 15 * MINUTE, 0));
}

static void test_start_failures(void **state)
{
    struct containment c = {0};
    static const int64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    int64_t now = 5000;

    assert_true(contain_may_start(&c, now));
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        contain_start_failed(&c, now, 60000);
        assert_false(contain_may_start(&c, now + pauses[i] - 1));
        assert_true(contain_may_start(&c, now + pauses[i]));
        now += pauses[i];
    }
    contain_started(&c);
    contain_start_failed(&c, now, 60000);
    assert_true(contain_may_start(&c, now + 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_crash_is_an_accident),
        cmocka_unit_test(test_two_crashes),
        cmocka_unit_test(test_unknown_client),
        cmocka_unit_test(test_table_of_refused_is_bounded),
        cmocka_unit_test(test_start_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
