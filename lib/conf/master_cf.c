/* master_cf.c: see master_cf.h. */
#include "conf/master_cf.h"

#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "conf/main_cf.h"
#include "conf/takeover.h"

enum { COLUMNS = 7, WORDS_MAX = 1000, LIMIT_MAX = 1000000 };

struct master_cf {
    struct arena arena;
    ARRAY(struct master_entry) entries;
    bool is_chroot_default; /* what "-" means in column chroot */
};

/* One entry on its way in. */
struct reader {
    struct master_cf *m;
    struct master_entry entry;
    struct span rest;
    struct str *why; /* what is wrong, without file and line */
    ARRAY(const char *) overrides;
    ARRAY(const char *) arguments;
};

static int wrong(struct reader *r, const char *what, struct span text)
{
    str_printf(r->why, "%s: \"%.*s\"", what, SPAN_ARG(span_take(text, 60)));
    return ERR_SYNTAX;
}

/* --- words --- */

/* Next word: up to a blank, or what is between { and }. False at the end. */
static int next_word(struct reader *r, struct span *word, bool *is_braced)
{
    struct span s = span_trim(r->rest);
    size_t n = 0, level = 0;

    *is_braced = s.n > 0 && s.p[0] == '{';
    if (s.n == 0) {
        *word = SPAN_NONE;
        return 0;
    }
    for (; n < s.n && (level > 0 || !ascii_is_space(s.p[n])); n++) {
        if (s.p[n] == '{')
            level++;
        else if (s.p[n] == '}' && level > 0 && --level == 0 && *is_braced)
            break;
    }
    if (*is_braced && n == s.n)
        return wrong(r, "unbalanced {}", s);
    *word = *is_braced ? span_trim(span_make(s.p + 1, n - 1)) : span_take(s, n);
    r->rest = span_drop(s, *is_braced ? n + 1 : n);
    return 1;
}

static int keep(struct reader *r, struct span word, const char **text)
{
    *text = arena_strdup(&r->m->arena, word);
    return *text == NULL ? -ENOMEM : 0;
}

/* --- columns --- */

static const struct {
    const char *name;
    enum service_type type;
} types[] = {
    {"inet", SERVICE_TYPE_INET},
    {"unix", SERVICE_TYPE_UNIX},
    {"unix-dgram", SERVICE_TYPE_UNIX_DGRAM},
    {"fifo", SERVICE_TYPE_FIFO},
    {"pass", SERVICE_TYPE_PASS},
};

const char *service_type_name(enum service_type type)
{
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].type == type)
            return types[i].name;
    return "unknown";
}

static int read_type(struct reader *r, struct span word)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (span_eq(word, span_cstr(types[i].name))) {
            r->entry.type = types[i].type;
            return 0;
        }
    }
    return wrong(r, "field \"type\" must be inet, unix, unix-dgram, fifo or pass", word);
}

static int read_flag(struct reader *r, struct span word, const char *what, bool fallback,
                     bool *flag)
{
    *flag = span_eq(word, SPAN_LIT("y")) || (span_eq(word, SPAN_LIT("-")) && fallback);
    if (word.n == 1 && strchr("yn-", word.p[0]) != NULL)
        return 0;
    str_printf(r->why, "field \"%s\" must be y, n or -: \"%.*s\"", what, SPAN_ARG(word));
    return ERR_SYNTAX;
}

static int read_wakeup(struct reader *r, struct span word)
{
    uint32_t seconds = 0;

    if (word.n > 0 && word.p[word.n - 1] == '?') {
        r->entry.wakeup_if_used = true;
        word.n--;
    }
    if (!span_eq(word, SPAN_LIT("-")) && span_to_u32(word, &seconds) < 0)
        return wrong(r, "field \"wakeup\" must be seconds or -", word);
    r->entry.wakeup_seconds = seconds;
    return 0;
}

static int read_limit(struct reader *r, struct span word)
{
    uint32_t limit;

    r->entry.limit = MASTER_CF_LIMIT_DEFAULT;
    if (span_eq(word, SPAN_LIT("-")))
        return 0;
    if (span_to_u32(word, &limit) < 0 || limit > LIMIT_MAX)
        return wrong(r, "field \"maxproc\" must be a number or -", word);
    r->entry.limit = (int)limit;
    return 0;
}

/* "inet" names a host and a port, the others a file below run/. */
static int read_name(struct reader *r, struct span word)
{
    if (r->entry.type == SERVICE_TYPE_INET)
        return 0;
    if (span_search(word, SPAN_LIT("..")) >= 0 || span_find(word, '/') >= 0)
        return wrong(r, "a service name must not be a path", word);
    return 0;
}

