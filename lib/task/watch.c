/* Descriptors watched by callbacks. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "task/internal.h"

struct callback_watch {
    uv_poll_t poll;
    struct task_watch *owner; /* NULL once it has gone */
    int armed;
};

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct callback_watch *w = CONTAINER_OF(poll, struct callback_watch, poll);

    if (w->owner == NULL)
        return;
    if (status < 0) { /* an error condition: libuv has stopped watching */
        events = w->armed;
        w->armed = 0;
    }
    w->owner->ready(w->owner, events);
}

int task_watch_init(struct task_watch *owner, int fd, void (*ready)(struct task_watch *, int))
{
    struct callback_watch *w = NEW(struct callback_watch);
    int rc;

    *owner = (struct task_watch){.ready = ready};
    if (w == NULL)
        return -ENOMEM;
    rc = uv_poll_init(&task_runtime.loop, &w->poll, fd);
    if (rc < 0) {
        free(w);
        return rc;
    }
    w->owner = owner;
    owner->poll = w;
    return 0;
}

int task_watch_set(struct task_watch *owner, int events)
{
    struct callback_watch *w = owner->poll;
    int rc;

    if (events == w->armed)
        return 0;
    rc = events != 0 ? uv_poll_start(&w->poll, events, on_event) : uv_poll_stop(&w->poll);
    w->armed = rc < 0 ? 0 : events;
    return rc;
}

static void on_close(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct callback_watch, poll));
}

void task_watch_fini(struct task_watch *owner)
{
    struct callback_watch *w = owner->poll;

    if (w == NULL)
        return;
    w->owner = NULL;
    owner->poll = NULL;
    uv_close((uv_handle_t *)&w->poll, on_close);
}
