/* Turns, timers, signals, fairness, the watchdog, many tasks, the end. */
#include "support_task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

/* --- turn hooks --- */

struct batch {
    struct task_turn_hook hook;
    int lines, flushes, largest;
};

static void flush(struct task_turn_hook *hook)
{
    struct batch *b = CONTAINER_OF(hook, struct batch, hook);

    assert_null(task_self());
    if (b->lines > b->largest)
        b->largest = b->lines;
    b->lines = 0;
    b->flushes++;
}

static void add_line(void *arg)
{
    struct batch *b = arg;

    b->lines++;
    task_turn_end(&b->hook);
    assert_int_equal(task_yield(), 0);
    b->lines++;
    task_turn_end(&b->hook);
}

static void hooks_main(void *arg)
{
    struct batch b = {.hook = {.flush = flush}}, forgotten = {.hook = {.flush = flush}};
    struct task_group g;

    task_group_init(&g);
    task_turn_end(&forgotten.hook);
    task_turn_forget(&forgotten.hook);
    task_turn_forget(&forgotten.hook);
    for (int i = 0; i < 20; i++)
        assert_int_equal(task_group_spawn(&g, "line", add_line, &b), 0);
    assert_int_equal(task_group_wait(&g, deadline_in(5000)), 0);
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    assert_int_equal(b.lines, 0);
    assert_int_equal(forgotten.flushes, 0);
    if (!is_slow()) { /* a turn that takes 2 ms is cut */
        assert_int_equal(b.flushes, 1);
        assert_int_equal(b.largest, 40);
    }
}

static void test_a_turn_leaves_as_one_batch(void **state)
{
    run(hooks_main, NULL);
}

/* --- timers --- */

struct alarm {
    struct task_timer timer;
    int64_t fired_ms;
    int count;
    struct task_timer *clears;
};

static void ring(struct task_timer *timer)
{
    struct alarm *a = CONTAINER_OF(timer, struct alarm, timer);

    assert_null(task_self());
    assert_false(timer->is_armed);
    a->fired_ms = clock_mono_ms();
    a->count++;
    if (a->clears != NULL)
        task_timer_clear(a->clears);
}

static void timer_main(void *arg)
{
    struct alarm a = {.timer = {.expired = ring}}, b = {.timer = {.expired = ring}};
    int64_t began = clock_mono_ms();

    /* Far apart: a loaded machine may take this process' turn away. */
    task_timer_set(&a.timer, began + 20);
    task_timer_set(&a.timer, began + 800); /* later */
    task_timer_set(&b.timer, began + 60000);
    task_timer_set(&b.timer, began + 30); /* sooner */
    assert_int_equal(task_sleep(began + 100), 0);
    assert_int_equal(a.count, 0);
    assert_int_equal(b.count, 1);
    assert_int_equal(task_sleep(began + 810), 0);
    assert_int_equal(a.count, 1);
    assert_true(a.fired_ms >= began + 800);
    task_timer_set(&a.timer, deadline_in(5));
    task_timer_clear(&a.timer);
    task_timer_clear(&a.timer);
    task_timer_set(&b.timer, DEADLINE_NONE);
    assert_int_equal(task_sleep(deadline_in(15)), 0);
    assert_int_equal(a.count, 1);
    /* Both are due at once; the first clears the second. */
    a.clears = &b.timer;
    task_timer_set(&a.timer, clock_mono_ms() - 2);
    task_timer_set(&b.timer, clock_mono_ms() - 1);
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    assert_int_equal(a.count, 2);
    assert_int_equal(b.count, 1);
}

static void test_timers_move(void **state)
{
    run(timer_main, NULL);
}

static int64_t last_at;
static size_t rung;

static void ring_in_order(struct task_timer *timer)
{
    assert_true(timer->at >= last_at);
    last_at = timer->at;
    rung++;
}

static void heap_main(void *arg)
{
    static struct task_timer timers[2000];
    int64_t now = clock_mono_ms();
    uint32_t random = 12345;
    size_t cleared = 0;

    rung = 0;
    last_at = 0;
    for (int pass = 0; pass < 3; pass++) { /* set, move, move */
        for (size_t i = 0; i < COUNT_OF(timers); i++) {
            random = random * 1103515245 + 12345;
            timers[i].expired = ring_in_order;
            task_timer_set(&timers[i], now - 100000 + (random >> 8) % 50000);
        }
    }
    for (size_t i = 0; i < COUNT_OF(timers); i += 3, cleared++)
        task_timer_clear(&timers[i]);
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    assert_int_equal(rung, COUNT_OF(timers) - cleared);
}

static void test_many_timers_ring_in_order(void **state)
{
    run(heap_main, NULL);
}

