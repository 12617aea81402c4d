/*
 * task.h: coroutines on one event loop per process, and worker threads.
 *
 * A task runs until it waits. Everything here is for the loop thread, except
 * what a job does on a worker. A function marked TASK_WAITS may switch to
 * other tasks: afterwards errno, static buffers and pointers into shared tables
 * are no longer valid. Every wait has a deadline (clock.h) and ends early with
 * -ECANCELED when the task is cancelled, so clean-up is ordinary error
 * handling. 0 or a negative code is returned throughout.
 */
#ifndef TASK_TASK_H
#define TASK_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/span.h"

#define TASK_WAITS

struct task;
typedef void task_fn(void *arg);

/* --- the runtime --- */

enum task_pool {
    TASK_POOL_SYNC,  /* fdatasync and friends */
    TASK_POOL_STORE, /* index transactions, cold reads */
    TASK_POOL_CPU,   /* handshakes, password hashes */
    TASK_POOLS,
};

struct task_options {
    size_t stack_size;            /* 0: 64 KiB (256 KiB under ASan) */
    unsigned threads[TASK_POOLS]; /* 0: a default; threads start at the first job */
    unsigned watchdog_ms;         /* log a turn longer than this; 0: 50 */
    bool has_no_watchdog;         /* a command that serves nobody but its caller */
};

/* Before the first task, after the sandbox. -errno on failure. */
int task_runtime_init(const struct task_options *options);
/* Run the loop with a first task until task_runtime_stop() and the end of that
 * first task. Other tasks that still live are cancelled and waited for. */
int task_runtime_run(task_fn *first, void *arg);
/* Cancel the first task (idempotent; also from a signal callback). */
void task_runtime_stop(void);
void task_runtime_fini(void);

/* --- tasks --- */

/* Start a task on its own stack; it first runs later in this or the next turn.
 * name is constant text. NULL when memory or stacks are exhausted. The task
 * frees itself; the pointer is valid until it ends. */
struct task *task_spawn(const char *name, task_fn *fn, void *arg);
/* NULL outside tasks. */
struct task *task_self(void);
/* Its present and every later wait return -ECANCELED. */
void task_cancel(struct task *t);
bool task_is_cancelled(void);
/* For clean-up that must wait (a close_notify, a last record): waits work again
 * until the matching call with the value this one returned. */
bool task_shield(bool on);

/* Tasks that end together. */
struct task_group {
    struct list tasks;
    struct list waiters;
    size_t count;
};
void task_group_init(struct task_group *g);
/* -ENOMEM. */
int task_group_spawn(struct task_group *g, const char *name, task_fn *fn, void *arg);
void task_group_cancel(struct task_group *g);
/* Until the last one ended. */
TASK_WAITS int task_group_wait(struct task_group *g, deadline_t deadline);
/* Cancel all and wait until the last one ended, even when cancelled itself: what
 * the tasks use may be freed afterwards. */
TASK_WAITS void task_group_end(struct task_group *g);

/* 0 at the time; in the past: as task_yield(). -ECANCELED. */
TASK_WAITS int task_sleep(deadline_t until);
/* Let every other runnable task run once. */
TASK_WAITS int task_yield(void);
/* For long loops: yields when this task has run for 2 ms. */
TASK_WAITS int task_breathe(void);

/* What this task works for, such as "unknown[192.0.2.1]" and a queue id: copied
 * (up to 63 octets each) to where a crash report finds it. */
void task_set_note(struct span client, struct span queue_id);
/* The runtime copies the running task's note there at every switch; the memory
 * is the process' statistics page. */
struct task_crash_note {
    char task[32];
    char client[64];
    char queue_id[64];
    uint64_t turns; /* of the loop so far: whoever watches sees a task that never waits */
};
void task_set_crash_page(struct task_crash_note *page);

/* --- waiting --- */

/* A condition: tasks wait until somebody signals. Check, wait, check again. */
struct task_cond {
    struct list waiters;
};
void task_cond_init(struct task_cond *c);
TASK_WAITS int task_cond_wait(struct task_cond *c, deadline_t deadline);
void task_cond_signal(struct task_cond *c);    /* wake the longest waiter */
void task_cond_broadcast(struct task_cond *c); /* wake all */
bool task_cond_is_awaited(const struct task_cond *c);

/* Mutual exclusion and counting, first come first served. */
struct task_semaphore {
    struct list waiters;
    size_t free;
};
void task_semaphore_init(struct task_semaphore *s, size_t count);
TASK_WAITS int task_semaphore_take(struct task_semaphore *s, deadline_t deadline);
void task_semaphore_give(struct task_semaphore *s);

