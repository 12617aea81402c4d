/*
 * The runtime: turns of the loop.
 *
 * A turn hands out what the loop collected (signals, finished jobs, due timers),
 * runs tasks until none is runnable or the turn has lasted TURN_US, and then lets
 * what was collected leave the process. libuv's callbacks only take notes, so
 * that everything of ours runs here, where it is timed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "task/internal.h"

#define TURN_US 2000
#define WATCHDOG_MS 50
#define WATCHDOG_PAUSE_US 1000000
#define SWEEP_MS 250
#define SHRINK_US 1000000

#ifdef TASK_ASAN
#define STACK_SIZE (256 * 1024)
#else
#define STACK_SIZE (64 * 1024)
#endif

struct task_runtime task_runtime;

/* --- set-up --- */

static void on_uv_timer(uv_timer_t *timer)
{
    task_runtime.uv_timer_at = DEADLINE_NONE;
    /* libuv runs timers before it polls too, and would then sleep without one. */
    uv_stop(&task_runtime.loop);
}

static void on_uv_async(uv_async_t *async)
{
}

/* Give back what idle tasks and the pool of stacks do not use. */
static void sweep(struct task_timer *timer)
{
    int64_t now = clock_mono_us();

    LIST_FOR_SAFE(item, &task_runtime.fresh)
    {
        struct task *t = LIST_ITEM(item, struct task, fresh);
        if (t->state != TASK_WAITING || now - t->parked_us < IDLE_MS * 1000)
            continue;
        list_remove(&t->fresh);
        task_stack_trim(t);
    }
    if (now - task_runtime.shrunk_us >= SHRINK_US) {
        task_runtime.shrunk_us = now;
        task_stack_shrink();
    }
    if (task_stacks_free() > 0 || !list_is_empty(&task_runtime.fresh))
        task_timer_set(timer, now / 1000 + SWEEP_MS);
}

/* Signal handlers run on a stack of their own, not on a task's small one. */
static void set_signal_stack(void)
{
    static char memory[64 * 1024];
    stack_t present;

    if (sigaltstack(NULL, &present) == 0 && (present.ss_flags & SS_DISABLE) != 0)
        (void)sigaltstack(&(stack_t){.ss_sp = memory, .ss_size = sizeof(memory)}, NULL);
}

int task_runtime_init(const struct task_options *options)
{
    static const struct task_options defaults;
    struct task_runtime *r = &task_runtime;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int rc;

    ENSURE(!r->is_ready);
    if (options == NULL)
        options = &defaults;
    memset(r, 0, sizeof(*r));
    list_init(&r->run_queue);
    list_init(&r->all);
    list_init(&r->hooks);
    list_init(&r->fresh);
    r->stack_size = options->stack_size != 0 ? options->stack_size : STACK_SIZE;
    r->stack_size = (r->stack_size + page - 1) & ~(page - 1);
    r->watchdog_us =
        options->has_no_watchdog
            ? INT64_MAX
            : (options->watchdog_ms != 0 ? options->watchdog_ms : WATCHDOG_MS) * 1000LL;
    r->uv_timer_at = DEADLINE_NONE;
    r->sweep_timer.expired = sweep;
    set_signal_stack();
    rc = uv_loop_init(&r->loop);
    if (rc < 0)
        return rc;
    rc = uv_async_init(&r->loop, &r->async, on_uv_async);
    if (rc == 0)
        rc = uv_timer_init(&r->loop, &r->uv_timer);
    if (rc == 0)
        rc = task_workers_init(options);
    if (rc < 0) {
        uv_walk(&r->loop, (uv_walk_cb)uv_close, NULL);
        uv_run(&r->loop, UV_RUN_DEFAULT);
        uv_loop_close(&r->loop);
        return rc;
    }
    r->turn_us = clock_mono_us();
    r->is_ready = true;
    return 0;
}

void task_runtime_fini(void)
{
    struct task_runtime *r = &task_runtime;

    if (!r->is_ready)
        return;
    ENSURE(task_current == NULL && list_is_empty(&r->all));
    task_workers_fini();
    task_signals_fini();
    uv_close((uv_handle_t *)&r->async, NULL);
    uv_close((uv_handle_t *)&r->uv_timer, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&r->loop) < 0)
        panic("task_runtime_fini: a task_fd is still in use");
    task_stack_fini();
    r->is_ready = false;
}

/* --- turns --- */

static void watch(const char *name, int64_t took_us, int64_t now_us)
{
    struct task_runtime *r = &task_runtime;

    if (took_us < r->watchdog_us)
        return;
    if (r->warned_us != 0 && now_us - r->warned_us < WATCHDOG_PAUSE_US) {
        r->warnings_held++;
        return;
    }
    log_warn("task %s held the loop for %lld ms (%llu more such turns before)", name,
             (long long)(took_us / 1000), (unsigned long long)r->warnings_held);
    r->warned_us = now_us;
    r->warnings_held = 0;
}

