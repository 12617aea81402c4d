/* conf.c: loading, layering, evaluating. Access by name: access.c. */
#include "conf/conf.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/expand.h"
#include "conf/internal.h"
#include "conf/main_cf.h"

/* --- settings --- */

struct setting *conf_find_setting(const struct conf *c, struct span name)
{
    struct hash_node *n = hash_first(&c->by_name, span_hash(name));

    for (; n != NULL; n = hash_next(n)) {
        struct setting *s = CONTAINER_OF(n, struct setting, node);

        if (span_eq(s->name, name))
            return s;
    }
    return NULL;
}

static int add_setting(struct conf *c, struct span name, struct span value, unsigned line)
{
    struct setting *s = conf_find_setting(c, name), **slot;
    char *text = arena_strdup(&c->arena, value);

    if (text == NULL)
        return -ENOMEM;
    if (s != NULL) {
        if (s->set.line != 0 && line != 0)
            log_warn("%s, line %u: overriding earlier entry: %s=%s", c->path, line, s->set.name,
                     s->set.value);
        s->set.value = text;
        s->set.line = line;
        return 0;
    }
    s = ARENA_NEW(&c->arena, struct setting);
    if (s == NULL || arena_copy(&c->arena, name, &s->name) < 0)
        return -ENOMEM;
    s->set = (struct conf_setting){s->name.p, text, line, param_find(name)};
    slot = array_push(&c->settings);
    if (slot == NULL)
        return -ENOMEM;
    *slot = s;
    return hash_insert(&c->by_name, &s->node, span_hash(name));
}

/* --- values --- */

struct value *conf_value_of(const struct conf *c, const struct param *p)
{
    return &c->values[param_index(p)];
}

const char *conf_default(const struct conf *c, const struct param *p)
{
    const struct value *v = conf_value_of(c, p);

    return v->computed != NULL ? v->computed : p->fallback;
}

/* What $name in a value stands for. */
static bool lookup_raw(void *arg, struct span name, struct span *value)
{
    const struct conf *c = arg;
    const struct setting *s = conf_find_setting(c, name);
    const struct param *p;
    struct span prefix;

    if (s != NULL) {
        *value = span_cstr(s->source != NULL ? s->source : s->set.value);
        return true;
    }
    p = param_find(name);
    if (p != NULL) {
        *value = span_cstr(conf_default(c, p));
        return true;
    }
    p = param_pattern_find(name, &prefix);
    if (p == NULL)
        return false;
    *value = span_cstr(p->fallback);
    return true;
}

int conf_expand(const struct conf *c, struct span text, struct str *out, struct str *why)
{
    struct expand_source source = {lookup_raw, (void *)c, false};

    return expand_text(out, text, &source, why);
}

/* A NUL-terminated copy of text, expanded unless the row says otherwise. */
static int expand_copy(struct conf *c, const struct param *p, const char *text, const char **copy,
                       struct str *why)
{
    struct str out = {0};
    int error = 0;

    if ((p != NULL && p->type == PARAM_RAW) || strchr(text, '$') == NULL) {
        *copy = text;
        return 0;
    }
    error = conf_expand(c, span_cstr(text), &out, why);
    if (error == 0 && (*copy = arena_strdup(&c->arena, span_trim(str_span(&out)))) == NULL)
        error = -ENOMEM;
    str_fini(&out);
    return error;
}

/* In front of *why: where the value comes from. */
static int explain(const struct conf *c, const struct setting *s, const char *name, int error,
                   struct str *why)
{
    struct str all = {0};

    if (s == NULL)
        str_printf(&all, "%s: default of %s: ", c->path, name);
    else if (s->set.line == 0)
        str_printf(&all, "override -o %s: ", name);
    else
        str_printf(&all, "%s, line %u: %s: ", c->path, s->set.line, name);
    str_append_cstr(&all, why->len > 0 ? str_cstr(why) : error_text(error));
    str_set(why, str_span(&all));
    str_fini(&all);
    return error;
}

/* What becomes of a value that is no good. */
static int settle(const struct conf *c, const struct setting *s, const char *name, int error,
                  struct str *why)
{
    if (error == 0)
        return 0;
    explain(c, s, name, error, why);
    if (!c->is_lenient)
        return error;
    log_warn("%s", str_cstr(why));
    str_clear(why);
    return 0;
}

