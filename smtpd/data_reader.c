/* data_reader.c: see data_reader.h. */
#include "smtpd/data_reader.h"

#define CRLF SPAN_LIT("\r\n")

static const struct span blanks = {"                                ", 32};
static const struct span returns = {
    "\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r", 32};

void data_reader_init(struct data_reader *r, bool is_chunked, bool strict_end, bool blank_stray)
{
    *r = (struct data_reader){
        .is_chunked = is_chunked,
        .strict_end = strict_end,
        .blank_stray = blank_stray,
        .state = DATA_LINE_START,
        .after_crlf = true, /* the CRLF of the DATA command */
    };
}

static struct span take(struct span *input, size_t n)
{
    struct span text = span_take(*input, n);

    *input = span_drop(*input, n);
    return text;
}

/* The longest run from here that needs no change: whole lines with CRLF that do
 * not begin with a dot, and the rest of a line. Updates the state. */
static size_t plain_run(struct data_reader *r, struct span input)
{
    const char *p = input.p, *end = input.p + input.n;

    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *line_end = lf != NULL ? lf : end;
        const char *cr = memchr(p, '\r', (size_t)(line_end - p));

        if (cr == NULL && lf == NULL) {
            r->state = DATA_IN_LINE;
            return input.n;
        }
        if (cr == NULL || cr + 1 != lf) {
            r->state = DATA_IN_LINE;
            return (size_t)((cr != NULL ? cr : lf) - input.p);
        }
        p = lf + 1;
        r->state = DATA_LINE_START;
        r->after_crlf = true;
        if (p < end && *p == '.' && !r->is_chunked)
            break;
    }
    return (size_t)(p - input.p);
}

/* A line ends here: with CRLF, or with a bare LF. */
static enum data_event end_line(struct data_reader *r, bool is_crlf, struct span *text)
{
    if (!is_crlf)
        r->saw_bare_lf = true;
    r->after_crlf = is_crlf;
    r->state = DATA_LINE_START;
    r->stray_crs = 0;
    *text = CRLF;
    return DATA_TEXT;
}

/* Hand out CRs that turned out to stand alone. */
static enum data_event stray(struct data_reader *r, struct span *text)
{
    size_t n = r->stray_crs < blanks.n ? r->stray_crs : blanks.n;

    r->saw_bare_cr = true;
    r->stray_crs -= n;
    if (r->stray_crs == 0)
        r->state = DATA_IN_LINE;
    *text = span_take(r->blank_stray ? blanks : returns, n);
    return DATA_TEXT;
}

/* Behind a CR: LF ends the line; more CRs in front of the LF are dropped, as in
 * Postfix. */
static enum data_event after_cr(struct data_reader *r, struct span *input, struct span *text)
{
    if (input->p[0] == '\r') {
        r->stray_crs++;
        take(input, 1);
        return DATA_MORE;
    }
    if (input->p[0] == '\n') {
        take(input, 1);
        if (r->stray_crs > 1)
            r->saw_bare_cr = true;
        return end_line(r, true, text);
    }
    return stray(r, text);
}

/* Behind a dot that began a line. */
static enum data_event after_dot(struct data_reader *r, struct span *input, struct span *text)
{
    if (input->p[0] == '\r') {
        take(input, 1);
        r->state = DATA_AFTER_DOT_CR;
        return DATA_MORE;
    }
    if (input->p[0] == '\n') {
        take(input, 1);
        if (r->strict_end)
            return end_line(r, false, text);
        r->saw_bare_lf = true;
        return DATA_END;
    }
    r->state = DATA_IN_LINE;
    return DATA_MORE;
}

static enum data_event after_dot_cr(struct data_reader *r, struct span *input, struct span *text)
{
    if (input->p[0] == '\n') {
        take(input, 1);
        if (r->after_crlf || !r->strict_end)
            return DATA_END;
        return end_line(r, true, text);
    }
    r->stray_crs = 1;
    r->state = DATA_AFTER_CR;
    return DATA_MORE;
}

static enum data_event in_line(struct data_reader *r, struct span *input, struct span *text)
{
    size_t n;

    if (r->state == DATA_LINE_START && input->p[0] == '.' && !r->is_chunked) {
        take(input, 1);
        r->state = DATA_AFTER_DOT;
        return DATA_MORE;
    }
    n = plain_run(r, *input);
    if (n > 0) {
        *text = take(input, n);
        return DATA_TEXT;
    }
    if (take(input, 1).p[0] == '\n')
        return end_line(r, false, text);
    r->stray_crs = 1;
    r->state = DATA_AFTER_CR;
    return DATA_MORE;
}

enum data_event data_next(struct data_reader *r, struct span *input, struct span *text)
{
    while (input->n > 0) {
        enum data_event event = DATA_MORE;

        switch (r->state) {
        case DATA_LINE_START:
        case DATA_IN_LINE:
            event = in_line(r, input, text);
            break;
        case DATA_AFTER_CR:
            event = after_cr(r, input, text);
            break;
        case DATA_AFTER_DOT:
            event = after_dot(r, input, text);
            break;
        case DATA_AFTER_DOT_CR:
            event = after_dot_cr(r, input, text);
            break;
        }
        if (event != DATA_MORE)
            return event;
    }
    return DATA_MORE;
}

enum data_event data_finish(struct data_reader *r, struct span *text)
{
    switch (r->state) {
    case DATA_AFTER_CR:
        return stray(r, text);
    case DATA_IN_LINE:
        r->state = DATA_LINE_START;
        *text = CRLF;
        return DATA_TEXT;
    case DATA_LINE_START:
    case DATA_AFTER_DOT:
    case DATA_AFTER_DOT_CR:
        break;
    }
    return DATA_END;
}
