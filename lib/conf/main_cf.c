/* main_cf.c: reading main.cf's syntax. */
#include "conf/main_cf.h"

#include "base/error.h"
#include "base/log.h"

/* Is there no more to say on this line than a comment? */
static bool is_empty_or_comment(struct span line)
{
    line = span_trim(line);
    return line.n == 0 || line.p[0] == '#';
}

static struct span next_physical_line(struct span *text, unsigned *line)
{
    ptrdiff_t end = span_find(*text, '\n');
    struct span got = span_take(*text, end < 0 ? text->n : (size_t)end);

    *text = span_drop(*text, end < 0 ? text->n : (size_t)end + 1);
    (*line)++;
    if (got.n > 0 && got.p[got.n - 1] == '\r')
        got.n--;
    return got;
}

/* Would the next line go on with this entry? Comments and blank lines do not
 * end it. */
static bool is_continued(struct span text)
{
    return text.n > 0 && (text.p[0] == '#' || ascii_is_space(text.p[0]));
}

bool logical_line_next(struct span *text, struct str *buf, unsigned *line, unsigned *first)
{
    str_clear(buf);
    while (text->n > 0) {
        struct span got = next_physical_line(text, line);

        if (!is_empty_or_comment(got)) {
            if (buf->len == 0)
                *first = *line;
            str_append(buf, got);
        }
        if (buf->len > 0 && !is_continued(*text))
            break;
    }
    return buf->len > 0;
}

const char *main_cf_split(struct span line, struct span *name, struct span *value)
{
    size_t n = 0;

    line = span_trim(line);
    while (n < line.n && !ascii_is_space(line.p[n]) && line.p[n] != '=')
        n++;
    if (n == 0)
        return "a name is missing before \"=\"";
    *name = span_take(line, n);
    line = span_trim(span_drop(line, n));
    if (line.n == 0 || line.p[0] != '=')
        return "\"=\" is missing behind the name";
    *value = span_trim(span_drop(line, 1));
    return NULL;
}

static int parse_line(struct str *buf, const char *path, unsigned first,
                      int (*each)(void *, const struct main_cf_entry *, struct str *), void *arg,
                      struct str *why)
{
    struct main_cf_entry entry = {.line = first};
    const char *wrong = NULL;
    int error;

    if (str_error(buf) < 0)
        return str_error(buf);
    /* Only at the top of a file. Postfix warns and goes on as well. */
    if (ascii_is_space(buf->data[0])) {
        log_warn("%s, line %u: ignored, a line must not begin with white space: \"%.*s\"", path,
                 first, SPAN_ARG(span_take(span_trim(str_span(buf)), 30)));
        return 0;
    }
    if (span_find(str_span(buf), '\0') >= 0)
        wrong = "a NUL octet";
    else
        wrong = main_cf_split(str_span(buf), &entry.name, &entry.value);
    if (wrong != NULL) {
        str_printf(why, "%s, line %u: %s: \"%.*s\"", path, first, wrong,
                   SPAN_ARG(span_take(str_span(buf), 60)));
        return ERR_SYNTAX;
    }
    error = each(arg, &entry, why);
    if (error < 0 && why->len == 0)
        str_printf(why, "%s, line %u: %s", path, first, error_text(error));
    return error;
}

int main_cf_parse(struct span text, const char *path,
                  int (*each)(void *, const struct main_cf_entry *, struct str *), void *arg,
                  struct str *why)
{
    struct str buf = {0};
    unsigned line = 0, first = 0;
    int error = 0;

    buf.max = MAIN_CF_SIZE_MAX;
    while (error == 0 && logical_line_next(&text, &buf, &line, &first))
        error = parse_line(&buf, path, first, each, arg, why);
    str_fini(&buf);
    return error;
}
