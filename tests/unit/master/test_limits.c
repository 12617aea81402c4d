/* How many clients a service may have, and how many processes carry them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "master/limits.h"

static const struct limits_machine small = {1ull << 30, 1024, 2}, large = {64ull << 30, 262144, 16};

static void test_service_limit(void **state)
{
    static const struct {
        int64_t maxproc, fallback;
        uint32_t wanted;
    } rows[] = {
        {7, 100, 7}, /* the number in master.cf wins */
        {-1, 100, 100} /* "-" with default_process_limit set */,
        {1, 0, 1},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(limits_service(rows[i].maxproc, rows[i].fallback, &small), rows[i].wanted);
    /* The machine decides: half a GiB at 256 KiB, but only 2 * 240 by descriptors. */
    assert_int_equal(limits_service(-1, 0, &small), 480);
    assert_int_equal(limits_service(0, 100, &small), 480);
    assert_true(limits_service(-1, 0, &large) > 100000);
    assert_int_equal(limits_service(-1, 0, &(struct limits_machine){0, 0, 0}), 20);
}

static void test_process_limit(void **state)
{
    assert_int_equal(limits_process(&small), 240);
    assert_int_equal(limits_process(&(struct limits_machine){.descriptors = 10}), 1);
}

static void test_divide(void **state)
{
    static const struct {
        uint32_t clients[3];
        size_t count;
        uint32_t total, per_process, targets[3];
    } rows[] = {
        {{0, 0, 0}, 2, 10, 1000, {5, 5, 0}},   {{0, 0, 0}, 3, 10, 1000, {4, 3, 3}},
        {{8, 0, 0}, 2, 10, 1000, {9, 1, 0}},   /* nobody loses what it has */
        {{0, 0, 0}, 3, 100, 10, {10, 10, 10}}, /* nobody gets more than it can carry */
        {{12, 3, 0}, 2, 10, 1000, {12, 3, 0}}, /* over the limit already: no more */
        {{0, 0, 0}, 3, 2, 1, {1, 1, 0}},       {{1, 1, 0}, 3, 3, 1, {1, 1, 1}},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct limits_share shares[3] = {{0}};
        uint64_t sum = 0;

        for (size_t k = 0; k < rows[i].count; k++)
            shares[k].clients = rows[i].clients[k];
        limits_divide(shares, rows[i].count, rows[i].total, rows[i].per_process);
        for (size_t k = 0; k < rows[i].count; k++) {
            assert_int_equal(shares[k].target, rows[i].targets[k]);
            sum += shares[k].target;
        }
        assert_true(sum <= rows[i].total ||
                    rows[i].clients[0] + rows[i].clients[1] > rows[i].total);
    }
}

static void test_grantable_waits_for_answers(void **state)
{
    struct limits_share shares[2] = {{.clients = 2, .granted = 10}, {.clients = 0, .granted = 0}};

    /* The first still believes it may have 10. */
    assert_int_equal(limits_grantable(shares, 2, 1, 10), 0);
    shares[0].granted = 6;
    assert_int_equal(limits_grantable(shares, 2, 1, 10), 4);
    /* What is there counts, whatever it was granted. */
    shares[0].clients = 9;
    assert_int_equal(limits_grantable(shares, 2, 1, 10), 1);
}

#define CLIENTS .kind = SERVICE_CLIENTS, .total = 100, .cores = 4

