/*
 * Timers: an intrusive pairing heap. Arming takes a constant few steps and no
 * memory, so it cannot fail; taking the first one off is logarithmic.
 *
 * A node's prev is its parent if it is the first child, else its left sibling.
 */
#include "task/internal.h"

static struct task_timer *meld(struct task_timer *a, struct task_timer *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (b->at < a->at) {
        struct task_timer *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next != NULL)
        b->next->prev = b;
    a->child = b;
    return a;
}

/* Meld a list of siblings: in pairs from the left, then all from the right. */
static struct task_timer *meld_siblings(struct task_timer *first)
{
    struct task_timer *pairs = NULL, *root = NULL;

    while (first != NULL) {
        struct task_timer *a = first, *b = a->next;
        first = b != NULL ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b != NULL)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct task_timer *a = pairs;
        pairs = a->next;
        a->next = NULL;
        root = meld(root, a);
    }
    return root;
}

void task_timer_clear(struct task_timer *timer)
{
    struct task_timer *below;

    if (!timer->is_armed)
        return;
    below = meld_siblings(timer->child);
    timer->child = NULL;
    if (timer == task_runtime.timers) {
        task_runtime.timers = below;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next != NULL)
            timer->next->prev = timer->prev;
        task_runtime.timers = meld(task_runtime.timers, below);
    }
    timer->next = timer->prev = NULL;
    timer->is_armed = false;
    task_runtime.timer_count--;
}

void task_timer_set(struct task_timer *timer, deadline_t at)
{
    task_timer_clear(timer);
    if (at == DEADLINE_NONE)
        return;
    timer->at = at;
    timer->child = timer->next = timer->prev = NULL;
    timer->is_armed = true;
    task_runtime.timers = meld(task_runtime.timers, timer);
    task_runtime.timer_count++;
}

void task_timers_expire(deadline_t now_ms)
{
    /* What a callback arms anew for now waits for the next turn. */
    for (size_t n = task_runtime.timer_count; n > 0; n--) {
        struct task_timer *due = task_runtime.timers;
        if (due == NULL || due->at > now_ms)
            break;
        task_timer_clear(due);
        due->expired(due);
    }
}

deadline_t task_timers_next(void)
{
    return task_runtime.timers != NULL ? task_runtime.timers->at : DEADLINE_NONE;
}