static int evaluate_row(struct conf *c, const struct param *p, struct str *why)
{
    struct value *v = conf_value_of(c, p);
    struct setting *s = conf_find_setting(c, span_cstr(p->name));
    const char *raw = s == NULL ? conf_default(c, p) : s->source != NULL ? s->source : s->set.value;
    int error;

    v->setting = s;
    error = expand_copy(c, p, raw, &v->text, why);
    /* An empty default may be below a string's minimum: whoever needs it says so. */
    if (error == 0 && (s != NULL || (p->type != PARAM_STRING && p->type != PARAM_RAW)))
        error = param_parse(p, span_cstr(v->text), &v->number, why);
    if (error < 0 && v->text == NULL)
        v->text = raw;
    return settle(c, s, p->name, error, why);
}

/* Names outside the table: patterns are checked, user-defined ones only
 * expanded; one that cannot be expanded matters only where it is used. */
static int evaluate_other(struct conf *c, struct setting *s, struct str *why)
{
    struct span prefix;
    const struct param *p = param_pattern_find(s->name, &prefix);
    struct str ignored = {0};
    int64_t number;
    int error;

    if (p == NULL) {
        if (expand_copy(c, NULL, s->set.value, &s->expanded, &ignored) < 0)
            s->expanded = NULL;
        str_fini(&ignored);
        return 0;
    }
    error = expand_copy(c, p, s->set.value, &s->expanded, why);
    if (error == 0)
        error = param_parse(p, span_cstr(s->expanded), &number, why);
    if (error < 0 && s->expanded == NULL)
        s->expanded = s->set.value;
    return settle(c, s, s->set.name, error, why);
}

/* Debian's extension: the first line of the file that myorigin names. */
static int read_origin(struct conf *c, struct str *why)
{
    struct setting *s = conf_find_setting(c, SPAN_LIT("myorigin"));
    struct str text = {0};
    struct span rest, line;
    int error;

    if (s == NULL || s->set.value[0] != '/')
        return 0;
    error = file_read(s->set.value, &text, 4096);
    if (error == 0) {
        rest = str_span(&text);
        span_next(&rest, '\n', &line);
        s->source = arena_strdup(&c->arena, span_trim(line));
        error = s->source == NULL ? -ENOMEM : 0;
    } else {
        str_printf(why, "%s: %s", s->set.value, error_text(error));
        error = settle(c, s, "myorigin", error, why);
    }
    str_fini(&text);
    return error;
}

static int compute_default(struct conf *c, const struct param *p, struct str *why)
{
    struct str text = {0};
    int error = 0;

    if (p->compute == NULL || conf_value_of(c, p)->computed != NULL)
        return 0;
    error = p->compute(c, &text, why);
    if (error == 0 &&
        (conf_value_of(c, p)->computed = arena_strdup(&c->arena, str_span(&text))) == NULL)
        error = -ENOMEM;
    str_fini(&text);
    if (error < 0 && conf_find_setting(c, span_cstr(p->name)) != NULL) {
        /* Not needed; what is wrong is found again where it is set. */
        conf_value_of(c, p)->computed = "";
        str_clear(why);
        error = 0;
    }
    if (error < 0 && c->is_lenient)
        conf_value_of(c, p)->computed = "";
    return settle(c, NULL, p->name, error, why);
}

static int evaluate(struct conf *c, struct str *why)
{
    static const char *const first[] = {"myhostname", "mydomain"};
    size_t count = param_count();
    int error;

    c->values = ARENA_NEW_N(&c->arena, struct value, count);
    if (c->values == NULL)
        return -ENOMEM;
    if ((error = read_origin(c, why)) < 0)
        return error;
    /* Computed defaults that others are computed from. */
    for (size_t i = 0; i < COUNT_OF(first); i++)
        if ((error = compute_default(c, param_find(span_cstr(first[i])), why)) < 0)
            return error;
    for (size_t i = 0; i < count; i++)
        if ((error = compute_default(c, param_at(i), why)) < 0)
            return error;
    for (size_t i = 0; i < count; i++)
        if ((error = evaluate_row(c, param_at(i), why)) < 0)
            return error;
    for (size_t i = 0; i < c->settings.len; i++)
        if (c->settings.items[i]->set.param == NULL &&
            (error = evaluate_other(c, c->settings.items[i], why)) < 0)
            return error;
    return 0;
}

