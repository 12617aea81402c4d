/* map.c: opening by type, and the way every look-up goes. */
#include "map/map.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "map/type.h"

static const struct map_type *const types[] = {
    &map_type_hash,    &map_type_btree, &map_type_lmdb,   &map_type_texthash, &map_type_inline,
    &map_type_static,  &map_type_fail,  &map_type_cidr,   &map_type_unix,     &map_type_unionmap,
    &map_type_pipemap, &map_type_proxy, &map_type_userdb,
};

const char *map_type_name_at(size_t index)
{
    return index < COUNT_OF(types) ? types[index]->name : NULL;
}

static const struct map_type *find_type(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (span_eq(name, span_cstr(types[i]->name)))
            return types[i];
    return NULL;
}

static bool is_broker_asked;

void map_ask_broker(void)
{
    is_broker_asked = true;
}

int map_open(struct map **out, const struct conf *c, struct span spec, struct str *why)
{
    ptrdiff_t colon = span_find(spec, ':');
    const struct map_type *type;
    struct map *m;
    int error;

    if (colon <= 0) {
        str_printf(why, "bad table name: \"%.*s\" (need type:name)", SPAN_ARG(spec));
        return ERR_SYNTAX;
    }
    type = find_type(span_take(spec, (size_t)colon));
    if (type == NULL) {
        str_printf(why, "table type is not supported: \"%.*s\"", SPAN_ARG(spec));
        return ERR_NOT_SUPPORTED;
    }
    m = NEW(struct map);
    if (m == NULL || (m->spec = mem_strdup(spec)) == NULL) {
        free(m);
        return -ENOMEM;
    }
    m->type = type;
    error = type->open(m, c, span_drop(spec, (size_t)colon + 1), why);
    if (error == 0 && type == &map_type_unix && is_broker_asked) {
        m->type = &map_type_proxy;
        error = map_type_proxy.open(m, c, spec, why);
    }
    if (error < 0) {
        if (why->len == 0)
            str_printf(why, "table %s: %s", m->spec, error_text(error));
        map_free(m);
        return error;
    }
    *out = m;
    return 0;
}

void map_free(struct map *m)
{
    if (m == NULL)
        return;
    if (m->type->close != NULL)
        m->type->close(m);
    free(m->spec);
    free(m);
}

const char *map_name(const struct map *m)
{
    return m->spec;
}

static int fold(struct str *out, struct span key)
{
    int error = str_set(out, key);

    for (size_t i = 0; i < out->len; i++)
        out->data[i] = ascii_lower(out->data[i]);
    return error;
}

int map_lookup(const struct map *m, struct span key, unsigned flags, struct str *value)
{
    struct str folded = {0};
    int error = 0;

    str_clear(value);
    if ((flags & MAP_PARTIAL) != 0 && m->type->is_pattern)
        return ERR_NOT_FOUND;
    /* No table can hold such a key, and C strings end at a NUL. */
    if (key.n == 0 || key.n > MAP_KEY_MAX || span_find(key, '\0') >= 0)
        return ERR_NOT_FOUND;
    if (m->type->is_folded) {
        error = fold(&folded, key);
        key = str_span(&folded);
    }
    if (error == 0)
        error = m->type->lookup(m, key, value);
    if (error == 0)
        error = str_error(value);
    str_fini(&folded);
    if (error < 0)
        str_clear(value);
    return error == 0 || error == ERR_NOT_FOUND || error == -ECANCELED ? error : ERR_TEMPORARY;
}

bool map_next_word(struct span *rest, struct span *word)
{
    size_t n = 0, level = 0;

    while (rest->n > 0 && (rest->p[0] == ',' || ascii_is_space(rest->p[0])))
        *rest = span_drop(*rest, 1);
    if (rest->n == 0)
        return false;
    for (; n < rest->n; n++) {
        char c = rest->p[n];

        if (level == 0 && (c == ',' || ascii_is_space(c)))
            break;
        if (c == '{')
            level++;
        else if (c == '}' && level > 0)
            level--;
    }
    *word = span_take(*rest, n);
    *rest = span_drop(*rest, n);
    return true;
}

bool map_strip_braces(struct span text, struct span *inside)
{
    size_t level = 0;

    if (text.n < 2 || text.p[0] != '{' || text.p[text.n - 1] != '}')
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '{')
            level++;
        else if (text.p[i] == '}' && --level == 0 && i + 1 < text.n)
            return false;
    }
    *inside = span_trim(span_make(text.p + 1, text.n - 2));
    return level == 0;
}

int map_run_blocking(task_job_fn *fn, void *job)
{
    if (task_self() != NULL)
        return task_offload(TASK_POOL_STORE, fn, job);
    fn(job);
    return 0;
}
