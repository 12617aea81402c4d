/* simple.c: the types static, fail, unionmap, pipemap and userdb. */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "map/type.h"

/* --- static: one value for every key --- */

static int static_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    struct span inside;

    /* static:{ text with blanks } */
    if (name.n > 0 && name.p[0] == '{' && map_strip_braces(name, &inside))
        name = inside;
    m->data = mem_strdup(name);
    return m->data == NULL ? -ENOMEM : 0;
}

static int static_lookup(const struct map *m, struct span key, struct str *value)
{
    return str_append_cstr(value, m->data);
}

static void static_close(struct map *m)
{
    free(m->data);
}

const struct map_type map_type_static = {
    "static", false, false, static_open, static_lookup, static_close,
};

/* --- fail: every look-up fails --- */

static int fail_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    return 0;
}

static int fail_lookup(const struct map *m, struct span key, struct str *value)
{
    return ERR_TEMPORARY;
}

const struct map_type map_type_fail = {"fail", false, false, fail_open, fail_lookup, NULL};

/* --- unionmap and pipemap --- */

struct several {
    ARRAY(struct map *) maps;
};

static int several_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    struct several *s = NEW(struct several);
    struct span rest, word;
    int error = s == NULL ? -ENOMEM : 0;

    m->data = s;
    if (error == 0 && (!map_strip_braces(name, &rest) || rest.n == 0)) {
        str_printf(why, "table %s: need %s:{type:name, ...}", m->spec, m->type->name);
        return ERR_SYNTAX;
    }
    while (error == 0 && map_next_word(&rest, &word)) {
        struct map **slot = array_push(&s->maps);

        (void)map_strip_braces(word, &word);
        error = slot == NULL ? -ENOMEM : map_open(slot, c, word, why);
        if (error < 0 && slot != NULL)
            s->maps.len--;
    }
    return error;
}

static void several_close(struct map *m)
{
    struct several *s = m->data;

    for (size_t i = 0; s != NULL && i < s->maps.len; i++)
        map_free(s->maps.items[i]);
    if (s != NULL)
        array_free(&s->maps);
    free(s);
}

/* All values, joined by commas. */
static int union_lookup(const struct map *m, struct span key, struct str *value)
{
    const struct several *s = m->data;
    struct str one = {0};
    bool is_found = false;
    int error = ERR_NOT_FOUND;

    for (size_t i = 0; i < s->maps.len; i++) {
        error = map_lookup(s->maps.items[i], key, 0, &one);
        if (error == ERR_NOT_FOUND)
            continue;
        if (error < 0)
            break;
        if (is_found)
            str_append_char(value, ',');
        str_append(value, str_span(&one));
        is_found = true;
    }
    str_fini(&one);
    return error < 0 && error != ERR_NOT_FOUND ? error : is_found ? 0 : ERR_NOT_FOUND;
}

const struct map_type map_type_unionmap = {
    "unionmap", true, false, several_open, union_lookup, several_close,
};

/* Each table's value is the next one's key. */
static int pipe_lookup(const struct map *m, struct span key, struct str *value)
{
    const struct several *s = m->data;
    struct str text = {0};
    int error = str_append(&text, key);

    for (size_t i = 0; error == 0 && i < s->maps.len; i++) {
        error = map_lookup(s->maps.items[i], str_span(&text), 0, value);
        if (error == 0)
            error = str_set(&text, str_span(value));
    }
    str_fini(&text);
    return error;
}

const struct map_type map_type_pipemap = {
    "pipemap", true, false, several_open, pipe_lookup, several_close,
};

/* --- userdb: addresses that have an account --- */

static map_userdb_fn *userdb;

void map_set_userdb(map_userdb_fn *lookup)
{
    userdb = lookup;
}

static int userdb_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    return 0;
}

static int userdb_lookup(const struct map *m, struct span key, struct str *value)
{
    if (userdb != NULL)
        return userdb(key, value);
    log_warn("table %s: this program has no connection to auth", m->spec);
    return ERR_TEMPORARY;
}

const struct map_type map_type_userdb = {"userdb", true, false, userdb_open, userdb_lookup, NULL};
