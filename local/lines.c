#include "local/lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"

enum { PIECE_OCTETS = 65536 };

struct copy {
    int out;
    bool quote_from;
    uint64_t limit, written;
    char held[8]; /* a line's first octets, until they are known not to be "From " */
    size_t held_n;
    bool is_line_start;
    bool has_cr; /* a CR is held back: it may belong to a CRLF */
    char buffer[PIECE_OCTETS];
    size_t n;
};

static int flush(struct copy *c)
{
    int rc = fd_write_all(c->out, c->buffer, c->n);

    c->n = 0;
    return rc;
}

static int put(struct copy *c, char octet)
{
    if (c->limit != 0 && c->written >= c->limit)
        return -EFBIG;
    c->written++;
    c->buffer[c->n++] = octet;
    return c->n == sizeof(c->buffer) ? flush(c) : 0;
}

static int put_held(struct copy *c)
{
    static const char from[] = "From ";
    int rc = 0;

    if (c->held_n == 5 && memcmp(c->held, from, 5) == 0)
        rc = put(c, '>');
    for (size_t i = 0; rc == 0 && i < c->held_n; i++)
        rc = put(c, c->held[i]);
    c->held_n = 0;
    c->is_line_start = false;
    return rc;
}

static int put_octet(struct copy *c, char octet)
{
    int rc = 0;

    if (c->quote_from && c->is_line_start && octet != '\n') {
        c->held[c->held_n++] = octet;
        return c->held_n == 5 ? put_held(c) : 0;
    }
    if (c->held_n > 0)
        rc = put_held(c);
    if (rc == 0)
        rc = put(c, octet);
    c->is_line_start = octet == '\n';
    return rc;
}

static int feed(struct copy *c, char octet)
{
    int rc = 0;

    if (c->has_cr && octet != '\n')
        rc = put_octet(c, '\r');
    c->has_cr = octet == '\r';
    return rc == 0 && !c->has_cr ? put_octet(c, octet) : rc;
}

static int finish(struct copy *c)
{
    int rc = c->has_cr ? put_octet(c, '\r') : 0;

    if (rc == 0 && c->held_n > 0)
        rc = put_held(c);
    if (rc == 0 && !c->is_line_start)
        rc = put(c, '\n');
    return rc == 0 ? flush(c) : rc;
}

int lines_copy(int in, int out, bool quote_from, uint64_t limit)
{
    static struct copy c;
    static char piece[PIECE_OCTETS];
    uint64_t at = 0;
    int rc = 0;

    memset(&c, 0, sizeof(c));
    c.out = out;
    c.quote_from = quote_from;
    c.limit = limit;
    c.is_line_start = true;
    while (rc == 0) {
        ssize_t got = pread(in, piece, sizeof(piece), (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return finish(&c);
        at += (uint64_t)got;
        for (ssize_t i = 0; rc == 0 && i < got; i++)
            rc = feed(&c, piece[i]);
    }
    return rc;
}