/* A bounded queue of pointers between tasks. */
struct task_channel;
/* NULL: no memory. Capacity 0: a send waits for its receiver. */
struct task_channel *task_channel_new(size_t capacity);
/* Nobody may wait any more. NULL is allowed. */
void task_channel_free(struct task_channel *c);
/* 0: the item is in (or a receiver has it); otherwise it stays the sender's. */
TASK_WAITS int task_channel_send(struct task_channel *c, void *item, deadline_t deadline);
/* -EAGAIN instead of waiting. */
int task_channel_try_send(struct task_channel *c, void *item);
/* ERR_CLOSED when it is closed and empty. */
TASK_WAITS int task_channel_receive(struct task_channel *c, void **item, deadline_t deadline);
/* -EAGAIN instead of waiting. */
int task_channel_try_receive(struct task_channel *c, void **item);
/* Items inside can still be received; senders get ERR_CLOSED. */
void task_channel_close(struct task_channel *c);

/* --- descriptors --- */

enum { TASK_READABLE = 1, TASK_WRITABLE = 2 };

/* A descriptor the loop watches; embedded. The descriptor must be non-blocking
 * and stays the caller's. */
struct fd_watch;
struct task_fd {
    struct fd_watch *watch; /* the loop's part; NULL when not initialised */
    int fd;
};
/* -ENOMEM; -EPERM for a file or directory; -EEXIST when it is watched already. */
int task_fd_init(struct task_fd *f, int fd);
/* Before the descriptor is closed or given away. Tasks that wait for it get
 * -ECANCELED. A zeroed task_fd is allowed, and a second call. */
void task_fd_fini(struct task_fd *f);
/* Readiness as a mask of TASK_READABLE | TASK_WRITABLE (errors count as both),
 * or a negative code. One reader and one writer may wait at a time. Hints only:
 * try, and wait only after EAGAIN; waiting for the same again costs nothing. */
TASK_WAITS int task_fd_wait(struct task_fd *f, int events, deadline_t deadline);
/* The same for a wait that may be long; it also ends, with 0, when c is signalled (NULL:
 * without that). The task's stack may be put away meanwhile: nothing on it, such as c, may
 * be used by anybody else. */
TASK_WAITS int task_fd_rest(struct task_fd *f, int events, struct task_cond *c,
                            deadline_t deadline);

/* A descriptor watched by a callback (outside tasks, must not wait) instead of a
 * task, for what must not hold a stack while it idles. Embedded. */
struct task_watch {
    void (*ready)(struct task_watch *w, int events);
    void *poll; /* the loop's handle */
};
int task_watch_init(struct task_watch *w, int fd, void (*ready)(struct task_watch *, int));
/* What to wait for: a mask, 0 for nothing (hang-ups are not told then either). The
 * same mask again costs nothing. */
int task_watch_set(struct task_watch *w, int events);
/* Before the descriptor is closed; also from its own callback; idempotent. */
void task_watch_fini(struct task_watch *w);

/* --- worker threads --- */

typedef void task_job_fn(void *job);

/* Run fn(job) on a pool's thread and wait for it. 0: it ran to its end, and a
 * task cancelled meanwhile learns so in its *next* wait. Negative: the job did not
 * run: -ECANCELED when the task was cancelled before (task_shield() what must be
 * done), -ENOMEM when no thread could be had. fn must not touch anything that
 * belongs to the loop. */
TASK_WAITS int task_offload(enum task_pool pool, task_job_fn *fn, void *job);

/* Without waiting: run() on a worker, then done() on the loop thread (outside
 * tasks; it must not wait, and usually signals a condition). Embedded. */
struct task_job {
    void (*run)(struct task_job *job);
    void (*done)(struct task_job *job);
    struct list link;
};
int task_offload_start(enum task_pool pool, struct task_job *job);

/* --- turns --- */

/* Everything that leaves a process in one loop turn leaves as one write: flush()
 * runs (outside tasks, must not wait) when no task is runnable any more. Asking
 * twice in a turn counts once. Embedded; zero-initialise. */
struct task_turn_hook {
    void (*flush)(struct task_turn_hook *hook);
    struct list link;
    bool is_asked;
};
void task_turn_end(struct task_turn_hook *hook);
/* The same, ahead of those that asked already. */
void task_turn_end_first(struct task_turn_hook *hook);
/* Before an asked hook's memory goes away. */
void task_turn_forget(struct task_turn_hook *hook);

/* --- timers and signals --- */

/* A callback (outside tasks, must not wait) at a time. Embedded; zero-initialise;
 * setting again moves it. */
struct task_timer {
    void (*expired)(struct task_timer *timer);
    deadline_t at;
    struct task_timer *child, *next, *prev; /* in the heap of all timers */
    bool is_armed;
};
/* DEADLINE_NONE clears it. */
void task_timer_set(struct task_timer *timer, deadline_t at);
void task_timer_clear(struct task_timer *timer);

/* callback(signo) runs on the loop thread outside tasks; NULL restores the default. */
int task_signal(int signo, void (*callback)(int signo));

/* --- statistics --- */

struct task_stats {
    uint64_t turns, switches, jobs;
    uint64_t busy_us; /* time in turns, sleeping excluded */
    uint64_t longest_turn_us;
    size_t tasks, stacks_free;
};
void task_get_stats(struct task_stats *stats);

#endif
