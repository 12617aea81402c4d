#include "smtp/reply.h"

#include "base/error.h"

enum { FLOOD_FACTOR = 16 };

void reply_init(struct reply *r, struct budget *budget)
{
    *r = (struct reply){0};
    str_init(&r->text, budget);
}

void reply_fini(struct reply *r)
{
    str_fini(&r->text);
}

int reply_parse_line(struct span line, unsigned *code, bool *more, struct span *text)
{
    if (line.n < 3)
        return ERR_PROTOCOL;
    for (int i = 0; i < 3; i++)
        if (!ascii_is_digit(line.p[i]))
            return ERR_PROTOCOL;
    if (line.p[0] < '2' || line.p[0] > '5')
        return ERR_PROTOCOL;
    if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
        return ERR_PROTOCOL;
    *code = (unsigned)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0'));
    *more = line.n > 3 && line.p[3] == '-';
    *text = span_drop(line, 4);
    return 0;
}

bool reply_next_line(struct span *rest, struct span *line)
{
    if (!span_next(rest, '\n', line))
        return false;
    *line = span_drop(*line, 4);
    return true;
}

/* A line without its end; one that is too long is cut, and so its rest is not read as
 * a reply of its own. */
static int read_line(struct stream *s, size_t limit, size_t *octets, struct span *line,
                     struct str *cut, deadline_t deadline)
{
    int rc = stream_read_line(s, limit, line, deadline);

    if (rc == ERR_TOO_LONG) {
        uint64_t before = stream_bytes_in(s) - stream_buffered(s);

        rc = stream_peek(s, 1, line, deadline);
        if (rc == 0)
            rc = str_set(cut, span_take(*line, limit));
        if (rc == 0)
            rc = stream_skip_line(s, deadline);
        *octets += (size_t)(stream_bytes_in(s) - stream_buffered(s) - before);
        *line = str_span(cut);
        return rc;
    }
    if (rc == 0)
        *octets += line->n;
    return rc;
}

static void keep_line(struct reply *r, struct span line, size_t limit)
{
    if (r->text.len > 0 && r->text.len < limit)
        str_append_char(&r->text, '\n');
    if (r->text.len < limit)
        str_append(&r->text, span_take(line, limit - r->text.len));
}

int reply_read(struct reply *r, struct stream *s, size_t limit, deadline_t deadline)
{
    struct str cut = {0};
    size_t octets = 0;
    bool more = true;
    int rc = 0;

    str_clear(&r->text);
    str_init(&cut, r->text.budget);
    while (rc == 0 && more) {
        struct span line, text;

        rc = read_line(s, limit, &octets, &line, &cut, deadline);
        if (rc < 0)
            break;
        while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
            line.n--;
        rc = reply_parse_line(line, &r->code, &more, &text);
        keep_line(r, line, limit);
        if (rc == 0 && octets / FLOOD_FACTOR > limit)
            rc = ERR_TOO_LONG;
        if (rc == 0 && !more && !dsn_take(&text, r->code, &r->dsn))
            r->dsn = dsn_of_reply(r->code);
    }
    str_fini(&cut);
    return rc < 0 ? rc : str_error(&r->text);
}
