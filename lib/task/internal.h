/* internal.h: what the files of lib/task share. Nothing outside includes it. */
#ifndef TASK_INTERNAL_H
#define TASK_INTERNAL_H

#include <uv.h>

#include "base/list.h"
#include "task/context.h"
#include "task/task.h"

enum { IDLE_MS = 500 }; /* a task that waits longer gives its stack back */

enum task_state { TASK_READY, TASK_RUNNING, TASK_WAITING, TASK_ENDED };

struct fd_watch;

struct task {
    struct list run;   /* in the run queue */
    struct list all;   /* in runtime.all */
    struct list wait;  /* in the list of what it waits for */
    struct list group; /* in its group's tasks */
    struct list fresh; /* in runtime.fresh: its stack was used since it was trimmed */
    char *stack;       /* lowest address of runtime.stack_size octets */
    char *put_away;    /* what stood on the stack, whose pages are the kernel's meanwhile */
    size_t put_away_size;
    struct context context;
    struct task_timer timer; /* armed at or before the present wait's deadline */
    deadline_t deadline;     /* of the present wait */
    struct task_group *in_group;
    struct fd_watch *watch; /* a descriptor it waits for */
    const char *name;
    task_fn *fn;
    void *arg;
    void *item;  /* handed over by or to a channel */
    void *depth; /* how far its stack reaches while it waits */
    struct task_note *note;
    int64_t parked_us;
    enum task_state state;
    int result; /* of the present wait */
    bool is_cancelled;
    bool is_shielded;
    bool is_uninterruptible; /* waits for a worker's job */
    bool may_rest;           /* during the present wait nobody uses its stack */
    unsigned valgrind_id;    /* of the stack */
};

struct task_note {
    char client[64];
    char queue_id[64];
};

struct task_runtime {
    uv_loop_t loop;
    uv_async_t async; /* workers have finished jobs */
    uv_timer_t uv_timer;
    bool is_ready;
    bool is_stopping; /* the first task ended: tasks are born cancelled */

    struct context scheduler;
    struct task *first;
    struct list run_queue;
    struct list all;
    struct list hooks;
    struct list fresh;

    struct task_timer *timers; /* root of the heap */
    size_t timer_count;
    deadline_t uv_timer_at; /* what the loop's timer is set to */
    struct task_timer sweep_timer;
    int64_t shrunk_us; /* when free stacks were dropped last */

    int64_t turn_us;  /* when this turn began */
    int64_t slice_us; /* when the running task was resumed */
    int64_t watchdog_us;
    int64_t warned_us; /* when the watchdog last spoke */
    uint64_t warnings_held;

    size_t stack_size;
    size_t jobs; /* at work on a thread, or finished and not yet handed back */
    struct task_crash_note *crash_page;
    struct task_stats stats;
};

extern struct task_runtime task_runtime;
extern _Thread_local struct task *task_current;

/* task.c: waiting. Switches away until task_wake(), the deadline (-ETIMEDOUT) or
 * cancellation (-ECANCELED). waiters, if not NULL, is the list to stand in. */
TASK_WAITS int task_park(struct list *waiters, deadline_t deadline);
/* -ECANCELED when the running task must not wait any more. */
int task_may_wait(void);
/* The first wake-up of a wait decides its result; true if this was it. */
bool task_wake(struct task *t, int result);
/* The same for the longest waiter, NULL if none. */
struct task *task_wake_first(struct list *waiters, int result);
/* Run t until it waits or ends; frees it in the latter case. Scheduler only. */
void task_resume(struct task *t);

/* stack.c */
/* Sets t->stack; false without memory. */
bool task_stack_get(struct task *t);
void task_stack_put(struct task *t);
/* Give back to the kernel what a waiting task does not need: the pages below depth, or,
 * when it may rest, all of them, and its frames go to the heap. */
void task_stack_trim(struct task *t);
/* Put the frames of a task that rested back. */
void task_stack_restore(struct task *t);
/* Drop free stacks that were not needed since the last call. */
void task_stack_shrink(void);
size_t task_stacks_free(void);
void task_stack_fini(void);

/* timer.c: call what is due at now_ms. */
void task_timers_expire(deadline_t now_ms);
/* DEADLINE_NONE when nothing is armed. */
deadline_t task_timers_next(void);

/* fd.c: t stops waiting for its descriptor. */
void task_watch_forget(struct task *t);

/* worker.c */
int task_workers_init(const struct task_options *options);
/* Hand finished jobs back. */
void task_workers_collect(void);
void task_workers_fini(void);

/* signal.c: call back for the signals that came. */
void task_signals_deliver(void);
void task_signals_fini(void);

#endif
