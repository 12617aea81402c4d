#include "imapd/reader.h"

#include "base/error.h"

void reader_init(struct reader *r, struct stream *stream, struct budget *budget, size_t line_limit,
                 size_t literal_limit)
{
    *r =
        (struct reader){.stream = stream, .line_limit = line_limit, .literal_limit = literal_limit};
    str_init(&r->text, budget);
}

void reader_fini(struct reader *r)
{
    str_fini_secret(&r->text);
}

void reader_clear(struct reader *r)
{
    /* A large command's memory goes back; names and passwords do not stay around. */
    if (r->text.cap > 4096)
        str_fini_secret(&r->text);
    str_clear(&r->text);
    r->lines = r->literals = 0;
    r->has_literal = false;
}

/* "...{123}", "...{123+}", "...~{123}" at the end of a line. */
static bool find_literal(struct reader *r, struct span line)
{
    struct span digits;
    ptrdiff_t open;

    if (line.n < 3 || line.p[line.n - 1] != '}' || (open = span_rfind(line, '{')) < 0)
        return false;
    digits = span_drop(span_take(line, line.n - 1), (size_t)open + 1);
    r->is_synchronising = digits.n == 0 || digits.p[digits.n - 1] != '+';
    if (!r->is_synchronising)
        digits.n--;
    if (span_to_u64(digits, &r->literal_size) < 0)
        return false;
    r->is_binary = open > 0 && line.p[open - 1] == '~';
    r->has_literal = true;
    return true;
}

enum { KEPT_OCTETS = 128 };

/* Read up to the end of the line; its last octets stay in tail. */
static int skip_line(struct reader *r, char *tail, size_t *tail_length, deadline_t deadline)
{
    ptrdiff_t end = -1;

    while (end < 0) {
        struct span octets, last;
        size_t kept;
        int rc = stream_peek(r->stream, 1, &octets, deadline);
        if (rc < 0)
            return rc;
        end = span_find(octets, '\n');
        if (end >= 0)
            octets = span_take(octets, (size_t)end + 1);
        last = span_drop(octets, octets.n > KEPT_OCTETS ? octets.n - KEPT_OCTETS : 0);
        kept = *tail_length < KEPT_OCTETS - last.n ? *tail_length : KEPT_OCTETS - last.n;
        memmove(tail, tail + *tail_length - kept, kept);
        memcpy(tail + kept, last.p, last.n);
        *tail_length = kept + last.n;
        stream_consume(r->stream, octets.n);
    }
    return 0;
}

/* Drop a line that is too long, but for its beginning, which has the tag, and the size of
 * a literal at its end, which the client may send without being asked. */
static int skip_long_line(struct reader *r, deadline_t deadline)
{
    char tail[KEPT_OCTETS];
    size_t tail_length = 0;
    struct span start, end;
    int rc = 0;

    if (r->text.len == 0)
        rc = stream_peek(r->stream, 1, &start, deadline);
    if (rc == 0 && r->text.len == 0)
        rc = str_append(&r->text, span_take(start, KEPT_OCTETS));
    if (rc == 0)
        rc = skip_line(r, tail, &tail_length, deadline);
    if (rc < 0)
        return rc;
    end = span_make(tail, tail_length);
    while (end.n > 0 && (end.p[end.n - 1] == '\n' || end.p[end.n - 1] == '\r'))
        end.n--;
    find_literal(r, end);
    return ERR_TOO_LONG;
}

int reader_line(struct reader *r, deadline_t deadline)
{
    struct span line;
    int rc;

    r->has_literal = false;
    if (r->lines >= r->line_limit)
        return skip_long_line(r, deadline);
    rc = stream_read_line(r->stream, r->line_limit - r->lines, &line, deadline);
    if (rc == ERR_TOO_LONG)
        return skip_long_line(r, deadline);
    if (rc < 0)
        return rc;
    r->lines += line.n;
    if (line.n > 0 && line.p[line.n - 1] == '\n')
        line.n--;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    find_literal(r, line);
    str_append(&r->text, line);
    if (r->has_literal)
        str_append_cstr(&r->text, "\r\n");
    return str_error(&r->text);
}

int reader_take_literal(struct reader *r, deadline_t deadline)
{
    uint64_t left = r->literal_size;
    struct span octets;
    int rc = 0;

    if (left > r->literal_limit - r->literals)
        return ERR_LIMIT;
    r->literals += (size_t)left;
    if (r->is_synchronising)
        rc = stream_printf(r->stream, deadline, "+ OK\r\n");
    while (rc == 0 && left > 0) {
        rc = stream_peek(r->stream, 1, &octets, deadline);
        if (rc < 0)
            break;
        octets = span_take(octets, left);
        rc = str_append(&r->text, octets);
        left -= octets.n;
        stream_consume(r->stream, octets.n);
    }
    return rc;
}

/* Read and drop a literal that was sent without being asked for; a synchronising one
 * is not sent once the command was answered. */
static int skip_literal(struct reader *r, deadline_t deadline)
{
    uint64_t left = r->is_synchronising ? 0 : r->literal_size;
    struct span octets;

    while (left > 0) {
        int rc = stream_peek(r->stream, 1, &octets, deadline);
        if (rc < 0)
            return rc;
        octets = span_take(octets, left);
        left -= octets.n;
        stream_consume(r->stream, octets.n);
    }
    return 0;
}

int reader_skip_rest(struct reader *r, deadline_t deadline)
{
    int rc = 0;

    while (rc == 0 && r->has_literal && !r->is_synchronising) {
        rc = skip_literal(r, deadline);
        str_clear(&r->text);
        r->lines = 0;
        if (rc == 0)
            rc = reader_line(r, deadline);
        if (rc == ERR_TOO_LONG)
            rc = 0;
    }
    r->has_literal = false;
    return rc;
}

int reader_command(struct reader *r, deadline_t deadline)
{
    int rc;

    do {
        rc = reader_line(r, deadline);
        if (rc == 0 && r->has_literal)
            rc = reader_take_literal(r, deadline);
    } while (rc == 0 && r->has_literal);
    return rc;
}