/* --- signals --- */

static struct task_cond signal_cond;
static int signals_seen;

static void on_usr1(int signo)
{
    assert_int_equal(signo, SIGUSR1);
    assert_null(task_self());
    signals_seen++;
    task_cond_broadcast(&signal_cond);
}

static void signal_main(void *arg)
{
    struct sigaction now;

    signals_seen = 0;
    task_cond_init(&signal_cond);
    assert_int_equal(task_signal(SIGUSR1, on_usr1), 0);
    assert_int_equal(task_signal(0, on_usr1), -EINVAL);
    assert_int_equal(task_signal(SIGKILL, on_usr1), -EINVAL);
    for (int i = 1; i <= 3; i++) {
        kill(getpid(), SIGUSR1);
        while (signals_seen < i)
            assert_int_equal(task_cond_wait(&signal_cond, deadline_in(2000)), 0);
    }
    sigaction(SIGUSR1, NULL, &now);
    assert_true(now.sa_flags & SA_ONSTACK);
    assert_int_equal(task_signal(SIGUSR1, NULL), 0);
    sigaction(SIGUSR1, NULL, &now);
    assert_true(now.sa_handler == SIG_DFL);
}

static void test_signals_come_through_the_loop(void **state)
{
    run(signal_main, NULL);
}

static void on_term(int signo)
{
    task_runtime_stop();
    task_runtime_stop();
}

static void until_stopped(void *arg)
{
    assert_int_equal(task_signal(SIGTERM, on_term), 0);
    kill(getpid(), SIGTERM);
    *(int *)arg = task_sleep(deadline_in(5000));
}

static void test_a_signal_stops_the_runtime(void **state)
{
    int result = 1;

    run(until_stopped, &result);
    assert_int_equal(result, -ECANCELED);
}

/* --- the end --- */

static int ended;

static void late(void *arg)
{
    assert_int_equal(task_sleep(DEADLINE_NONE), -ECANCELED);
    ended++;
}

static void stays(void *arg)
{
    assert_int_equal(task_sleep(DEADLINE_NONE), -ECANCELED);
    assert_non_null(task_spawn("late", late, NULL)); /* born cancelled */
    ended++;
}

static void leaves(void *arg)
{
    for (int i = 0; i < 5; i++)
        assert_non_null(task_spawn("stays", stays, NULL));
}

static void test_the_others_are_cancelled_at_the_end(void **state)
{
    ended = 0;
    run(leaves, NULL);
    assert_int_equal(ended, 10);
}

/* --- fairness and the watchdog --- */

static bool is_spinning;
static int64_t worst_us;

static void spin(void *arg)
{
    while (is_spinning && task_breathe() == 0)
        ;
}

static void ticker(void *arg)
{
    for (int i = 0; i < 20; i++) {
        int64_t began = clock_mono_us();
        assert_int_equal(task_sleep(deadline_in(2)), 0);
        if (clock_mono_us() - began > worst_us)
            worst_us = clock_mono_us() - began;
    }
    is_spinning = false;
}

static void fairness_main(void *arg)
{
    struct task_group g;

    is_spinning = true;
    worst_us = 0;
    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "spin", spin, NULL), 0);
    assert_int_equal(task_group_spawn(&g, "spin", spin, NULL), 0);
    assert_int_equal(task_group_spawn(&g, "ticker", ticker, NULL), 0);
    assert_int_equal(task_group_wait(&g, deadline_in(10000)), 0);
    assert_true(worst_us < 1000000);
}

static void test_a_breathing_task_lets_others_run(void **state)
{
    run(fairness_main, NULL);
}

static char warning[256];
static int warnings;

static void keep_warning(void *arg, enum log_level level, struct span text)
{
    assert_int_equal(level, LOG_LEVEL_WARN);
    snprintf(warning, sizeof(warning), "%.*s", SPAN_ARG(text));
    warnings++;
}

static void slow(void *arg)
{
    usleep(60000);
}

static void watchdog_main(void *arg)
{
    struct task_group g;
    struct task_stats stats;

    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "slow", slow, NULL), 0);
    assert_int_equal(task_group_wait(&g, deadline_in(5000)), 0);
    assert_int_equal(task_group_spawn(&g, "slow", slow, NULL), 0); /* held back */
    assert_int_equal(task_group_wait(&g, deadline_in(5000)), 0);
    task_get_stats(&stats);
    assert_true(stats.longest_turn_us >= 60000);
    assert_true(stats.busy_us >= 60000);
}

static void test_the_watchdog_names_a_slow_task(void **state)
{
    warnings = 0;
    log_set_sink(keep_warning, NULL);
    run(watchdog_main, NULL);
    log_set_sink(NULL, NULL);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warning, "task slow held the loop for "));
}

