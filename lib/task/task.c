/* Tasks: birth, waiting, waking, end; groups. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "task/internal.h"

#define SLICE_US 2000

_Thread_local struct task *task_current;

/* --- life --- */

static void wait_expired(struct task_timer *timer)
{
    struct task *t = CONTAINER_OF(timer, struct task, timer);

    /* The timer stays armed over waits that end in time, because most do: it may
     * be early for this wait, or none may be under way. */
    if (t->state != TASK_WAITING || t->deadline == DEADLINE_NONE)
        return;
    if (t->deadline <= clock_mono_ms())
        task_wake(t, -ETIMEDOUT);
    else
        task_timer_set(timer, t->deadline);
}

static void task_main(void *arg)
{
    struct task *t = arg;

    context_entered();
    t->fn(t->arg);
    t->state = TASK_ENDED;
    context_switch(&t->context, &task_runtime.scheduler, true);
    panic("task %s goes on after its end", t->name);
}

static void make_ready(struct task *t)
{
    t->state = TASK_READY;
    list_append(&task_runtime.run_queue, &t->run);
}

struct task *task_spawn(const char *name, task_fn *fn, void *arg)
{
    struct task *t = NEW(struct task);

    ENSURE(task_runtime.is_ready);
    if (t == NULL || !task_stack_get(t)) {
        free(t);
        return NULL;
    }
    list_init(&t->run);
    list_init(&t->wait);
    list_init(&t->group);
    list_init(&t->fresh);
    t->name = name;
    t->fn = fn;
    t->arg = arg;
    t->timer.expired = wait_expired;
    t->deadline = DEADLINE_NONE;
    t->is_cancelled = task_runtime.is_stopping;
    context_init(&t->context, t->stack, task_runtime.stack_size, task_main, t);
    list_append(&task_runtime.all, &t->all);
    task_runtime.stats.tasks++;
    make_ready(t);
    return t;
}

static void leave_group(struct task *t)
{
    struct task_group *g = t->in_group;

    if (g == NULL)
        return;
    list_remove(&t->group);
    if (--g->count == 0) {
        while (task_wake_first(&g->waiters, 0) != NULL)
            ;
    }
}

static void bury(struct task *t)
{
    leave_group(t);
    task_timer_clear(&t->timer);
    list_remove(&t->fresh);
    list_remove(&t->all);
    free(t->note);
    task_runtime.stats.tasks--;
    if (task_runtime.first == t)
        task_runtime.first = NULL;
    task_stack_put(t);
    free(t);
}

static void show_crash_note(const struct task *t)
{
    struct task_crash_note *page = task_runtime.crash_page;
    size_t n = strnlen(t->name, sizeof(page->task) - 1);

    memcpy(page->task, t->name, n);
    page->task[n] = '\0';
    if (t->note != NULL) {
        memcpy(page->client, t->note->client, sizeof(page->client));
        memcpy(page->queue_id, t->note->queue_id, sizeof(page->queue_id));
    } else {
        page->client[0] = page->queue_id[0] = '\0';
    }
}

void task_resume(struct task *t)
{
    if (t->put_away != NULL)
        task_stack_restore(t);
    t->state = TASK_RUNNING;
    task_current = t;
    task_runtime.stats.switches++;
    if (task_runtime.crash_page != NULL)
        show_crash_note(t);
    context_switch(&task_runtime.scheduler, &t->context, false);
    task_current = NULL;
    if (t->state == TASK_ENDED)
        bury(t);
}

/* --- waiting and waking --- */

int task_may_wait(void)
{
    if (task_current == NULL)
        panic("a wait outside tasks");
    return task_is_cancelled() ? -ECANCELED : 0;
}

static void switch_away(struct task *t)
{
    t->depth = __builtin_frame_address(0);
    context_switch(&t->context, &task_runtime.scheduler, false);
}