/* --- loading --- */

static int add_entry(void *arg, const struct main_cf_entry *entry, struct str *why)
{
    (void)why;
    return add_setting(arg, entry->name, entry->value, entry->line);
}

static struct conf *new_conf(const char *directory, const char *path)
{
    struct conf *c = NEW(struct conf);

    if (c == NULL)
        return NULL;
    c->directory = arena_strdup(&c->arena, span_cstr(directory));
    c->path = arena_strdup(&c->arena, span_cstr(path));
    if (c->directory != NULL && c->path != NULL)
        return c;
    conf_free(c);
    return NULL;
}

static int add_overrides(struct conf *c, const char *const *overrides, size_t count,
                         struct str *why)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < count; i++) {
        struct span name, value;
        const char *wrong = main_cf_split(span_cstr(overrides[i]), &name, &value);

        if (wrong != NULL) {
            str_printf(why, "override -o \"%s\": %s", overrides[i], wrong);
            error = ERR_SYNTAX;
        } else {
            error = add_setting(c, name, value, 0);
        }
    }
    return error;
}

/* The end of every way to make one: c on success, nothing on failure. */
static int hand_over(struct conf **out, struct conf *c, int error, struct str *why)
{
    if (error < 0) {
        conf_free(c);
        if (why->len == 0)
            str_append_cstr(why, error_text(error));
        return error;
    }
    *out = c;
    return 0;
}

/* Settings of the file, then the overrides, then values. */
static int load_all(struct conf *c, struct span text, const char *const *overrides, size_t count,
                    struct str *why)
{
    int error = main_cf_parse(text, c->path, add_entry, c, why);

    /* $config_directory is where the file was found, whatever it says. */
    if (error == 0)
        error = add_setting(c, SPAN_LIT("config_directory"), span_cstr(c->directory), 0);
    if (error == 0)
        error = add_overrides(c, overrides, count, why);
    return error < 0 ? error : evaluate(c, why);
}

int conf_load_text(struct conf **out, const char *config_directory, const char *path,
                   struct span text, struct str *why)
{
    struct conf *c = new_conf(config_directory, path);
    int error = c == NULL ? -ENOMEM : load_all(c, text, NULL, 0, why);

    return hand_over(out, c, error, why);
}

static int load_file(struct conf **out, const char *config_directory, bool is_lenient,
                     const char *const *overrides, size_t count, struct str *why)
{
    struct str text = {0}, path = {0};
    struct conf *c = NULL;
    int error;

    str_printf(&path, "%s/main.cf", config_directory);
    error = file_read(str_cstr(&path), &text, MAIN_CF_SIZE_MAX);
    if (error < 0)
        str_printf(why, "%s: %s", str_cstr(&path), error_text(error));
    else if ((c = new_conf(config_directory, str_cstr(&path))) == NULL)
        error = -ENOMEM;
    if (c != NULL) {
        c->is_lenient = is_lenient;
        error = load_all(c, str_span(&text), overrides, count, why);
    }
    str_fini(&path);
    str_fini(&text);
    return hand_over(out, c, error, why);
}

int conf_load(struct conf **out, const char *config_directory, struct str *why)
{
    return load_file(out, config_directory, false, NULL, 0, why);
}

int conf_load_lenient(struct conf **out, const char *config_directory, const char *const *overrides,
                      size_t count, struct str *why)
{
    return load_file(out, config_directory, true, overrides, count, why);
}

int conf_overlay(struct conf **out, const struct conf *base, const char *const *overrides,
                 size_t count, struct str *why)
{
    struct conf *c = new_conf(base->directory, base->path);
    int error = c == NULL ? -ENOMEM : 0;

    for (size_t i = 0; error == 0 && i < base->settings.len; i++) {
        const struct setting *s = base->settings.items[i];

        error = add_setting(c, s->name, span_cstr(s->set.value), s->set.line);
    }
    if (error == 0)
        error = add_overrides(c, overrides, count, why);
    if (error == 0)
        error = evaluate(c, why);
    return hand_over(out, c, error, why);
}

void conf_free(struct conf *c)
{
    if (c == NULL)
        return;
    hash_fini(&c->by_name);
    array_free(&c->settings);
    arena_reset(&c->arena);
    free(c);
}
