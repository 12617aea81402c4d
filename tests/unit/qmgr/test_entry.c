/* What qmgr holds in memory: the order in which messages are due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/entry.h"

enum { COUNT = 1000, LATEST = 5000 };

static void defer_all(void)
{
    for (uint64_t i = 0; i < COUNT; i++) {
        struct entry *e = entry_new(i + 1);

        assert_non_null(e);
        e->next_attempt_s = (int64_t)(i * 7919 % 10007);
        entry_move(e, ENTRY_DEFERRED);
    }
}

/* Take all in the order in which they are due: the last time. */
static int64_t drain(void)
{
    int64_t last = 0;

    for (int i = 0; i < COUNT; i++) {
        struct entry *e = entry_next_due();

        assert_non_null(e);
        assert_true(e->next_attempt_s >= last);
        last = e->next_attempt_s;
        entry_free(e);
    }
    assert_null(entry_next_due());
    return last;
}

static void test_due_in_order(void **state)
{
    defer_all();
    assert_true(drain() > LATEST);
}

static void test_nobody_waits_for_a_wrong_clock(void **state)
{
    defer_all();
    entry_limit_due(LATEST);
    assert_int_equal(drain(), LATEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_in_order),
        cmocka_unit_test(test_nobody_waits_for_a_wrong_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
