/*
 * Descriptors: one libuv poll handle each, kept from init to fini.
 *
 * A changed interest costs system calls, an unchanged one nothing. So an interest
 * stays armed after its wait ended, for the next wait is mostly the same; only a
 * second event that nobody waits for disarms it: at the first one its task is mostly
 * about to read (it yielded, or got no further in this turn). Disarmed means out of
 * epoll, because epoll reports hang-ups and errors of a descriptor whatever is asked for.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "task/internal.h"

_Static_assert((int)TASK_READABLE == (int)UV_READABLE && (int)TASK_WRITABLE == (int)UV_WRITABLE,
               "masks are libuv's");

struct fd_watch {
    uv_poll_t poll;
    struct task *reader, *writer; /* may be one and the same task */
    int armed;
    bool is_stray; /* the last event found nobody */
};

static int wanted(const struct fd_watch *w)
{
    return (w->reader != NULL ? TASK_READABLE : 0) | (w->writer != NULL ? TASK_WRITABLE : 0);
}

void task_watch_forget(struct task *t)
{
    struct fd_watch *w = t->watch;

    t->watch = NULL;
    if (w->reader == t)
        w->reader = NULL;
    if (w->writer == t)
        w->writer = NULL;
}

static void on_event(uv_poll_t *poll, int status, int events);

static int arm(struct fd_watch *w, int events)
{
    int rc = events != 0 ? uv_poll_start(&w->poll, events, on_event) : uv_poll_stop(&w->poll);

    w->armed = rc < 0 ? 0 : events;
    return rc;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct fd_watch *w = CONTAINER_OF(poll, struct fd_watch, poll);
    struct task *reader, *writer;
    int taken;

    if (status < 0) { /* an error condition: libuv has stopped watching */
        w->armed = 0;
        events = TASK_READABLE | TASK_WRITABLE;
    }
    taken = events & wanted(w);
    reader = taken & TASK_READABLE ? w->reader : NULL;
    writer = taken & TASK_WRITABLE ? w->writer : NULL;
    if (reader != NULL)
        task_wake(reader, events);
    if (writer != NULL && writer != reader)
        task_wake(writer, events);
    if (status >= 0 && taken != events) {
        if (w->is_stray)
            (void)arm(w, wanted(w)); /* cannot fail: it is less than before */
        w->is_stray = true;
    }
}

int task_fd_init(struct task_fd *f, int fd)
{
    struct fd_watch *w = NEW(struct fd_watch);
    int rc;

    *f = (struct task_fd){.fd = -1};
    if (w == NULL)
        return -ENOMEM;
    rc = uv_poll_init(&task_runtime.loop, &w->poll, fd);
    if (rc < 0) {
        free(w);
        return rc;
    }
    *f = (struct task_fd){.watch = w, .fd = fd};
    return 0;
}

static void on_close(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct fd_watch, poll));
}

void task_fd_fini(struct task_fd *f)
{
    struct fd_watch *w = f->watch;

    if (w == NULL)
        return;
    if (w->reader != NULL)
        task_wake(w->reader, -ECANCELED);
    if (w->writer != NULL)
        task_wake(w->writer, -ECANCELED);
    /* Out of epoll at once; only the memory is freed later. */
    uv_close((uv_handle_t *)&w->poll, on_close);
    *f = (struct task_fd){.fd = -1};
}

/* waiters: NULL, or a list to stand in as well. */
static int wait_for(struct task_fd *f, int events, struct list *waiters, bool may_rest,
                    deadline_t deadline)
{
    struct fd_watch *w = f->watch;
    struct task *t = task_current;
    int rc = task_may_wait();

    if (rc < 0)
        return rc;
    ENSURE(w != NULL && events != 0);
    ENSURE(!(events & TASK_READABLE) || w->reader == NULL);
    ENSURE(!(events & TASK_WRITABLE) || w->writer == NULL);
    if (events & TASK_READABLE)
        w->reader = t;
    if (events & TASK_WRITABLE)
        w->writer = t;
    t->watch = w;
    w->is_stray = false;
    /* Readable too much is harmless, writable too much would fire at once. */
    if ((wanted(w) & ~w->armed) != 0 || (w->armed & ~wanted(w) & TASK_WRITABLE) != 0)
        rc = arm(w, wanted(w));
    if (rc < 0) {
        task_watch_forget(t);
        return rc;
    }
    t->may_rest = may_rest;
    return task_park(waiters, deadline);
}

int task_fd_wait(struct task_fd *f, int events, deadline_t deadline)
{
    return wait_for(f, events, NULL, false, deadline);
}

int task_fd_rest(struct task_fd *f, int events, struct task_cond *c, deadline_t deadline)
{
    return wait_for(f, events, c != NULL ? &c->waiters : NULL, true, deadline);
}