static void test_wanted_processes(void **state)
{
    static const struct {
        const char *what;
        struct limits_load load;
        uint32_t wanted;
    } rows[] = {
        {"nobody waits", {CLIENTS}, 0},
        {"nobody waits, and one is kept", {CLIENTS, .is_kept = true}, 1},
        {"the last one is idle",
         {CLIENTS, .processes = 1, .capacity = 100, .idle_seconds = 200},
         0},
        {"the last one is idle and kept",
         {CLIENTS, .processes = 1, .capacity = 100, .idle_seconds = 200, .is_kept = true},
         1},
        {"the first client", {CLIENTS, .has_waiting = true}, 1},
        {"half idle is no reason",
         {CLIENTS, .processes = 1, .clients = 50, .capacity = 100, .busy_permille = 500},
         1},
        {"busy",
         {CLIENTS, .processes = 1, .clients = 50, .capacity = 100, .busy_permille = 850,
          .busy_seconds = 2},
         2},
        {"busy for a moment",
         {CLIENTS, .processes = 1, .clients = 50, .capacity = 100, .busy_permille = 999,
          .busy_seconds = 1},
         1},
        {"busy on every core",
         {CLIENTS, .processes = 4, .clients = 50, .capacity = 100, .busy_permille = 990,
          .busy_seconds = 9},
         4},
        {"one client cannot be split",
         {CLIENTS, .processes = 1, .clients = 1, .capacity = 100, .busy_permille = 990,
          .busy_seconds = 9},
         1},
        {"full by descriptors", {CLIENTS, .processes = 1, .clients = 40, .capacity = 40}, 2},
        {"full by the limit", {CLIENTS, .processes = 1, .clients = 100, .capacity = 100}, 1},
        {"idle, not yet", {CLIENTS, .processes = 1, .capacity = 100, .idle_seconds = 99}, 1},
        {"idle", {CLIENTS, .processes = 1, .capacity = 100, .idle_seconds = 100}, 0},
        {"one less would do",
         {CLIENTS, .processes = 3, .clients = 9, .capacity = 100, .idle_seconds = 100},
         2},
        {"fixed count", {CLIENTS, .process_count = 3, .has_waiting = true}, 3},
        {"fixed count, idle",
         {CLIENTS, .process_count = 3, .processes = 3, .idle_seconds = 500},
         3},
        {"strict: client and spare",
         {CLIENTS, .client_limit = 1, .processes = 1, .clients = 1, .capacity = 1},
         2},
        {"strict: up to the limit",
         {CLIENTS, .client_limit = 1, .processes = 100, .clients = 100, .capacity = 100},
         100},
        {"strict: idle ones stay a while",
         {CLIENTS, .client_limit = 1, .processes = 9, .clients = 1, .capacity = 9,
          .idle_seconds = 5},
         9},
        {"strict: then go",
         {CLIENTS, .client_limit = 1, .processes = 9, .clients = 1, .capacity = 9,
          .idle_seconds = 100},
         2},
        {"ten per process",
         {CLIENTS, .client_limit = 10, .processes = 2, .clients = 20, .capacity = 20},
         3},
        {"contained",
         {CLIENTS, .is_contained = true, .processes = 1, .clients = 1, .capacity = 1,
          .has_waiting = true},
         2},
        {"single", {.kind = SERVICE_SINGLE, .has_waiting = true, .cores = 4}, 1},
        {"single, however busy",
         {.kind = SERVICE_SINGLE,
          .processes = 1,
          .clients = 900,
          .busy_permille = 1000,
          .busy_seconds = 60,
          .has_waiting = true,
          .cores = 4},
         1},
        {"single never idles out",
         {.kind = SERVICE_SINGLE, .processes = 1, .idle_seconds = 9999, .cores = 4},
         1},
        {"agent whose connection is taken",
         {.kind = SERVICE_AGENT,
          .total = 20,
          .processes = 1,
          .capacity = 20,
          .has_waiting = true,
          .cores = 4},
         2},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint32_t got = limits_wanted_processes(&rows[i].load, 100);

        if (got != rows[i].wanted)
            print_error("%s: %u\n", rows[i].what, got);
        assert_int_equal(got, rows[i].wanted);
    }
}

static void test_warning_comes_once(void **state)
{
    int told = 0;

    assert_int_equal(limits_warning(79, 100, &told), 0);
    assert_int_equal(limits_warning(80, 100, &told), 80);
    assert_int_equal(limits_warning(90, 100, &told), 0);
    assert_int_equal(limits_warning(100, 100, &told), 100);
    assert_int_equal(limits_warning(75, 100, &told), 0);
    assert_int_equal(limits_warning(100, 100, &told), 0); /* not below 70 in between */
    assert_int_equal(limits_warning(69, 100, &told), 0);
    assert_int_equal(limits_warning(100, 100, &told), 100);
    assert_int_equal(limits_warning(5, 0, &told), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_service_limit),    cmocka_unit_test(test_process_limit),
        cmocka_unit_test(test_divide),           cmocka_unit_test(test_grantable_waits_for_answers),
        cmocka_unit_test(test_wanted_processes), cmocka_unit_test(test_warning_comes_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
