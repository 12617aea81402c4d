/* What tasks wait for among themselves: conditions, semaphores, channels. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "task/internal.h"

/* Stand in a list, unless the task is cancelled or its time is over. */
static int wait_in(struct list *waiters, deadline_t deadline)
{
    int rc = task_may_wait();

    if (rc < 0)
        return rc;
    if (deadline != DEADLINE_NONE && deadline <= clock_mono_ms())
        return -ETIMEDOUT;
    return task_park(waiters, deadline);
}

/* --- conditions --- */

void task_cond_init(struct task_cond *c)
{
    list_init(&c->waiters);
}

int task_cond_wait(struct task_cond *c, deadline_t deadline)
{
    return wait_in(&c->waiters, deadline);
}

void task_cond_signal(struct task_cond *c)
{
    (void)task_wake_first(&c->waiters, 0);
}

void task_cond_broadcast(struct task_cond *c)
{
    while (task_wake_first(&c->waiters, 0) != NULL)
        ;
}

bool task_cond_is_awaited(const struct task_cond *c)
{
    return !list_is_empty(&c->waiters);
}

/* --- semaphores --- */

void task_semaphore_init(struct task_semaphore *s, size_t count)
{
    list_init(&s->waiters);
    s->free = count;
}

int task_semaphore_take(struct task_semaphore *s, deadline_t deadline)
{
    int rc = task_may_wait();

    if (rc < 0)
        return rc;
    if (s->free == 0)
        return wait_in(&s->waiters, deadline); /* woken: the unit is handed over */
    s->free--;
    return 0;
}

void task_semaphore_give(struct task_semaphore *s)
{
    if (task_wake_first(&s->waiters, 0) == NULL)
        s->free++;
}

/* --- channels --- */

/* Senders wait only while it is full, receivers only while it is empty; what a
 * waiting task brings or gets passes through its structure. */
struct task_channel {
    struct list senders, receivers;
    size_t capacity, count, first;
    bool is_closed;
    void *items[];
};

struct task_channel *task_channel_new(size_t capacity)
{
    struct task_channel *c;

    if (capacity > SIZE_MAX / sizeof(void *) / 2)
        return NULL;
    c = mem_new(sizeof(*c) + capacity * sizeof(void *));
    if (c == NULL)
        return NULL;
    list_init(&c->senders);
    list_init(&c->receivers);
    c->capacity = capacity;
    return c;
}

void task_channel_free(struct task_channel *c)
{
    if (c == NULL)
        return;
    ENSURE(list_is_empty(&c->senders) && list_is_empty(&c->receivers));
    free(c);
}

static void put(struct task_channel *c, void *item)
{
    c->items[(c->first + c->count++) % c->capacity] = item;
}

int task_channel_try_send(struct task_channel *c, void *item)
{
    struct task *receiver;

    if (c->is_closed)
        return ERR_CLOSED;
    receiver = task_wake_first(&c->receivers, 0);
    if (receiver != NULL)
        receiver->item = item;
    else if (c->count < c->capacity)
        put(c, item);
    else
        return -EAGAIN;
    return 0;
}

int task_channel_send(struct task_channel *c, void *item, deadline_t deadline)
{
    int rc = task_may_wait();

    if (rc == 0)
        rc = task_channel_try_send(c, item);
    if (rc != -EAGAIN)
        return rc;
    task_current->item = item;
    return wait_in(&c->senders, deadline);
}

/* The item of the longest waiting sender; false if none waits. */
static bool take_from_sender(struct task_channel *c, void **item)
{
    struct task *sender = task_wake_first(&c->senders, 0);

    if (sender == NULL)
        return false;
    *item = sender->item;
    return true;
}

int task_channel_try_receive(struct task_channel *c, void **item)
{
    void *next;

    if (c->count > 0) {
        *item = c->items[c->first];
        c->first = (c->first + 1) % c->capacity;
        c->count--;
        if (take_from_sender(c, &next))
            put(c, next);
        return 0;
    }
    if (take_from_sender(c, item))
        return 0;
    return c->is_closed ? ERR_CLOSED : -EAGAIN;
}

int task_channel_receive(struct task_channel *c, void **item, deadline_t deadline)
{
    int rc = task_may_wait();

    if (rc == 0)
        rc = task_channel_try_receive(c, item);
    if (rc != -EAGAIN)
        return rc;
    rc = wait_in(&c->receivers, deadline);
    if (rc == 0)
        *item = task_current->item;
    return rc;
}

void task_channel_close(struct task_channel *c)
{
    c->is_closed = true;
    while (task_wake_first(&c->receivers, ERR_CLOSED) != NULL ||
           task_wake_first(&c->senders, ERR_CLOSED) != NULL)
        ;
}
