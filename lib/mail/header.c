#include "mail/header.h"

struct header_walk header_begin(struct span message)
{
    return (struct header_walk){.rest = message};
}

/* Length of the field at the front: its first line and the lines that begin with a blank. */
static size_t field_length(struct span text, size_t *first_line)
{
    const char *end = text.p + text.n;
    const char *lf = memchr(text.p, '\n', text.n);

    *first_line = lf == NULL ? text.n : (size_t)(lf - text.p) + 1;
    while (lf != NULL && lf + 1 < end && ascii_is_blank(lf[1]))
        lf = memchr(lf + 1, '\n', (size_t)(end - lf) - 1);
    return lf == NULL ? text.n : (size_t)(lf - text.p) + 1;
}

static struct span without_line_break(struct span line)
{
    if (line.n > 0 && line.p[line.n - 1] == '\n') {
        line.n--;
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
    }
    return line;
}

/* Blanks behind the colon do not belong to the value; of a first line that is nothing but
 * blanks only one is taken away, as Dovecot does. */
static struct span value_begin(struct span value)
{
    size_t i = 0;

    while (i < value.n && ascii_is_blank(value.p[i]))
        i++;
    if (i == value.n || value.p[i] == '\r' || value.p[i] == '\n')
        i = i > 0 ? 1 : 0;
    return span_drop(value, i);
}

bool header_next(struct header_walk *w, struct header_field *field)
{
    size_t length, first_line;
    const char *colon;

    if (w->has_ended)
        return false;
    if (w->rest.n == 0) {
        w->has_ended = true;
        return false;
    }
    if (w->rest.p[0] == '\n' || (w->rest.p[0] == '\r' && w->rest.n > 1 && w->rest.p[1] == '\n')) {
        w->rest = span_drop(w->rest, w->rest.p[0] == '\n' ? 1 : 2);
        w->has_ended = w->has_blank = true;
        return false;
    }
    length = field_length(w->rest, &first_line);
    field->raw = span_take(w->rest, length);
    colon = memchr(w->rest.p, ':', first_line);
    if (colon == NULL) {
        field->name = span_make(w->rest.p, 0);
        field->value = without_line_break(field->raw);
    } else {
        size_t n = (size_t)(colon - w->rest.p);

        field->value = value_begin(without_line_break(span_drop(field->raw, n + 1)));
        while (n > 0 && ascii_is_blank(w->rest.p[n - 1]))
            n--;
        field->name = span_make(w->rest.p, n);
    }
    w->rest = span_drop(w->rest, length);
    return true;
}

size_t header_size(struct span message)
{
    struct header_walk w = header_begin(message);
    struct header_field field;

    while (header_next(&w, &field))
        continue;
    return message.n - w.rest.n;
}
