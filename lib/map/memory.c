/* memory.c: see memory.h; and the types texthash and inline. */
#include "map/memory.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/main_cf.h"
#include "map/source.h"
#include "map/type.h"

struct item {
    struct hash_node node;
    struct span key, value;
};

static int memory_find(const struct map_memory *t, struct span key, struct span *value)
{
    struct hash_node *n = hash_first(&t->table, span_hash(key));

    for (; n != NULL; n = hash_next(n)) {
        struct item *i = CONTAINER_OF(n, struct item, node);

        if (span_eq(i->key, key)) {
            *value = i->value;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

/* A copy of both. ERR_EXISTS when the key is there already (nothing changes). */
static int memory_add(struct map_memory *t, struct span key, struct span value)
{
    struct item *i;
    struct span have;

    if (memory_find(t, key, &have) == 0)
        return ERR_EXISTS;
    i = ARENA_NEW(&t->arena, struct item);
    if (i == NULL || arena_copy(&t->arena, key, &i->key) < 0 ||
        arena_copy(&t->arena, value, &i->value) < 0)
        return -ENOMEM;
    return hash_insert(&t->table, &i->node, span_hash(i->key));
}

static void memory_fini(struct map_memory *t)
{
    hash_fini(&t->table);
    arena_reset(&t->arena);
}

static int memory_lookup(const struct map *m, struct span key, struct str *value)
{
    struct span text;
    int error = memory_find(m->data, key, &text);

    return error < 0 ? error : str_append(value, text);
}

static void memory_close(struct map *m)
{
    if (m->data != NULL)
        memory_fini(m->data);
    free(m->data);
}

/* Keys are folded once, when they come in. */
static int add_folded(struct map_memory *t, struct span key, struct span value)
{
    struct str folded = {0};
    int error = str_append(&folded, key);

    for (size_t i = 0; i < folded.len; i++)
        folded.data[i] = ascii_lower(folded.data[i]);
    if (error == 0)
        error = memory_add(t, str_span(&folded), value);
    str_fini(&folded);
    return error;
}

/* --- texthash --- */

static int texthash_load(struct map_memory *t, const char *path, struct span text)
{
    struct map_source source;
    struct map_source_entry entry;
    int error = 0;

    map_source_init(&source, MAP_SOURCE_TABLE, path, text);
    while (error == 0 && map_source_next(&source, &entry)) {
        error = add_folded(t, entry.key, entry.value);
        if (error == ERR_EXISTS) {
            log_warn("%s, line %u: duplicate entry: \"%.*s\"", path, entry.line,
                     SPAN_ARG(entry.key));
            error = 0;
        }
    }
    map_source_fini(&source);
    return error;
}

static int texthash_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    struct map_memory *t = NEW(struct map_memory);
    struct str text = {0};
    char *path = mem_strdup(name);
    int error = t == NULL || path == NULL ? -ENOMEM : 0;

    m->data = t;
    if (error == 0 && (error = file_read(path, &text, MAP_FILE_MAX)) < 0)
        str_printf(why, "table %s: %s: %s", m->spec, path, error_text(error));
    if (error == 0)
        error = texthash_load(t, path, str_span(&text));
    free(path);
    str_fini(&text);
    return error;
}

const struct map_type map_type_texthash = {
    "texthash", false, true, texthash_open, memory_lookup, memory_close,
};

/* --- inline: {key = value, { key = value } } --- */

static int inline_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    struct map_memory *t = NEW(struct map_memory);
    struct span rest, word, key, value;
    const char *problem = NULL;
    int error = t == NULL ? -ENOMEM : 0;

    m->data = t;
    if (error == 0 && (!map_strip_braces(name, &rest) || rest.n == 0))
        problem = "need inline:{key=value, ...}";
    while (error == 0 && problem == NULL && map_next_word(&rest, &word)) {
        if (word.p[0] == '{' && !map_strip_braces(word, &word))
            problem = "unbalanced {}";
        else if ((problem = main_cf_split(word, &key, &value)) == NULL &&
                 (error = add_folded(t, key, value)) == ERR_EXISTS)
            problem = "a key is there twice";
    }
    if (problem != NULL) {
        str_printf(why, "table %s: %s", m->spec, problem);
        return ERR_SYNTAX;
    }
    return error;
}

const struct map_type map_type_inline = {
    "inline", false, true, inline_open, memory_lookup, memory_close,
};