/* End of a stretch that began at slice_us, and begin of the next one. */
static int64_t end_slice(const char *name)
{
    int64_t now = clock_mono_us();

    watch(name, now - task_runtime.slice_us, now);
    task_runtime.slice_us = now;
    return now;
}

static void run_tasks(void)
{
    struct task_runtime *r = &task_runtime;
    struct list *item;

    while ((item = list_pop(&r->run_queue)) != NULL) {
        struct task *t = LIST_ITEM(item, struct task, run);
        const char *name = t->name;
        task_resume(t);
        if (end_slice(name) - r->turn_us >= TURN_US)
            break;
    }
    if (r->crash_page != NULL) {
        r->crash_page->task[0] = '\0';
        r->crash_page->client[0] = '\0';
        r->crash_page->queue_id[0] = '\0';
    }
}

static void run_hooks(void)
{
    struct list asked, *item;

    if (list_is_empty(&task_runtime.hooks))
        return;
    /* Take the whole list: a hook that asks again runs at the next turn's end. */
    list_init(&asked);
    list_insert_before(&task_runtime.hooks, &asked);
    list_remove(&task_runtime.hooks);
    while ((item = list_pop(&asked)) != NULL) {
        struct task_turn_hook *hook = LIST_ITEM(item, struct task_turn_hook, link);
        hook->is_asked = false;
        hook->flush(hook);
    }
    end_slice("(end of turn)");
}

static void run_turn(void)
{
    struct task_runtime *r = &task_runtime;
    int64_t took;

    r->turn_us = r->slice_us = clock_mono_us();
    task_signals_deliver();
    task_workers_collect();
    task_timers_expire(r->turn_us / 1000);
    end_slice("(callbacks)");
    run_tasks();
    run_hooks();
    took = clock_mono_us() - r->turn_us;
    r->stats.turns++;
    if (r->crash_page != NULL)
        r->crash_page->turns = r->stats.turns;
    r->stats.busy_us += (uint64_t)took;
    if ((uint64_t)took > r->stats.longest_turn_us)
        r->stats.longest_turn_us = (uint64_t)took;
}

/* Collect events; sleep if there is nothing to do. */
static void poll_events(void)
{
    struct task_runtime *r = &task_runtime;
    bool is_busy = !list_is_empty(&r->run_queue) || !list_is_empty(&r->hooks);
    deadline_t next = task_timers_next();

    if (!is_busy && next != r->uv_timer_at) {
        int64_t in_ms = next - clock_mono_ms();
        r->uv_timer_at = next;
        uv_update_time(&r->loop);
        if (next == DEADLINE_NONE)
            uv_timer_stop(&r->uv_timer);
        else
            uv_timer_start(&r->uv_timer, on_uv_timer, in_ms > 0 ? (uint64_t)in_ms : 0, 0);
    }
    uv_run(&r->loop, is_busy ? UV_RUN_NOWAIT : UV_RUN_ONCE);
}

static bool is_work_left(void)
{
    struct task_runtime *r = &task_runtime;

    return !list_is_empty(&r->all) || r->jobs > 0;
}

int task_runtime_run(task_fn *first, void *arg)
{
    struct task_runtime *r = &task_runtime;

    ENSURE(r->is_ready && task_current == NULL);
    r->is_stopping = false;
    r->first = task_spawn("main", first, arg);
    if (r->first == NULL)
        return -ENOMEM;
    for (;;) {
        run_turn();
        if (r->first == NULL && !r->is_stopping) {
            r->is_stopping = true;
            LIST_FOR(item, &r->all)
            task_cancel(LIST_ITEM(item, struct task, all));
        }
        if (!is_work_left() && list_is_empty(&r->hooks))
            return 0;
        poll_events();
    }
}

void task_runtime_stop(void)
{
    if (task_runtime.first != NULL)
        task_cancel(task_runtime.first);
}

/* --- small things --- */

void task_turn_end(struct task_turn_hook *hook)
{
    if (hook->is_asked)
        return;
    hook->is_asked = true;
    list_append(&task_runtime.hooks, &hook->link);
}

void task_turn_end_first(struct task_turn_hook *hook)
{
    if (hook->is_asked)
        return;
    hook->is_asked = true;
    list_prepend(&task_runtime.hooks, &hook->link);
}

void task_turn_forget(struct task_turn_hook *hook)
{
    if (!hook->is_asked)
        return;
    hook->is_asked = false;
    list_remove(&hook->link);
}

void task_set_crash_page(struct task_crash_note *page)
{
    task_runtime.crash_page = page;
}

void task_get_stats(struct task_stats *stats)
{
    *stats = task_runtime.stats;
    stats->stacks_free = task_stacks_free();
}
