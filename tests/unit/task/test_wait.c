/* Every kind of wait: its normal end, its deadline, its cancellation. */
#include "support_task.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

struct world {
    struct task_cond cond;
    struct task_semaphore semaphore;
    struct task_channel *empty, *full;
    struct task_group group;
    struct task_fd fd;
    int pair[2];
    int result;
    int64_t took_ms;
    const struct wait *wait;
    deadline_t deadline;
    bool is_done;
};

static int wait_sleep(struct world *w)
{
    return task_sleep(w->deadline);
}

static int wait_cond(struct world *w)
{
    return task_cond_wait(&w->cond, w->deadline);
}

static int wait_semaphore(struct world *w)
{
    return task_semaphore_take(&w->semaphore, w->deadline);
}

static int wait_send(struct world *w)
{
    return task_channel_send(w->full, w, w->deadline);
}

static int wait_receive(struct world *w)
{
    void *item;

    return task_channel_receive(w->empty, &item, w->deadline);
}

static int wait_readable(struct world *w)
{
    return task_fd_wait(&w->fd, TASK_READABLE, w->deadline);
}

static int wait_group(struct world *w)
{
    return task_group_wait(&w->group, w->deadline);
}

static int wait_yield(struct world *w)
{
    int rc = 0;

    while (rc == 0 && clock_mono_ms() < w->deadline)
        rc = task_yield();
    return rc;
}

static int wait_breathe(struct world *w)
{
    int rc = 0;

    while (rc == 0 && clock_mono_ms() < w->deadline)
        rc = task_breathe();
    return rc;
}

static const struct wait {
    const char *name;
    int (*fn)(struct world *w);
    int at_deadline;
} waits[] = {
    {"sleep", wait_sleep, 0},
    {"cond", wait_cond, -ETIMEDOUT},
    {"semaphore", wait_semaphore, -ETIMEDOUT},
    {"send", wait_send, -ETIMEDOUT},
    {"receive", wait_receive, -ETIMEDOUT},
    {"readable", wait_readable, -ETIMEDOUT},
    {"group", wait_group, -ETIMEDOUT},
    {"yield", wait_yield, 0},
    {"breathe", wait_breathe, 0},
};

static void sleeper(void *arg)
{
    (void)task_sleep(DEADLINE_NONE);
}

static void waiter(void *arg)
{
    struct world *w = arg;
    int64_t began = clock_mono_ms();

    w->result = w->wait->fn(w);
    w->took_ms = clock_mono_ms() - began;
    w->is_done = true;
}

static void setup(struct world *w)
{
    *w = (struct world){0};
    task_cond_init(&w->cond);
    task_semaphore_init(&w->semaphore, 0);
    w->empty = task_channel_new(1);
    w->full = task_channel_new(1);
    assert_int_equal(task_channel_try_send(w->full, w), 0);
    task_group_init(&w->group);
    assert_int_equal(task_group_spawn(&w->group, "sleeper", sleeper, NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, w->pair),
                     0);
    assert_int_equal(task_fd_init(&w->fd, w->pair[0]), 0);
}

static void teardown(struct world *w)
{
    task_group_end(&w->group);
    task_fd_fini(&w->fd);
    close(w->pair[0]);
    close(w->pair[1]);
    task_channel_free(w->empty);
    task_channel_free(w->full);
}

static void deadline_main(void *arg)
{
    struct world w;

    setup(&w);
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        w.wait = &waits[i];
        w.deadline = deadline_in(20);
        waiter(&w);
        if (w.result != waits[i].at_deadline || w.took_ms < 19 || w.took_ms > 2000)
            fail_msg("%s: %d after %d ms", waits[i].name, w.result, (int)w.took_ms);
    }
    teardown(&w);
}

static void test_every_wait_ends_at_its_deadline(void **state)
{
    run(deadline_main, NULL);
}

static void cancel_main(void *arg)
{
    struct world w;

    setup(&w);
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        struct task *t;
        w.wait = &waits[i];
        w.deadline = deadline_in(60000);
        w.is_done = false;
        t = task_spawn("waiter", waiter, &w);
        assert_non_null(t);
        assert_int_equal(task_sleep(deadline_in(5)), 0);
        assert_false(w.is_done);
        task_cancel(t);
        assert_int_equal(task_sleep(deadline_in(5)), 0);
        if (!w.is_done || w.result != -ECANCELED)
            fail_msg("%s: %d", waits[i].name, w.result);
    }
    teardown(&w);
}