static void test_a_command_has_no_watchdog(void **state)
{
    struct task_options options = {.has_no_watchdog = true};

    warnings = 0;
    log_set_sink(keep_warning, NULL);
    assert_int_equal(task_runtime_init(&options), 0);
    assert_int_equal(task_runtime_run(slow, NULL), 0);
    task_runtime_fini();
    log_set_sink(NULL, NULL);
    assert_int_equal(warnings, 0);
}

/* --- crash notes --- */

static struct task_crash_note page;

static void noted(void *arg)
{
    char long_text[100];

    memset(long_text, 'x', sizeof(long_text));
    task_set_note(SPAN_LIT("unknown[192.0.2.1]"), SPAN_LIT("4Q1234"));
    assert_string_equal(page.client, "unknown[192.0.2.1]");
    assert_int_equal(task_yield(), 0);
    assert_string_equal(page.task, "noted");
    assert_string_equal(page.client, "unknown[192.0.2.1]");
    assert_string_equal(page.queue_id, "4Q1234");
    task_set_note(span_make(long_text, sizeof(long_text)), SPAN_NONE);
    assert_int_equal(strlen(page.client), 63);
    assert_string_equal(page.queue_id, "");
}

static void crash_main(void *arg)
{
    struct task_group g;

    task_set_crash_page(&page);
    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "noted", noted, NULL), 0);
    assert_int_equal(task_yield(), 0);
    assert_string_equal(page.task, "main");
    assert_string_equal(page.client, "");
    assert_int_equal(task_group_wait(&g, deadline_in(1000)), 0);
}

static void test_the_crash_page_names_the_running_task(void **state)
{
    run(crash_main, NULL);
    task_set_crash_page(NULL);
    assert_string_equal(page.task, "");
}

/* --- numbers --- */

static void one_of_many(void *arg)
{
    size_t *sum = arg;

    assert_int_equal(task_sleep(deadline_in(50)), 0);
    ++*sum;
}

static void many_main(void *arg)
{
    size_t count = is_slow() ? 1000 : 10000, sum = 0;
    struct task_group g;
    struct task_stats stats;

    for (int round = 0; round < 2; round++) {
        sum = 0;
        task_group_init(&g);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(task_group_spawn(&g, "one", one_of_many, &sum), 0);
        task_get_stats(&stats);
        assert_int_equal(stats.tasks, count + 1);
        assert_int_equal(task_group_wait(&g, deadline_in(30000)), 0);
        assert_int_equal(sum, count);
    }
    task_get_stats(&stats);
    assert_int_equal(stats.tasks, 1);
    assert_true(stats.stacks_free >= 1 && stats.stacks_free <= count);
}

static void test_ten_thousand_tasks(void **state)
{
    run(many_main, NULL);
}

static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size = 0, resident = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static __attribute__((noinline)) void touch_stack(void)
{
    volatile char deep[40000];

    memset((char *)deep, 1, sizeof(deep));
    assert_int_equal(deep[77], 1);
}

static void idler(void *arg)
{
    int canary = 4711;

    touch_stack();
    assert_int_equal(task_cond_wait(arg, deadline_in(60000)), 0);
    assert_int_equal(canary, 4711);
    touch_stack();
}

static void idle_main(void *arg)
{
    struct task_cond over;
    struct task_group g;
    long before;

    task_cond_init(&over);
    task_group_init(&g);
    for (int i = 0; i < 500; i++)
        assert_int_equal(task_group_spawn(&g, "idler", idler, &over), 0);
    assert_int_equal(task_sleep(deadline_in(100)), 0);
    before = resident_kib();
    for (int i = 0; i < (is_slow() ? 32 : 300) && before - resident_kib() <= 500 * 30; i++)
        assert_int_equal(task_sleep(deadline_in(100)), 0);
    if (!is_slow())
        assert_true(before - resident_kib() > 500 * 30);
    task_cond_broadcast(&over);
    assert_int_equal(task_group_wait(&g, deadline_in(10000)), 0);
}

static void test_an_idle_task_gives_its_stack_back(void **state)
{
    run(idle_main, NULL);
}

/* --- rest --- */

enum { RESTERS = 64 };

struct rester {
    struct task_fd fd;
    struct task_cond news;
    int ends[2];
    unsigned char *place; /* on its stack */
    int woken_by_news, woken_by_input;
};

static bool is_resident(unsigned char *at)
{
    uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned char state = 0;

    assert_int_equal(mincore((void *)((uintptr_t)at & ~(size - 1)), size, &state), 0);
    return (state & 1) != 0;
}

