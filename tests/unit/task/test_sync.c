/* Conditions, semaphores, channels, groups. */
#include "support_task.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

static char trace[128];

static void note(char c)
{
    size_t n = strlen(trace);

    assert_true(n + 1 < sizeof(trace));
    trace[n] = c;
    trace[n + 1] = '\0';
}

struct visitor {
    struct task_semaphore *semaphore;
    struct task_cond *cond;
    struct task_channel *channel;
    char mark;
    int result;
};

static void take(void *arg)
{
    struct visitor *v = arg;

    v->result = task_semaphore_take(v->semaphore, deadline_in(2000));
    if (v->result == 0)
        note(v->mark);
}

static void semaphore_main(void *arg)
{
    struct task_semaphore s;
    struct visitor v[] = {{&s, .mark = 'a'},
                          {&s, .mark = 'b'},
                          {&s, .mark = 'c'},
                          {&s, .mark = 'd'},
                          {&s, .mark = 'e'}};
    struct task *tasks[COUNT_OF(v)];

    trace[0] = '\0';
    task_semaphore_init(&s, 2);
    for (size_t i = 0; i < COUNT_OF(v); i++)
        tasks[i] = task_spawn("take", take, &v[i]);
    assert_int_equal(task_sleep(deadline_in(2)), 0);
    assert_string_equal(trace, "ab");
    task_cancel(tasks[2]);
    /* Handed to the longest waiter: whoever comes now must not overtake. */
    task_semaphore_give(&s);
    assert_int_equal(task_semaphore_take(&s, clock_mono_ms() + 30), -ETIMEDOUT);
    assert_string_equal(trace, "abd");
    assert_int_equal(v[2].result, -ECANCELED);
    task_semaphore_give(&s);
    task_semaphore_give(&s);
    assert_int_equal(task_semaphore_take(&s, 0), 0); /* free: no time is needed */
    assert_int_equal(task_sleep(deadline_in(2)), 0);
    assert_string_equal(trace, "abde");
    assert_int_equal(s.free, 0);
}

static void test_semaphores_serve_in_order(void **state)
{
    run(semaphore_main, NULL);
}

static void wait_cond(void *arg)
{
    struct visitor *v = arg;

    v->result = task_cond_wait(v->cond, deadline_in(2000));
    if (v->result == 0)
        note(v->mark);
}

static void cond_main(void *arg)
{
    struct task_cond c;
    struct visitor v[] = {
        {.cond = &c, .mark = 'a'}, {.cond = &c, .mark = 'b'}, {.cond = &c, .mark = 'c'}};

    trace[0] = '\0';
    task_cond_init(&c);
    task_cond_signal(&c); /* nobody: not remembered */
    assert_false(task_cond_is_awaited(&c));
    for (size_t i = 0; i < COUNT_OF(v); i++)
        assert_non_null(task_spawn("cond", wait_cond, &v[i]));
    assert_int_equal(task_sleep(deadline_in(2)), 0);
    assert_string_equal(trace, "");
    task_cond_signal(&c);
    assert_int_equal(task_yield(), 0);
    assert_string_equal(trace, "a");
    assert_true(task_cond_is_awaited(&c));
    task_cond_broadcast(&c);
    assert_false(task_cond_is_awaited(&c));
    assert_int_equal(task_yield(), 0);
    assert_string_equal(trace, "abc");
}

static void test_conditions(void **state)
{
    run(cond_main, NULL);
}

static void woken_then_cancelled_main(void *arg)
{
    struct task_cond c;
    struct visitor v = {.cond = &c, .mark = 'a'};
    struct task *t = task_spawn("cond", wait_cond, &v);

    trace[0] = '\0';
    task_cond_init(&c);
    assert_int_equal(task_yield(), 0);
    task_cond_signal(&c);
    task_cancel(t);
    assert_int_equal(task_yield(), 0);
    assert_int_equal(v.result, 0); /* the signal is not lost */
}

static void test_a_wake_up_is_not_lost_to_a_cancellation(void **state)
{
    run(woken_then_cancelled_main, NULL);
}

#define ITEMS 1000