static int read_column(struct reader *r, size_t column, struct span word)
{
    struct master_entry *e = &r->entry;

    switch (column) {
    case 0:
        return keep(r, word, &e->name);
    case 1:
        return read_type(r, word);
    case 2:
        return read_flag(r, word, "private", true, &e->is_private);
    case 3:
        return read_flag(r, word, "unpriv", true, &e->is_unprivileged);
    case 4:
        return read_flag(r, word, "chroot", r->m->is_chroot_default, &e->is_chrooted);
    case 5:
        return read_wakeup(r, word);
    default:
        return read_limit(r, word);
    }
}

static int read_columns(struct reader *r)
{
    static const char *const titles[] = {"service", "type",   "private", "unpriv",
                                         "chroot",  "wakeup", "maxproc"};
    struct span word;
    bool is_braced;
    int got;

    for (size_t i = 0; i < COLUMNS; i++) {
        if ((got = next_word(r, &word, &is_braced)) < 0)
            return got;
        if (got == 0) {
            str_printf(r->why, "field \"%s\" is missing", titles[i]);
            return ERR_SYNTAX;
        }
        if ((got = keep(r, word, &r->entry.columns[i])) < 0 || (got = read_column(r, i, word)) < 0)
            return got;
    }
    if (r->entry.type == SERVICE_TYPE_INET && r->entry.is_private)
        return wrong(r, "an inet service cannot be private", span_cstr(r->entry.name));
    return read_name(r, span_cstr(r->entry.name));
}

/* --- the command --- */

static int add_override(struct reader *r, struct span text)
{
    struct span name, value;
    const char *problem = main_cf_split(text, &name, &value), **slot;
    char *copy;

    if (problem != NULL) {
        str_printf(r->why, "-o %.*s: %s", SPAN_ARG(span_take(text, 60)), problem);
        return ERR_SYNTAX;
    }
    copy = arena_printf(&r->m->arena, "%.*s=%.*s", SPAN_ARG(name), SPAN_ARG(value));
    slot = array_push(&r->overrides);
    if (copy == NULL || slot == NULL)
        return -ENOMEM;
    *slot = copy;
    return 0;
}

static int read_option(struct reader *r, struct span word)
{
    bool is_braced = false;
    int got;

    if (word.p[1] == 'o') {
        if (word.n > 2)
            return add_override(r, span_drop(word, 2));
        if ((got = next_word(r, &word, &is_braced)) < 0)
            return got;
        if (got == 0) {
            str_append_cstr(r->why, "-o needs name=value");
            return ERR_SYNTAX;
        }
        return add_override(r, word);
    }
    for (size_t i = 1; i < word.n; i++) {
        if (word.p[i] == 'v')
            r->entry.verbose++;
        else if (word.p[i] == 'D')
            r->entry.is_debugged = true;
        else
            return wrong(r, "unknown option", word);
    }
    return 0;
}

static int add_argument(struct reader *r, struct span word)
{
    const char **slot = array_push(&r->arguments);

    if (slot == NULL || r->arguments.len > WORDS_MAX)
        return -ENOMEM;
    return keep(r, word, slot);
}

static int read_command(struct reader *r)
{
    bool is_braced, in_options = true;
    struct span word;
    int got = next_word(r, &word, &is_braced);

    if (got < 0)
        return got;
    if (got == 0) {
        str_append_cstr(r->why, "field \"command\" is missing");
        return ERR_SYNTAX;
    }
    if (span_find(word, '/') >= 0)
        return wrong(r, "the command must not be a path", word);
    if ((got = keep(r, word, &r->entry.command)) < 0)
        return got;
    r->entry.columns[COLUMNS] = r->entry.command;
    if ((got = keep(r, span_trim(r->rest), &r->entry.command_line)) < 0)
        return got;
    while ((got = next_word(r, &word, &is_braced)) > 0) {
        in_options = in_options && !is_braced && word.n > 1 && word.p[0] == '-';
        got = in_options ? read_option(r, word) : add_argument(r, word);
        if (got < 0)
            return got;
    }
    return got;
}

/* Move the lists of words into the arena; arguments end with NULL. */
static int keep_lists(struct reader *r)
{
    const char **overrides = ARENA_NEW_N(&r->m->arena, const char *, r->overrides.len + 1);
    const char **arguments = ARENA_NEW_N(&r->m->arena, const char *, r->arguments.len + 1);

    if (overrides == NULL || arguments == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < r->overrides.len; i++)
        overrides[i] = r->overrides.items[i];
    for (size_t i = 0; i < r->arguments.len; i++)
        arguments[i] = r->arguments.items[i];
    r->entry.overrides = overrides;
    r->entry.override_count = r->overrides.len;
    r->entry.written_overrides = overrides;
    r->entry.written_count = r->overrides.len;
    r->entry.arguments = arguments;
    r->entry.argument_count = r->arguments.len;
    return 0;
}

