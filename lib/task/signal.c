/* Signals: libuv's handler writes to a pipe; callbacks run in the next turn. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "task/internal.h"

#define SIGNALS 65

struct signal_watch {
    uv_signal_t handle;
    void (*callback)(int signo);
};

static struct signal_watch *watches[SIGNALS];
static bool came[SIGNALS];
static bool any_came;

static void on_signal(uv_signal_t *handle, int signo)
{
    came[signo] = any_came = true;
}

static void on_close(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct signal_watch, handle));
}

static void drop(int signo)
{
    struct signal_watch *w = watches[signo];

    watches[signo] = NULL;
    came[signo] = false;
    if (w != NULL)
        uv_close((uv_handle_t *)&w->handle, on_close);
}

/* libuv installs handlers that would run on the running task's stack. */
static void use_signal_stack(int signo)
{
    struct sigaction action;

    if (sigaction(signo, NULL, &action) == 0) {
        action.sa_flags |= SA_ONSTACK;
        (void)sigaction(signo, &action, NULL);
    }
}

int task_signal(int signo, void (*callback)(int signo))
{
    struct signal_watch *w;
    int rc;

    if (signo < 1 || signo >= SIGNALS)
        return -EINVAL;
    if (callback == NULL) {
        drop(signo);
        return 0;
    }
    if (watches[signo] != NULL) {
        watches[signo]->callback = callback;
        return 0;
    }
    w = NEW(struct signal_watch);
    if (w == NULL)
        return -ENOMEM;
    rc = uv_signal_init(&task_runtime.loop, &w->handle);
    if (rc < 0) {
        free(w);
        return rc;
    }
    w->callback = callback;
    rc = uv_signal_start(&w->handle, on_signal, signo);
    if (rc < 0) {
        uv_close((uv_handle_t *)&w->handle, on_close);
        return rc;
    }
    use_signal_stack(signo);
    watches[signo] = w;
    return 0;
}

void task_signals_deliver(void)
{
    if (!any_came)
        return;
    any_came = false;
    for (int signo = 1; signo < SIGNALS; signo++) {
        if (!came[signo])
            continue;
        came[signo] = false;
        if (watches[signo] != NULL)
            watches[signo]->callback(signo);
    }
}

void task_signals_fini(void)
{
    for (int signo = 1; signo < SIGNALS; signo++)
        drop(signo);
}