static void produce(void *arg)
{
    struct visitor *v = arg;

    for (uintptr_t i = 1; i <= ITEMS; i++)
        assert_int_equal(task_channel_send(v->channel, (void *)i, deadline_in(5000)), 0);
    task_channel_close(v->channel);
}

static void channel_main(void *arg)
{
    for (size_t capacity = 0; capacity < 4; capacity++) {
        struct visitor v = {.channel = task_channel_new(capacity)};
        uintptr_t expect = 1;
        void *item;
        int rc;

        assert_int_equal(task_channel_try_receive(v.channel, &item), -EAGAIN);
        assert_non_null(task_spawn("produce", produce, &v));
        while ((rc = task_channel_receive(v.channel, &item, deadline_in(5000))) == 0)
            assert_int_equal((uintptr_t)item, expect++);
        assert_int_equal(rc, ERR_CLOSED);
        assert_int_equal(expect, ITEMS + 1);
        assert_int_equal(task_channel_send(v.channel, &v, DEADLINE_NONE), ERR_CLOSED);
        task_channel_free(v.channel);
    }
    task_channel_free(NULL);
}

static void test_channels_keep_order(void **state)
{
    run(channel_main, NULL);
}

static void send_one(void *arg)
{
    struct visitor *v = arg;

    v->result = task_channel_send(v->channel, v, deadline_in(2000));
}

static void receive_one(void *arg)
{
    struct visitor *v = arg;
    void *item = NULL;

    v->result = task_channel_receive(v->channel, &item, deadline_in(2000));
}

static void close_main(void *arg)
{
    struct task_channel *c = task_channel_new(1);
    struct visitor full = {.channel = c}, empty = {.channel = task_channel_new(1)};
    void *item = NULL;

    assert_int_equal(task_channel_try_send(c, &item), 0);
    assert_int_equal(task_channel_try_send(c, &item), -EAGAIN);
    assert_non_null(task_spawn("send", send_one, &full));
    assert_non_null(task_spawn("receive", receive_one, &empty));
    assert_int_equal(task_sleep(deadline_in(2)), 0);
    task_channel_close(c);
    task_channel_close(c);
    task_channel_close(empty.channel);
    assert_int_equal(task_sleep(deadline_in(2)), 0);
    assert_int_equal(full.result, ERR_CLOSED);
    assert_int_equal(empty.result, ERR_CLOSED);
    assert_int_equal(task_channel_receive(c, &item, DEADLINE_NONE), 0); /* what was inside */
    assert_ptr_equal(item, &item);
    assert_int_equal(task_channel_receive(c, &item, DEADLINE_NONE), ERR_CLOSED);
    task_channel_free(c);
    task_channel_free(empty.channel);
}

static void test_closing_a_channel_ends_its_waits(void **state)
{
    run(close_main, NULL);
}

static void idle(void *arg)
{
    while (task_sleep(deadline_in(60000)) == 0)
        ;
    (void)task_shield(true);
    assert_int_equal(task_sleep(deadline_in(10)), 0);
    ++*(int *)arg;
}

static void group_main(void *arg)
{
    struct task_group g;
    int ended = 0;

    task_group_init(&g);
    assert_int_equal(task_group_wait(&g, 0), 0); /* empty */
    for (int i = 0; i < 10; i++)
        assert_int_equal(task_group_spawn(&g, "idle", idle, &ended), 0);
    assert_int_equal(task_group_wait(&g, deadline_in(5)), -ETIMEDOUT);
    assert_int_equal(g.count, 10);
    task_cancel(task_self());
    assert_int_equal(task_group_wait(&g, DEADLINE_NONE), -ECANCELED);
    task_group_end(&g);
    assert_int_equal(ended, 10);
    assert_int_equal(g.count, 0);
    assert_true(task_is_cancelled());
}

static void test_a_group_ends_whole(void **state)
{
    run(group_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_semaphores_serve_in_order),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_a_wake_up_is_not_lost_to_a_cancellation),
        cmocka_unit_test(test_channels_keep_order),
        cmocka_unit_test(test_closing_a_channel_ends_its_waits),
        cmocka_unit_test(test_a_group_ends_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
