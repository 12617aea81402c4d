#include "tests/unit/net/support_peer.h"

#include <errno.h>
#include <stdlib.h>

void peer_init(struct peer *p, enum peer_split split, unsigned seed, struct span script)
{
    *p = (struct peer){.split = split, .seed = seed, .script = script};
}

void peer_fini(struct peer *p)
{
    str_fini(&p->received);
}

/* How much of n moves now; 0: not ready. */
static size_t piece(struct peer *p, size_t n)
{
    if (p->split == PEER_WHOLE)
        return n;
    p->is_ready = !p->is_ready;
    if (p->is_ready && (p->split == PEER_BYTEWISE || rand_r(&p->seed) % 2 == 0))
        return 0;
    if (p->split == PEER_BYTEWISE || n == 0)
        return n < 1 ? n : 1;
    return 1 + (size_t)rand_r(&p->seed) % n;
}

static ssize_t peer_read(void *arg, void *buf, size_t n)
{
    struct peer *p = arg;
    ptrdiff_t ready;

    if (p->pauses && p->script.n > 0 && p->script.p[0] == PEER_PAUSE[0]) {
        if (p->received.len == p->heard)
            return -EAGAIN;
        p->script = span_drop(p->script, 1);
    }
    if (p->script.n == 0)
        return p->end;
    ready = p->pauses ? span_find(p->script, PEER_PAUSE[0]) : -1;
    if (ready >= 0 && n > (size_t)ready)
        n = (size_t)ready;
    n = piece(p, n < p->script.n ? n : p->script.n);
    if (n == 0)
        return -EAGAIN;
    p->heard = p->received.len;
    p->last_wait = p->waits;
    memcpy(buf, p->script.p, n);
    p->script = span_drop(p->script, n);
    return (ssize_t)n;
}

static ssize_t peer_write(void *arg, const void *buf, size_t n)
{
    struct peer *p = arg;

    n = piece(p, n);
    if (n == 0)
        return -EAGAIN;
    p->writes++;
    p->last_wait = p->waits;
    str_append(&p->received, span_make(buf, n));
    return (ssize_t)n;
}

static int peer_wait(void *arg, int events, deadline_t deadline)
{
    struct peer *p = arg;

    p->waits++;
    if (p->yields && task_yield() < 0)
        return -ECANCELED;
    /* A pause that nobody ends. */
    if (p->pauses && p->waits - p->last_wait > 100)
        return -ETIMEDOUT;
    return deadline == 0 ? -ETIMEDOUT : 0;
}

struct stream *peer_stream(struct peer *p, struct budget *budget)
{
    static const struct stream_transport transport = {peer_read, peer_write, peer_wait, NULL};
    struct stream *s;

    return stream_new_transport(&s, &transport, p, budget) < 0 ? NULL : s;
}