int task_park(struct list *waiters, deadline_t deadline)
{
    struct task *t = task_current;

    if (waiters != NULL)
        list_append(waiters, &t->wait);
    t->deadline = deadline;
    if (deadline != DEADLINE_NONE && (!t->timer.is_armed || deadline < t->timer.at))
        task_timer_set(&t->timer, deadline);
    t->state = TASK_WAITING;
    if (!list_is_linked(&t->fresh)) {
        list_append(&task_runtime.fresh, &t->fresh);
        if (!task_runtime.sweep_timer.is_armed)
            task_timer_set(&task_runtime.sweep_timer, task_runtime.turn_us / 1000 + IDLE_MS);
    }
    t->parked_us = task_runtime.turn_us;
    switch_away(t);
    t->may_rest = false;
    return t->result;
}

bool task_wake(struct task *t, int result)
{
    if (t->state != TASK_WAITING)
        return false;
    list_remove(&t->wait);
    if (t->watch != NULL)
        task_watch_forget(t);
    t->result = result;
    make_ready(t);
    return true;
}

struct task *task_wake_first(struct list *waiters, int result)
{
    struct list *first = list_pop(waiters);
    struct task *t;

    if (first == NULL)
        return NULL;
    t = LIST_ITEM(first, struct task, wait);
    ENSURE(task_wake(t, result));
    return t;
}

int task_yield(void)
{
    int rc = task_may_wait();

    if (rc < 0)
        return rc;
    make_ready(task_current);
    switch_away(task_current);
    return task_may_wait();
}

int task_breathe(void)
{
    if (clock_mono_us() - task_runtime.slice_us < SLICE_US)
        return task_may_wait();
    return task_yield();
}

int task_sleep(deadline_t until)
{
    int rc = task_may_wait();

    if (rc < 0)
        return rc;
    if (until <= clock_mono_ms())
        return task_yield();
    rc = task_park(NULL, until);
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* --- about tasks --- */

struct task *task_self(void)
{
    return task_current;
}

void task_cancel(struct task *t)
{
    t->is_cancelled = true;
    if (!t->is_shielded && !t->is_uninterruptible)
        task_wake(t, -ECANCELED);
}

bool task_is_cancelled(void)
{
    return task_current != NULL && task_current->is_cancelled && !task_current->is_shielded;
}

bool task_shield(bool on)
{
    bool before;

    ENSURE(task_current != NULL);
    before = task_current->is_shielded;
    task_current->is_shielded = on;
    return before;
}

static void copy_note(char *to, size_t size, struct span text)
{
    text = span_take(text, size - 1);
    if (text.n > 0)
        memcpy(to, text.p, text.n);
    to[text.n] = '\0';
}

void task_set_note(struct span client, struct span queue_id)
{
    struct task *t = task_current;

    ENSURE(t != NULL);
    if (t->note == NULL)
        t->note = NEW(struct task_note);
    if (t->note == NULL)
        return; /* a crash report without a name is better than none */
    copy_note(t->note->client, sizeof(t->note->client), client);
    copy_note(t->note->queue_id, sizeof(t->note->queue_id), queue_id);
    if (task_runtime.crash_page != NULL)
        show_crash_note(t);
}

/* --- groups --- */

void task_group_init(struct task_group *g)
{
    list_init(&g->tasks);
    list_init(&g->waiters);
    g->count = 0;
}

int task_group_spawn(struct task_group *g, const char *name, task_fn *fn, void *arg)
{
    struct task *t = task_spawn(name, fn, arg);

    if (t == NULL)
        return -ENOMEM;
    t->in_group = g;
    list_append(&g->tasks, &t->group);
    g->count++;
    return 0;
}

void task_group_cancel(struct task_group *g)
{
    LIST_FOR(item, &g->tasks)
    task_cancel(LIST_ITEM(item, struct task, group));
}

int task_group_wait(struct task_group *g, deadline_t deadline)
{
    int rc = task_may_wait();

    while (rc == 0 && g->count > 0)
        rc = deadline <= clock_mono_ms() ? -ETIMEDOUT : task_park(&g->waiters, deadline);
    return rc;
}

void task_group_end(struct task_group *g)
{
    bool before = task_shield(true);

    task_group_cancel(g);
    (void)task_group_wait(g, DEADLINE_NONE);
    (void)task_shield(before);
}