static void test_every_wait_can_be_cancelled(void **state)
{
    run(cancel_main, NULL);
}

static void born_cancelled_main(void *arg)
{
    struct world w;

    setup(&w);
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        w.wait = &waits[i];
        w.deadline = deadline_in(60000);
        w.is_done = false;
        task_cancel(task_spawn("waiter", waiter, &w));
        assert_int_equal(task_sleep(deadline_in(2)), 0);
        if (!w.is_done || w.result != -ECANCELED)
            fail_msg("%s: %d", waits[i].name, w.result);
    }
    teardown(&w);
}

static void test_a_cancelled_task_waits_no_more(void **state)
{
    run(born_cancelled_main, NULL);
}

static void shielded(void *arg)
{
    int *result = arg;
    bool before = task_shield(true);

    assert_false(task_is_cancelled());
    result[0] = task_sleep(deadline_in(20));
    task_shield(before);
    result[1] = task_sleep(deadline_in(20));
    assert_true(task_is_cancelled());
}

static void shield_main(void *arg)
{
    int result[2] = {1, 1};
    struct task *t = task_spawn("shielded", shielded, result);

    assert_int_equal(task_yield(), 0);
    task_cancel(t);
    assert_int_equal(task_sleep(deadline_in(50)), 0);
    assert_int_equal(result[0], 0);
    assert_int_equal(result[1], -ECANCELED);
}

static void test_a_shield_holds_cancellation_back(void **state)
{
    run(shield_main, NULL);
}

struct order {
    char text[64];
    size_t n;
};

struct ordered {
    struct order *order;
    int after_ms;
    char mark;
};

static void ordered_sleeper(void *arg)
{
    struct ordered *o = arg;

    assert_int_equal(task_sleep(deadline_in(o->after_ms)), 0);
    o->order->text[o->order->n++] = o->mark;
}

static void order_main(void *arg)
{
    struct order order = {0};
    struct ordered sleepers[] = {{&order, 40, 'd'}, {&order, 10, 'a'}, {&order, 50, 'e'},
                                 {&order, 20, 'b'}, {&order, 30, 'c'}, {&order, 60, 'f'}};
    struct task_group g;

    task_group_init(&g);
    for (size_t i = 0; i < COUNT_OF(sleepers); i++)
        assert_int_equal(task_group_spawn(&g, "sleeper", ordered_sleeper, &sleepers[i]), 0);
    assert_int_equal(task_group_wait(&g, deadline_in(5000)), 0);
    assert_string_equal(order.text, "abcdef");
}

static void test_deadlines_pass_in_order(void **state)
{
    run(order_main, NULL);
}

static void signal_soon(void *arg)
{
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    task_cond_signal(arg);
}

/* The timer of an early wait stays armed; it must not end a later, longer one. */
static void stale_main(void *arg)
{
    struct task_cond cond;
    int64_t began;

    task_cond_init(&cond);
    assert_non_null(task_spawn("signal", signal_soon, &cond));
    assert_int_equal(task_cond_wait(&cond, deadline_in(30)), 0);
    began = clock_mono_ms();
    assert_int_equal(task_cond_wait(&cond, deadline_in(90)), -ETIMEDOUT);
    assert_true(clock_mono_ms() - began >= 89);
    assert_non_null(task_spawn("signal", signal_soon, &cond));
    assert_int_equal(task_cond_wait(&cond, deadline_in(60000)), 0);
    began = clock_mono_ms();
    assert_int_equal(task_cond_wait(&cond, deadline_in(20)), -ETIMEDOUT);
    assert_true(clock_mono_ms() - began < 5000);
    assert_non_null(task_spawn("signal", signal_soon, &cond));
    assert_int_equal(task_cond_wait(&cond, DEADLINE_NONE), 0);
}

static void test_a_wait_keeps_to_its_own_deadline(void **state)
{
    run(stale_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_wait_ends_at_its_deadline),
        cmocka_unit_test(test_every_wait_can_be_cancelled),
        cmocka_unit_test(test_a_cancelled_task_waits_no_more),
        cmocka_unit_test(test_a_shield_holds_cancellation_back),
        cmocka_unit_test(test_deadlines_pass_in_order),
        cmocka_unit_test(test_a_wait_keeps_to_its_own_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
