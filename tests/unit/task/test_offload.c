/* Jobs on worker threads. */
#include "support_task.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

struct sum {
    unsigned long from, to, result;
    enum task_pool pool;
    size_t *done;
};

static void add_up(void *arg)
{
    struct sum *s = arg;

    for (unsigned long i = s->from; i < s->to; i++)
        s->result += i;
}

static void add_up_task(void *arg)
{
    struct sum *s = arg;

    assert_int_equal(task_offload(s->pool, add_up, s), 0);
    ++*s->done;
}

static void many_main(void *arg)
{
    static struct sum sums[300];
    struct task_group g;
    size_t done = 0;

    task_group_init(&g);
    for (size_t i = 0; i < COUNT_OF(sums); i++) {
        sums[i] = (struct sum){i, i + 1000, 0, (enum task_pool)(i % TASK_POOLS), &done};
        assert_int_equal(task_group_spawn(&g, "sum", add_up_task, &sums[i]), 0);
    }
    assert_int_equal(task_group_wait(&g, deadline_in(20000)), 0);
    assert_int_equal(done, COUNT_OF(sums));
    for (size_t i = 0; i < COUNT_OF(sums); i++)
        assert_int_equal(sums[i].result, 1000 * i + 999 * 500);
}

static void test_many_tasks_offload(void **state)
{
    run(many_main, NULL);
}

enum { HELD, LET_GO, FINISHED };
static atomic_int held_state;

static void held_job(void *arg)
{
    while (atomic_load(&held_state) == HELD)
        usleep(1000);
    atomic_store(&held_state, FINISHED);
}

static void offloader(void *arg)
{
    int *results = arg;

    results[0] = task_offload(TASK_POOL_SYNC, held_job, NULL);
    assert_int_equal(atomic_load(&held_state), FINISHED); /* it was waited for */
    results[1] = task_sleep(deadline_in(1000));
    results[2] = task_offload(TASK_POOL_SYNC, held_job, NULL);
}

static void cancelled_main(void *arg)
{
    int results[3] = {1, 1, 1};
    struct task_group g;

    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "offloader", offloader, results), 0);
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    task_group_cancel(&g);
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    assert_int_equal(results[0], 1); /* still at it */
    atomic_store(&held_state, LET_GO);
    assert_int_equal(task_group_wait(&g, deadline_in(5000)), 0);
    assert_int_equal(results[0], 0);
    assert_int_equal(results[1], -ECANCELED);
    assert_int_equal(results[2], -ECANCELED);
}

static void test_a_cancelled_task_waits_for_its_job(void **state)
{
    run(cancelled_main, NULL);
}

struct started {
    struct task_job job;
    struct task_cond *cond;
    bool is_run, is_done;
};

static void started_run(struct task_job *job)
{
    CONTAINER_OF(job, struct started, job)->is_run = true;
}

static void started_done(struct task_job *job)
{
    struct started *s = CONTAINER_OF(job, struct started, job);

    assert_null(task_self());
    s->is_done = true;
    if (s->cond != NULL)
        task_cond_signal(s->cond);
}

static void started_main(void *arg)
{
    struct task_cond cond;
    struct started s = {.job = {.run = started_run, .done = started_done}, .cond = &cond};

    task_cond_init(&cond);
    assert_int_equal(task_offload_start(TASK_POOL_STORE, &s.job), 0);
    while (!s.is_done)
        assert_int_equal(task_cond_wait(&cond, deadline_in(5000)), 0);
    assert_true(s.is_run);
}

static void test_a_started_job_comes_back(void **state)
{
    run(started_main, NULL);
}

static struct started left;

static void left_main(void *arg)
{
    left = (struct started){.job = {.run = started_run, .done = started_done}};
    assert_int_equal(task_offload_start(TASK_POOL_STORE, &left.job), 0);
}

static void test_the_runtime_ends_after_its_jobs(void **state)
{
    run(left_main, NULL);
    assert_true(left.is_done);
}

static void read_mask(void *arg)
{
    sigset_t now;

    pthread_sigmask(SIG_SETMASK, NULL, &now);
    *(bool *)arg = sigismember(&now, SIGTERM) == 1 && sigismember(&now, SIGHUP) == 1;
}

static void mask_main(void *arg)
{
    sigset_t now;
    bool is_blocked = false;

    assert_int_equal(task_offload(TASK_POOL_CPU, read_mask, &is_blocked), 0);
    assert_true(is_blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    assert_int_equal(sigismember(&now, SIGTERM), 0);
}

static void test_workers_take_no_signals(void **state)
{
    run(mask_main, NULL);
}

struct parallel {
    atomic_int *now, *peak;
};

static void parallel_job(void *arg)
{
    struct parallel *p = arg;
    int now = atomic_fetch_add(p->now, 1) + 1, peak = atomic_load(p->peak);

    while (now > peak && !atomic_compare_exchange_weak(p->peak, &peak, now))
        ;
    /* Until as many as there may be are at it, and a little longer. */
    for (int i = 0; i < 5000 && atomic_load(p->peak) < 3; i++)
        usleep(1000);
    usleep(10000);
    atomic_fetch_sub(p->now, 1);
}

static void parallel_task(void *arg)
{
    assert_int_equal(task_offload(TASK_POOL_SYNC, parallel_job, arg), 0);
}

static void parallel_main(void *arg)
{
    atomic_int now = 0, peak = 0;
    struct parallel p = {&now, &peak};
    struct task_group g;

    task_group_init(&g);
    for (int i = 0; i < 12; i++)
        assert_int_equal(task_group_spawn(&g, "parallel", parallel_task, &p), 0);
    assert_int_equal(task_group_wait(&g, deadline_in(20000)), 0);
    assert_int_equal(atomic_load(&peak), 3);
}

static void test_a_pool_has_as_many_threads_as_asked(void **state)
{
    run_with_options(parallel_main, NULL,
                     &(struct task_options){.threads = {[TASK_POOL_SYNC] = 3}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_tasks_offload),
        cmocka_unit_test(test_a_cancelled_task_waits_for_its_job),
        cmocka_unit_test(test_a_started_job_comes_back),
        cmocka_unit_test(test_the_runtime_ends_after_its_jobs),
        cmocka_unit_test(test_workers_take_no_signals),
        cmocka_unit_test(test_a_pool_has_as_many_threads_as_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
