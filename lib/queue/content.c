#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "queue/message.h"

enum { LINE_MAX_OCTETS = 998 }; /* RFC 5322 2.1.1, without CRLF */

void queue_content_init(struct queue_content *c)
{
    *c = (struct queue_content){.fd = -1};
}

void queue_content_fini(struct queue_content *c)
{
    array_free(&c->extents);
    fd_close(&c->fd);
}

uint64_t queue_content_size(const struct queue_content *c)
{
    uint64_t size = 0;

    for (size_t i = 0; i < c->extents.len; i++)
        size += c->extents.items[i].length;
    return size;
}

uint32_t queue_content_flags(const struct queue_content *c)
{
    uint32_t flags = 0;

    for (size_t i = 0; i < c->extents.len; i++)
        flags |= c->extents.items[i].flags;
    return flags;
}

/* Up to n stored octets from a stored offset on. */
static ssize_t read_stored(const struct queue_content *c, uint64_t offset, void *buf, size_t n)
{
    ssize_t got;

    if (c->fd < 0) {
        if (offset >= c->inline_octets.n || n > c->inline_octets.n - offset)
            return ERR_CORRUPT;
        memcpy(buf, c->inline_octets.p + offset, n);
        return (ssize_t)n;
    }
    do
        got = pread(c->fd, buf, n, (off_t)offset);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    return got == 0 ? ERR_CORRUPT : got;
}

ssize_t queue_content_read(const struct queue_content *c, uint64_t offset, void *buf, size_t n)
{
    size_t done = 0;

    for (size_t i = 0; i < c->extents.len && done < n; i++) {
        const struct queue_extent *e = &c->extents.items[i];

        if (offset >= e->length) {
            offset -= e->length;
            continue;
        }
        while (offset < e->length && done < n) {
            uint64_t left = e->length - offset;
            size_t want = left < n - done ? (size_t)left : n - done;
            ssize_t got = read_stored(c, e->offset + offset, (char *)buf + done, want);

            if (got < 0)
                return got;
            done += (size_t)got;
            offset += (uint64_t)got;
        }
        offset = 0;
    }
    return (ssize_t)done;
}

int queue_content_copy(const struct queue_content *c, uint64_t offset, uint64_t n, struct str *out)
{
    while (n > 0) {
        char buf[8192];
        ssize_t got = queue_content_read(c, offset, buf, n < sizeof(buf) ? (size_t)n : sizeof(buf));

        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        int rc = str_append(out, span_make(buf, (size_t)got));
        if (rc < 0)
            return rc;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return 0;
}

uint64_t queue_content_header_size(const struct queue_content *c)
{
    uint64_t size = 0;

    for (size_t i = 0; i < c->extents.len; i++) {
        if ((c->extents.items[i].flags & QUEUE_EXTENT_HEADER) == 0)
            break;
        size += c->extents.items[i].length;
    }
    return size;
}

/* Eight octets at a time: octet by octet this was a seventh of smtpd's own time. */
static uint32_t scan_octets(struct span piece)
{
    const uint64_t ones = 0x0101010101010101, highs = ones << 7;
    uint64_t high = 0, zero = 0, word;
    size_t i = 0;

    for (; i + sizeof(word) <= piece.n; i += sizeof(word)) {
        memcpy(&word, piece.p + i, sizeof(word));
        high |= word & highs;
        zero |= (word - ones) & ~word & highs;
    }
    for (; i < piece.n; i++) {
        high |= (unsigned char)piece.p[i] & 0x80;
        zero |= piece.p[i] == '\0';
    }
    return (high != 0 ? QUEUE_EXTENT_8BIT : 0) | (zero != 0 ? QUEUE_EXTENT_NUL : 0);
}

/* A piece of a line, without its LF. */
static uint32_t scan_text(struct queue_scan *state, struct span text)
{
    const char *cr = memchr(text.p, '\r', text.n);
    uint32_t flags = 0;

    if (state->after_cr || (cr != NULL && cr + 1 != text.p + text.n))
        flags |= QUEUE_EXTENT_BARE;
    if (state->column == 0 && text.p[0] == '.')
        flags |= QUEUE_EXTENT_DOT;
    state->after_cr = text.p[text.n - 1] == '\r';
    state->column += text.n;
    return state->column > LINE_MAX_OCTETS + 1 ? flags | QUEUE_EXTENT_LONG : flags;
}

static uint32_t scan_line_end(struct queue_scan *state)
{
    size_t cr = state->after_cr ? 1 : 0;
    uint32_t flags = state->after_cr ? 0 : QUEUE_EXTENT_BARE;

    if (state->column > LINE_MAX_OCTETS + cr)
        flags |= QUEUE_EXTENT_LONG;
    if (state->column == cr)
        state->is_header_done = true;
    state->column = 0;
    state->after_cr = false;
    return flags;
}

uint32_t queue_scan(struct queue_scan *state, struct span piece)
{
    uint32_t flags = scan_octets(piece);

    while (piece.n > 0) {
        const char *lf = memchr(piece.p, '\n', piece.n);
        size_t n = lf != NULL ? (size_t)(lf - piece.p) : piece.n;

        if (n > 0)
            flags |= scan_text(state, span_take(piece, n));
        if (lf == NULL)
            break;
        flags |= scan_line_end(state);
        piece = span_drop(piece, n + 1);
    }
    return flags;
}
