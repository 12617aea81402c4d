/* The scheduler, with simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "qmgr/schedule.h"

static const struct schedule_limits usual = {
    .initial_concurrency = 5,
    .concurrency = 20,
    .failed_cohorts = 1,
    .dead_ms = 300000,
    .positive = {.value = 1},
    .negative = {.value = 1},
};

static struct schedule_job *add(struct schedule_transport *t, const char *to, uint64_t lane)
{
    struct schedule_job *job = NEW(struct schedule_job);
    struct schedule_destination *d = schedule_destination(t, span_cstr(to));

    schedule_add(schedule_lane(d, lane), job);
    job->owner = (void *)(uintptr_t)lane;
    return job;
}

static void finish(struct schedule_job *job, enum schedule_outcome outcome, int64_t now)
{
    schedule_done(job, outcome, "4.4.1", SPAN_LIT("refused"), now);
    free(job);
}

static void test_feedback(void **state)
{
    static const struct {
        const char *text;
        int rc;
        double value;
        int by;
    } cases[] = {
        {"1", 0, 1, FEEDBACK_CONSTANT},
        {"1/8", 0, 0.125, FEEDBACK_CONSTANT},
        {" 0.5 ", 0, 0.5, FEEDBACK_CONSTANT},
        {"1 / concurrency", 0, 1, FEEDBACK_CONCURRENCY},
        {"1/sqrt_concurrency", 0, 1, FEEDBACK_SQRT_CONCURRENCY},
        {"0", ERR_SYNTAX, 0, 0},
        {"2", ERR_SYNTAX, 0, 0},
        {"1/0", ERR_SYNTAX, 0, 0},
        {"1/x", ERR_SYNTAX, 0, 0},
        {"", ERR_SYNTAX, 0, 0},
        {"1.1.1", ERR_SYNTAX, 0, 0},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct schedule_feedback f;

        assert_int_equal(schedule_feedback_parse(span_cstr(cases[i].text), &f), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_true(f.value > cases[i].value - 1e-9 && f.value < cases[i].value + 1e-9);
            assert_int_equal(f.by, cases[i].by);
        }
    }
}

/* Begins at the initial value and rises, one for one success, up to the limit. */
static void test_concurrency_rises(void **state)
{
    struct schedule_transport *t = schedule_transport_new("smtp", &usual);
    struct schedule_job *out[64];
    size_t busy = 0;

    for (int i = 0; i < 200; i++)
        add(t, "a.test", 1);
    for (int i = 0; i < 40; i++) {
        while ((out[busy] = schedule_next(t, 0)) != NULL)
            busy++;
        size_t expected = 5 + (size_t)i;
        assert_int_equal(busy, expected < 20 ? expected : 20);
        finish(out[--busy], SCHEDULE_SUCCESS, 0);
    }
    while (busy > 0)
        finish(out[--busy], SCHEDULE_NEUTRAL, 0);
    struct schedule_job *job;
    while ((job = schedule_take_waiting(schedule_destination(t, SPAN_LIT("a.test")))) != NULL)
        free(job);
    schedule_transport_free(t);
}

/* A cohort of failures kills the destination; time brings it back. */
static void test_death_and_return(void **state)
{
    struct schedule_transport *t = schedule_transport_new("smtp", &usual);
    struct schedule_destination *d = schedule_destination(t, SPAN_LIT("a.test"));
    struct schedule_job *out[5];
    int deaths = 0;

    for (int i = 0; i < 10; i++)
        add(t, "a.test", 1);
    for (int i = 0; i < 5; i++)
        out[i] = schedule_next(t, 0);
    for (int i = 0; i < 5; i++) {
        deaths += schedule_done(out[i], SCHEDULE_SITE_FAILED, "4.4.1", SPAN_LIT("refused"), 1000);
        free(out[i]);
    }
    assert_int_equal(deaths, 1);
    assert_true(schedule_is_dead(d, 1000));
    assert_null(schedule_next(t, 1000));
    assert_string_equal(d->dead_reason, "refused");
    assert_true(schedule_is_dead(d, 300999));
    assert_false(schedule_is_dead(d, 301000));
    struct schedule_job *job = schedule_next(t, 301000);
    assert_non_null(job);
    finish(job, SCHEDULE_SUCCESS, 301000);
    while ((job = schedule_take_waiting(d)) != NULL)
        free(job);
    schedule_transport_free(t);
}

/* One failure among successes does not. */
static void test_single_failures(void **state)
{
    struct schedule_transport *t = schedule_transport_new("smtp", &usual);
    struct schedule_destination *d = schedule_destination(t, SPAN_LIT("a.test"));

    for (int i = 0; i < 100; i++) {
        add(t, "a.test", 1);
        finish(schedule_next(t, i), i % 2 ? SCHEDULE_SITE_FAILED : SCHEDULE_SUCCESS, i);
        assert_false(schedule_is_dead(d, i));
    }
    schedule_transport_free(t);
}