/* Its frames, and pointers into them, are as before each time it wakes. */
static void rester(void *arg)
{
    struct rester *r = arg;
    unsigned char octets[300], *into = octets + 17;
    char c;

    memset(octets, (int)(r->ends[0] & 0xff), sizeof(octets));
    r->place = octets;
    for (;;) {
        int rc = task_fd_rest(&r->fd, TASK_READABLE, &r->news, deadline_in(60000));
        assert_true(rc >= 0);
        for (size_t i = 0; i < sizeof(octets); i++)
            assert_int_equal(octets[i], r->ends[0] & 0xff);
        assert_ptr_equal(into, r->place + 17);
        if (rc == 0) {
            r->woken_by_news++;
            continue;
        }
        assert_int_equal(read(r->ends[0], &c, 1), 1);
        r->woken_by_input++;
        return;
    }
}

static size_t count_resident(struct rester *all)
{
    size_t count = 0;

    for (int i = 0; i < RESTERS; i++)
        count += is_resident(all[i].place);
    return count;
}

/* Under AddressSanitizer stacks stay where they are. */
static void wait_for_rest(struct rester *all)
{
    for (int i = 0; i < (is_slow() ? 32 : 300) && count_resident(all) > 0; i++)
        assert_int_equal(task_sleep(deadline_in(100)), 0);
    if (!is_slow())
        assert_int_equal(count_resident(all), 0);
}

static void rest_main(void *arg)
{
    static struct rester all[RESTERS];
    struct task_group g;

    task_group_init(&g);
    for (int i = 0; i < RESTERS; i++) {
        task_cond_init(&all[i].news);
        assert_int_equal(pipe2(all[i].ends, O_CLOEXEC | O_NONBLOCK), 0);
        assert_int_equal(task_fd_init(&all[i].fd, all[i].ends[0]), 0);
        assert_int_equal(task_group_spawn(&g, "rester", rester, &all[i]), 0);
    }
    assert_int_equal(task_yield(), 0);
    wait_for_rest(all);
    for (int i = 0; i < RESTERS; i++)
        task_cond_broadcast(&all[i].news);
    assert_int_equal(task_yield(), 0);
    wait_for_rest(all);
    for (int i = 0; i < RESTERS; i++)
        assert_int_equal(write(all[i].ends[1], "x", 1), 1);
    assert_int_equal(task_group_wait(&g, deadline_in(10000)), 0);
    for (int i = 0; i < RESTERS; i++) {
        assert_int_equal(all[i].woken_by_news, 1);
        assert_int_equal(all[i].woken_by_input, 1);
        task_fd_fini(&all[i].fd);
        close(all[i].ends[0]);
        close(all[i].ends[1]);
    }
}

static void test_a_resting_task_holds_no_stack(void **state)
{
    run(rest_main, NULL);
}

static void rest_and_be_cancelled(void *arg)
{
    struct rester *r = arg;

    r->place = (unsigned char *)&r;
    assert_int_equal(task_fd_rest(&r->fd, TASK_READABLE, NULL, DEADLINE_NONE), -ECANCELED);
    assert_int_equal(task_fd_rest(&r->fd, TASK_READABLE, NULL, DEADLINE_NONE), -ECANCELED);
}

static void cancel_main(void *arg)
{
    struct rester r = {0};
    struct task_group g;

    task_group_init(&g);
    assert_int_equal(pipe2(r.ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(task_fd_init(&r.fd, r.ends[0]), 0);
    assert_int_equal(task_group_spawn(&g, "rester", rest_and_be_cancelled, &r), 0);
    assert_int_equal(task_sleep(deadline_in(3000)), 0);
    task_group_end(&g);
    task_fd_fini(&r.fd);
    close(r.ends[0]);
    close(r.ends[1]);
}

static void test_a_resting_task_is_cancelled(void **state)
{
    run(cancel_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_leaves_as_one_batch),
        cmocka_unit_test(test_timers_move),
        cmocka_unit_test(test_many_timers_ring_in_order),
        cmocka_unit_test(test_signals_come_through_the_loop),
        cmocka_unit_test(test_a_signal_stops_the_runtime),
        cmocka_unit_test(test_the_others_are_cancelled_at_the_end),
        cmocka_unit_test(test_a_breathing_task_lets_others_run),
        cmocka_unit_test(test_the_watchdog_names_a_slow_task),
        cmocka_unit_test(test_a_command_has_no_watchdog),
        cmocka_unit_test(test_the_crash_page_names_the_running_task),
        cmocka_unit_test(test_ten_thousand_tasks),
        cmocka_unit_test(test_an_idle_task_gives_its_stack_back),
        cmocka_unit_test(test_a_resting_task_holds_no_stack),
        cmocka_unit_test(test_a_resting_task_is_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
