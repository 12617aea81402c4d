/* source.c: see source.h. */
#include "map/source.h"

#include "base/log.h"
#include "conf/main_cf.h"
#include "map/map.h"

void map_source_init(struct map_source *s, enum map_source_kind kind, const char *path,
                     struct span text)
{
    *s = (struct map_source){.kind = kind, .path = path, .rest = text};
    s->line.max = MAP_KEY_MAX + MAP_FILE_MAX;
}

void map_source_fini(struct map_source *s)
{
    str_fini(&s->line);
    str_fini(&s->key);
}

/* Where stop_at (or, when it is a blank, any white space) first stands outside
 * quotes, -1 when it does not, -2 when a quote is not closed. */
static ptrdiff_t find_unquoted(struct span text, char stop_at)
{
    bool in_quotes = false;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '\\')
            i++;
        else if (c == '"')
            in_quotes = !in_quotes;
        else if (!in_quotes && (c == stop_at || (stop_at == ' ' && ascii_is_space(c))))
            return (ptrdiff_t)i;
    }
    return in_quotes ? -2 : -1;
}

/* The key stays quoted: a table does not know whether keys are addresses. */
static const char *split_table(struct map_source *s, struct map_source_entry *entry)
{
    struct span line = str_span(&s->line);
    ptrdiff_t end = find_unquoted(line, ' ');

    if (end == -2)
        return "unbalanced '\"'";
    entry->key = span_take(line, end < 0 ? line.n : (size_t)end);
    entry->value = end < 0 ? SPAN_NONE : span_trim(span_drop(line, (size_t)end));
    if (entry->key.n == 0 || entry->value.n == 0)
        return "expected format: key whitespace value";
    if (entry->key.p[entry->key.n - 1] == ':')
        log_warn("%s, line %u: record is in \"key: value\" format; is this an alias file?", s->path,
                 entry->line);
    return NULL;
}

/* The name as the resolver will have it: without quotes. */
static const char *unquote_name(struct str *out, struct span name)
{
    bool in_quotes = false;

    str_clear(out);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (c == '"') {
            in_quotes = !in_quotes;
            continue;
        }
        if (c == '\\' && i + 1 < name.n)
            c = name.p[++i];
        else if (!in_quotes && (c == '@' || c == '%'))
            return "name must be local";
        else if (!in_quotes && c == ',')
            return "need name:value pair";
        str_append_char(out, c);
    }
    return out->len == 0 ? "need name:value pair" : NULL;
}

static const char *split_alias(struct map_source *s, struct map_source_entry *entry)
{
    struct span line = str_span(&s->line);
    ptrdiff_t colon = find_unquoted(line, ':');
    const char *problem;

    if (colon == -2)
        return "unbalanced '\"'";
    if (colon < 0)
        return "need name:value pair";
    problem = unquote_name(&s->key, span_trim(span_take(line, (size_t)colon)));
    entry->key = str_span(&s->key);
    entry->value = span_trim(span_drop(line, (size_t)colon + 1));
    if (problem == NULL && entry->value.n == 0)
        problem = "need name:value pair";
    return problem;
}

bool map_source_next(struct map_source *s, struct map_source_entry *entry)
{
    while (logical_line_next(&s->rest, &s->line, &s->read, &entry->line)) {
        const char *problem;

        if (ascii_is_space(s->line.data[0]))
            problem = "logical line must not start with whitespace";
        else if (span_find(str_span(&s->line), '\0') >= 0)
            problem = "a NUL octet";
        else
            problem = s->kind == MAP_SOURCE_ALIAS ? split_alias(s, entry) : split_table(s, entry);
        if (problem == NULL && entry->key.n > MAP_KEY_MAX)
            problem = "the key is too long";
        if (problem == NULL)
            return true;
        s->bad++;
        log_warn("%s, line %u: %s -- ignoring this line: \"%.*s\"", s->path, entry->line, problem,
                 SPAN_ARG(span_take(str_span(&s->line), 60)));
    }
    return false;
}