static void test_rate_delay(void **state)
{
    struct schedule_limits slow = usual;
    slow.initial_concurrency = slow.concurrency = 1;
    slow.rate_delay_ms = 1000;
    struct schedule_transport *t = schedule_transport_new("smtp", &slow);

    add(t, "a.test", 1);
    add(t, "a.test", 1);
    add(t, "b.test", 1);
    struct schedule_job *a = schedule_next(t, 0);
    finish(a, SCHEDULE_SUCCESS, 100);
    struct schedule_job *b = schedule_next(t, 100);
    assert_non_null(b);
    assert_string_equal(b->destination->name, "b.test");
    finish(b, SCHEDULE_SUCCESS, 100);
    assert_null(schedule_next(t, 1099));
    assert_int_equal(schedule_wakeup(t), 1100);
    a = schedule_next(t, 1100);
    assert_non_null(a);
    finish(a, SCHEDULE_SUCCESS, 1100);
    assert_int_equal(schedule_wakeup(t), INT64_MAX);
    schedule_transport_free(t);
}

/* What the queue promises: 50,000 messages to a next hop that takes a second
 * each delay ten messages to another one by at most 2 s, though the agent can
 * only do 40 at once; and so for ten of another sender to the same next hop. */
static void test_fairness(void **state)
{
    enum { AGENT = 40, BULK = 50000, DELIVERY_MS = 1000 };
    struct schedule_transport *t = schedule_transport_new("smtp", &usual);
    struct {
        struct schedule_job *job;
        int64_t ends;
    } busy[AGENT] = {{0}};
    int64_t done_small = 0, done_other = 0;
    int small = 0, other = 0, in_use = 0;

    for (int i = 0; i < BULK; i++)
        add(t, "slow.test", 1);
    for (int64_t now = 0; now < 20000 && (small < 10 || other < 10); now += 10) {
        if (now == 10000) {
            for (int i = 0; i < 10; i++) {
                add(t, "fast.test", 2);
                add(t, "slow.test", 3);
            }
        }
        for (int i = 0; i < AGENT; i++) {
            if (busy[i].job == NULL || busy[i].ends > now)
                continue;
            if ((uintptr_t)busy[i].job->owner == 2 && ++small == 10)
                done_small = now;
            if ((uintptr_t)busy[i].job->owner == 3 && ++other == 10)
                done_other = now;
            finish(busy[i].job, SCHEDULE_SUCCESS, now);
            busy[i].job = NULL;
            in_use--;
        }
        for (int i = 0; i < AGENT; i++) {
            struct schedule_job *job = busy[i].job == NULL ? schedule_next(t, now) : NULL;
            if (job == NULL)
                continue;
            bool is_slow = job->destination->name[0] == 's';
            busy[i].job = job;
            busy[i].ends = now + (is_slow ? DELIVERY_MS : 50);
            in_use++;
        }
        assert_true(in_use <= AGENT);
    }
    assert_int_equal(small, 10);
    assert_true(done_small - 10000 <= 2000);
    assert_int_equal(other, 10);
    assert_true(done_other - 10000 <= 2 * DELIVERY_MS + 1000);
    struct schedule_job *job;
    while ((job = schedule_take_waiting(schedule_destination(t, SPAN_LIT("slow.test")))) != NULL)
        free(job);
    for (int i = 0; i < AGENT; i++)
        if (busy[i].job != NULL)
            finish(busy[i].job, SCHEDULE_NEUTRAL, 0);
    schedule_transport_free(t);
}

/* A message with many jobs takes turns with the others. */
static void test_large_and_small_jobs(void **state)
{
    struct schedule_transport *t = schedule_transport_new("smtp", &usual);
    int position = 0, found_at = -1;
    struct schedule_job *job;

    for (int i = 0; i < 1000; i++)
        add(t, "a.test", 77);
    add(t, "a.test", 5);
    while (found_at < 0 && (job = schedule_next(t, 0)) != NULL) {
        if ((uintptr_t)job->owner == 5)
            found_at = position;
        position++;
        finish(job, SCHEDULE_NEUTRAL, 0);
    }
    assert_in_range(found_at, 0, 1);
    while ((job = schedule_next(t, 0)) != NULL)
        finish(job, SCHEDULE_NEUTRAL, 0);
    schedule_transport_free(t);
}

static void test_parking(void **state)
{
    struct schedule_transport *t = schedule_transport_new("smtp", &usual);
    struct schedule_lane *lane = schedule_lane(schedule_destination(t, SPAN_LIT("a")), 1);
    struct schedule_parked first = {0}, second = {0};
    struct schedule_job *job;

    list_init(&first.link);
    list_init(&second.link);
    for (int i = 0; i < SCHEDULE_LANE_MAX; i++)
        add(t, "a", 1);
    assert_true(schedule_lane_is_full(lane));
    schedule_park(lane, &first);
    schedule_park(lane, &second);
    assert_null(schedule_next_parked(lane));
    for (int i = 0; i < SCHEDULE_LANE_MAX / 2; i++)
        finish(schedule_next(t, 0), SCHEDULE_NEUTRAL, 0);
    assert_ptr_equal(schedule_next_parked(lane), &first);
    schedule_unpark(&first);
    while ((job = schedule_next(t, 0)) != NULL)
        finish(job, SCHEDULE_NEUTRAL, 0);
    /* The lane lives while something is parked in it. */
    assert_ptr_equal(schedule_next_parked(lane), &second);
    schedule_unpark(&second);
    schedule_transport_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feedback),
        cmocka_unit_test(test_concurrency_rises),
        cmocka_unit_test(test_death_and_return),
        cmocka_unit_test(test_single_failures),
        cmocka_unit_test(test_rate_delay),
        cmocka_unit_test(test_fairness),
        cmocka_unit_test(test_large_and_small_jobs),
        cmocka_unit_test(test_parking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
