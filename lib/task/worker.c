/*
 * Worker threads: a pool per kind of work, so that password hashes never stand
 * before a sync. A thread starts when a job finds none idle; it takes no signals.
 * Finished jobs gather in one list, and the loop is woken once for all of them.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "task/internal.h"

#define THREADS_MAX 64
#define THREAD_STACK (1024 * 1024)

struct pool {
    const char *name;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t work;
    struct list jobs;
    size_t idle, waiting; /* threads without a job; jobs without a thread */
    unsigned started, max;
    bool is_ending;
    pthread_t threads[THREADS_MAX];
};

static struct pool pools[TASK_POOLS] = {
    [TASK_POOL_SYNC] = {.name = "sync"},
    [TASK_POOL_STORE] = {.name = "store"},
    [TASK_POOL_CPU] = {.name = "cpu"},
};

static pthread_mutex_t finished_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list finished;

static unsigned default_threads(enum task_pool pool)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (pool != TASK_POOL_CPU)
        return 4;
    return cores < 1 ? 1 : cores > 16 ? 16 : (unsigned)cores;
}

int task_workers_init(const struct task_options *options)
{
    list_init(&finished);
    for (int i = 0; i < TASK_POOLS; i++) {
        struct pool *p = &pools[i];
        unsigned max = options->threads[i] != 0 ? options->threads[i] : default_threads(i);
        const char *name = p->name;
        *p = (struct pool){.name = name, .max = max > THREADS_MAX ? THREADS_MAX : max};
        list_init(&p->jobs);
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->work, NULL);
    }
    return 0;
}

static void finish(struct task_job *job)
{
    bool is_first;

    pthread_mutex_lock(&finished_lock);
    is_first = list_is_empty(&finished);
    list_append(&finished, &job->link);
    pthread_mutex_unlock(&finished_lock);
    if (is_first)
        uv_async_send(&task_runtime.async);
}

static void *work(void *arg)
{
    struct pool *p = arg;
    struct list *item;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while ((item = list_pop(&p->jobs)) == NULL && !p->is_ending) {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
        }
        if (item == NULL)
            break;
        p->waiting--;
        pthread_mutex_unlock(&p->lock);
        struct task_job *job = LIST_ITEM(item, struct task_job, link);
        job->run(job);
        finish(job);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int start_thread(struct pool *p)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    char name[16];
    int rc;

    pthread_attr_init(&attributes);
#ifndef TASK_ASAN
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
#endif
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&p->threads[p->started], &attributes, work, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc != 0)
        return -rc;
    snprintf(name, sizeof(name), "%s-%u", p->name, p->started % 1000);
    (void)pthread_setname_np(p->threads[p->started], name);
    p->started++;
    return 0;
}

int task_offload_start(enum task_pool pool, struct task_job *job)
{
    struct pool *p = &pools[pool];
    int rc = 0;

    ENSURE(task_runtime.is_ready);
    pthread_mutex_lock(&p->lock);
    /* Idle threads count until they have picked their job up. */
    if (p->waiting >= p->idle && p->started < p->max)
        rc = start_thread(p);
    if (rc == 0 || p->started > 0) { /* a pool that cannot grow only gets slower */
        rc = 0;
        list_append(&p->jobs, &job->link);
        p->waiting++;
        task_runtime.jobs++;
        task_runtime.stats.jobs++;
    }
    pthread_mutex_unlock(&p->lock);
    /* Not before: the thread would wake up only to wait for the lock. */
    if (rc == 0)
        pthread_cond_signal(&p->work);
    if (rc < 0) {
        log_warn("no %s thread could be started: %s", p->name, error_text(rc));
        return -ENOMEM;
    }
    return 0;
}

void task_workers_collect(void)
{
    struct list done, *item;

    if (task_runtime.jobs == 0)
        return;
    list_init(&done);
    pthread_mutex_lock(&finished_lock);
    if (!list_is_empty(&finished)) {
        list_insert_before(&finished, &done);
        list_remove(&finished);
    }
    pthread_mutex_unlock(&finished_lock);
    while ((item = list_pop(&done)) != NULL) {
        struct task_job *job = LIST_ITEM(item, struct task_job, link);
        task_runtime.jobs--;
        job->done(job);
    }
}

void task_workers_fini(void)
{
    for (int i = 0; i < TASK_POOLS; i++) {
        struct pool *p = &pools[i];
        pthread_mutex_lock(&p->lock);
        p->is_ending = true;
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->lock);
        for (unsigned k = 0; k < p->started; k++)
            pthread_join(p->threads[k], NULL);
        pthread_cond_destroy(&p->work);
        pthread_mutex_destroy(&p->lock);
    }
}

/* --- jobs a task waits for --- */

struct offload {
    struct task_job job;
    struct task *task;
    task_job_fn *fn;
    void *arg;
};

static void run_offload(struct task_job *job)
{
    struct offload *o = CONTAINER_OF(job, struct offload, job);

    o->fn(o->arg);
}

static void wake_offload(struct task_job *job)
{
    task_wake(CONTAINER_OF(job, struct offload, job)->task, 0);
}

int task_offload(enum task_pool pool, task_job_fn *fn, void *job)
{
    struct offload o = {.job = {.run = run_offload, .done = wake_offload}, .fn = fn, .arg = job};
    int rc = task_may_wait();

    if (rc == 0)
        rc = task_offload_start(pool, &o.job);
    if (rc < 0)
        return rc;
    o.task = task_current;
    task_current->is_uninterruptible = true;
    rc = task_park(NULL, DEADLINE_NONE);
    task_current->is_uninterruptible = false;
    return rc;
}
