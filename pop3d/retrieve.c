#include "pop3d/retrieve.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

enum { PIECE_OCTETS = 32768 };

void retrieve_filter_init(struct retrieve_filter *f, uint64_t body_lines)
{
    *f = (struct retrieve_filter){
        .body_lines = body_lines, .is_line_start = true, .is_line_empty = true};
}

/* After a line end: does another line follow? */
static void end_line(struct retrieve_filter *f)
{
    if (!f->is_body)
        f->is_body = f->is_line_empty;
    else if (f->body_lines != RETRIEVE_ALL)
        f->body_lines--;
    f->is_line_start = f->is_line_empty = true;
    f->is_done = f->is_body && f->body_lines == 0;
}

/* One line or part of a line, without looking further than its LF. */
static void feed_line(struct retrieve_filter *f, struct span part, struct str *out)
{
    bool is_ended = part.p[part.n - 1] == '\n';
    struct span text = is_ended ? span_take(part, part.n - 1) : part;
    bool has_cr = text.n > 0 ? text.p[text.n - 1] == '\r' : f->has_cr;

    if (f->is_line_start && part.p[0] == '.')
        str_append_char(out, '.');
    str_append(out, text);
    if (text.n > 1 || (text.n == 1 && text.p[0] != '\r'))
        f->is_line_empty = false;
    f->is_line_start = false;
    f->has_cr = has_cr;
    if (is_ended) {
        str_append_cstr(out, has_cr ? "\n" : "\r\n");
        f->has_cr = false;
        end_line(f);
    }
}

int retrieve_filter_feed(struct retrieve_filter *f, struct span piece, struct str *out)
{
    while (piece.n > 0 && !f->is_done) {
        ptrdiff_t end = span_find(piece, '\n');
        size_t n = end >= 0 ? (size_t)end + 1 : piece.n;
        feed_line(f, span_take(piece, n), out);
        piece = span_drop(piece, n);
    }
    return str_error(out);
}

int retrieve_filter_end(struct retrieve_filter *f, struct str *out)
{
    if (!f->is_line_start)
        str_append_cstr(out, f->has_cr ? "\n" : "\r\n");
    return str_append_cstr(out, ".\r\n");
}

static int send_piece(struct stream *out, struct retrieve_filter *f, struct span piece,
                      struct str *text, int64_t patience_ms)
{
    int rc = retrieve_filter_feed(f, piece, text);

    if (rc == 0)
        rc = stream_write(out, str_span(text), deadline_in(patience_ms));
    str_clear(text);
    return rc;
}

static int send_pieces(struct stream *out, const struct store_body *body, struct retrieve_filter *f,
                       char *data, struct str *text, int64_t patience_ms)
{
    uint64_t at = 0;
    int rc = 0;

    while (rc == 0 && at < body->length && !f->is_done) {
        uint64_t left = body->length - at;
        size_t n = left < PIECE_OCTETS ? (size_t)left : PIECE_OCTETS;

        rc = store_body_read_at(body, at, data, n);
        if (rc == 0)
            rc = send_piece(out, f, span_make(data, n), text, patience_ms);
        at += n;
    }
    return rc;
}

static int send_end(struct stream *out, struct retrieve_filter *f, struct str *text,
                    int64_t patience_ms)
{
    int rc = retrieve_filter_end(f, text);

    return rc == 0 ? stream_write(out, str_span(text), deadline_in(patience_ms)) : rc;
}

int retrieve_send_text(struct stream *out, struct span message, uint64_t body_lines,
                       int64_t patience_ms)
{
    struct retrieve_filter f;
    struct str text = {0};
    int rc = 0;

    retrieve_filter_init(&f, body_lines);
    for (; rc == 0 && message.n > 0 && !f.is_done; message = span_drop(message, PIECE_OCTETS))
        rc = send_piece(out, &f, span_take(message, PIECE_OCTETS), &text, patience_ms);
    if (rc == 0)
        rc = send_end(out, &f, &text, patience_ms);
    str_fini(&text);
    return rc;
}

int retrieve_send(struct stream *out, const struct store_body *body, uint64_t body_lines,
                  int64_t patience_ms)
{
    struct retrieve_filter f;
    struct str text = {0};
    char *data = malloc(PIECE_OCTETS);
    int rc;

    if (data == NULL)
        return -ENOMEM;
    retrieve_filter_init(&f, body_lines);
    rc = send_pieces(out, body, &f, data, &text, patience_ms);
    if (rc == 0)
        rc = send_end(out, &f, &text, patience_ms);
    str_fini(&text);
    free(data);
    return rc;
}