/* --- the file --- */

static bool is_same_service(const struct master_entry *e, const char *name, enum service_type type)
{
    return e->type == type && strcmp(e->name, name) == 0;
}

static int add_entry(struct master_cf *m, const struct master_entry *entry, const char *path)
{
    struct master_entry *slot;

    for (size_t i = 0; i < m->entries.len; i++) {
        if (!is_same_service(&m->entries.items[i], entry->name, entry->type))
            continue;
        log_warn("%s, line %u: duplicate master.cf entry for service \"%s\" (%s) -- using the last "
                 "entry",
                 path, entry->line, entry->name, service_type_name(entry->type));
        m->entries.items[i] = *entry;
        return 0;
    }
    slot = array_push(&m->entries);
    if (slot == NULL)
        return -ENOMEM;
    *slot = *entry;
    return 0;
}

static int read_line(struct master_cf *m, const char *path, struct str *buf, unsigned line,
                     struct str *why)
{
    struct str what = {0};
    struct reader r = {.m = m, .rest = str_span(buf), .why = &what};
    int error = str_error(buf);

    r.entry.line = line;
    if (error == 0 && ascii_is_space(buf->data[0]))
        error = wrong(&r, "an entry must not begin with white space", span_trim(str_span(buf)));
    if (error == 0 && span_find(str_span(buf), '\0') >= 0)
        error = wrong(&r, "a NUL octet", SPAN_LIT(""));
    if (error == 0 && (error = read_columns(&r)) == 0 && (error = read_command(&r)) == 0)
        error = keep_lists(&r);
    if (error == 0)
        error = add_entry(m, &r.entry, path);
    if (error < 0)
        str_printf(why, "%s, line %u: %s", path, line,
                   what.len > 0 ? str_cstr(&what) : error_text(error));
    array_free(&r.overrides);
    array_free(&r.arguments);
    str_fini(&what);
    return error;
}

/* "-" in column chroot meant "y" before compatibility level 1. */
static bool is_chroot_default(const struct conf *c)
{
    struct str answer = {0}, why = {0};
    bool is_old;

    (void)conf_expand(c, SPAN_LIT("${{$compatibility_level} <level {1} ? {y}}"), &answer, &why);
    is_old = answer.len > 0;
    str_fini(&answer);
    str_fini(&why);
    return is_old;
}

int master_cf_load_text(struct master_cf **out, const struct conf *c, const char *path,
                        struct span text, struct str *why)
{
    struct master_cf *m = NEW(struct master_cf);
    struct str buf = {0};
    unsigned line = 0, first = 0;
    int error = m == NULL ? -ENOMEM : 0;

    if (error == 0)
        m->is_chroot_default = is_chroot_default(c);
    buf.max = MAIN_CF_SIZE_MAX;
    while (error == 0 && logical_line_next(&text, &buf, &line, &first))
        error = read_line(m, path, &buf, first, why);
    str_fini(&buf);
    if (error < 0) {
        master_cf_free(m);
        return error;
    }
    for (size_t i = 0; i < m->entries.len; i++)
        takeover_apply(m, &m->entries.items[i]);
    *out = m;
    return 0;
}

int master_cf_load(struct master_cf **out, const struct conf *c, struct str *why)
{
    struct str text = {0}, path = {0};
    int error;

    str_printf(&path, "%s/master.cf", conf_directory(c));
    error = file_read(str_cstr(&path), &text, MAIN_CF_SIZE_MAX);
    if (error < 0)
        str_printf(why, "%s: %s", str_cstr(&path), error_text(error));
    else
        error = master_cf_load_text(out, c, str_cstr(&path), str_span(&text), why);
    str_fini(&path);
    str_fini(&text);
    return error;
}

void master_cf_free(struct master_cf *m)
{
    if (m == NULL)
        return;
    array_free(&m->entries);
    arena_reset(&m->arena);
    free(m);
}

size_t master_cf_count(const struct master_cf *m)
{
    return m->entries.len;
}

const struct master_entry *master_cf_at(const struct master_cf *m, size_t index)
{
    ENSURE(index < m->entries.len);
    return &m->entries.items[index];
}

const struct master_entry *master_cf_find(const struct master_cf *m, const char *name,
                                          enum service_type type)
{
    for (size_t i = 0; i < m->entries.len; i++)
        if (is_same_service(&m->entries.items[i], name, type))
            return &m->entries.items[i];
    return NULL;
}
