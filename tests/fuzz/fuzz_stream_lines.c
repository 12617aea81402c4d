/* Lines, peeks and skips over a transport that hands out odd pieces. The first octet
 * chooses the pieces. */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "net/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct script {
    struct span rest;
    unsigned state;
};

static ssize_t script_read(void *arg, void *buf, size_t n)
{
    struct script *t = arg;

    t->state = t->state * 1103515245 + 12345;
    if (n > 1 + (t->state >> 16) % 5000)
        n = 1 + (t->state >> 16) % 5000;
    if (t->rest.n > 0 && (t->state >> 8) % 3 == 0)
        return -EAGAIN;
    n = n < t->rest.n ? n : t->rest.n;
    memcpy(buf, t->rest.p, n);
    t->rest = span_drop(t->rest, n);
    return (ssize_t)n;
}

static ssize_t script_write(void *arg, const void *buf, size_t n)
{
    return (ssize_t)n;
}

static int script_wait(void *arg, int events, deadline_t deadline)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct stream_transport transport = {script_read, script_write, script_wait, NULL};
    struct script t = {span_make(data, n), n > 0 ? data[0] : 0};
    struct budget budget;
    struct stream *s;
    struct span got;
    size_t seen = 0;
    int rc = 0;

    budget_init(&budget, 0);
    ENSURE(stream_new_transport(&s, &transport, &t, &budget) == 0);
    while (rc == 0 || rc == ERR_TOO_LONG) {
        rc = stream_read_line(s, 100, &got, DEADLINE_NONE);
        if (rc == 0) {
            ENSURE(got.n <= 100 && span_find(got, '\n') == (ptrdiff_t)got.n - 1);
            ENSURE(memcmp(got.p, data + seen, got.n) == 0);
            seen += got.n;
        } else if (rc == ERR_TOO_LONG && t.state % 2 == 0) {
            rc = stream_peek(s, 101, &got, DEADLINE_NONE);
            ENSURE(rc == 0 && memcmp(got.p, data + seen, got.n) == 0);
            stream_consume(s, 50);
            seen += 50;
        } else if (rc == ERR_TOO_LONG) {
            rc = stream_skip_line(s, DEADLINE_NONE);
            seen = (size_t)stream_bytes_in(s) - stream_buffered(s);
        }
    }
    stream_free(s);
    ENSURE(budget.used == 0);
    return 0;
}
