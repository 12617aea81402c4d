/*
 * match.c: match lists. Compiled when opened; the first pattern that applies
 * decides, and "!" in front turns its answer round.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/main_cf.h"
#include "map/lookup.h"
#include "map/type.h"
#include "net/address.h"

enum { FILE_DEPTH_MAX = 10 };

struct pattern {
    bool is_negated, is_network;
    struct span text;         /* folded; a name or an address */
    struct net_prefix prefix; /* is_network */
    struct map *map;          /* not NULL: a table */
};

struct map_match {
    unsigned flags;
    struct arena arena;
    ARRAY(struct pattern) patterns;
};

/* --- compiling --- */

static int add_words(struct map_match *m, const struct conf *c, struct span text, bool is_negated,
                     unsigned depth, struct str *why);

/* "/file": a list as well, with comments. */
static int add_file(struct map_match *m, const struct conf *c, struct span name, bool is_negated,
                    unsigned depth, struct str *why)
{
    char *path = mem_strdup(name);
    struct str text = {0}, line_text = {0};
    struct span rest;
    unsigned line = 0, first = 0;
    int error = path == NULL ? -ENOMEM : depth >= FILE_DEPTH_MAX ? ERR_LIMIT : 0;

    if (error == 0)
        error = file_read(path, &text, MAP_FILE_MAX);
    if (error < 0)
        str_printf(why, "%.*s: %s", SPAN_ARG(name),
                   error == ERR_LIMIT ? "files name each other too deeply" : error_text(error));
    rest = str_span(&text);
    while (error == 0 && logical_line_next(&rest, &line_text, &line, &first))
        error = add_words(m, c, str_span(&line_text), is_negated, depth + 1, why);
    free(path);
    str_fini(&text);
    str_fini(&line_text);
    return error;
}

/* "type:name", and not an IPv6 address. */
static bool is_table(struct span word)
{
    struct net_prefix prefix;

    return word.p[0] != '[' && span_find(word, ':') > 0 && net_prefix_parse(word, &prefix) < 0;
}

static int set_text(struct map_match *m, struct pattern *p, struct span word, struct str *why)
{
    bool has_slash = span_find(word, '/') >= 0;
    char *text;

    if ((m->flags & MAP_MATCH_ADDRESS) != 0 && net_prefix_parse(word, &p->prefix) == 0) {
        p->is_network = true;
    } else if ((m->flags & MAP_MATCH_ADDRESS) != 0 && (has_slash || word.p[0] == '[')) {
        str_printf(why,
                   "bad network: \"%.*s\" (bits behind the prefix must be zero, and IPv6 addresses "
                   "stand in brackets)",
                   SPAN_ARG(word));
        return ERR_SYNTAX;
    }
    text = arena_strdup(&m->arena, word);
    if (text == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < word.n; i++)
        text[i] = ascii_lower(text[i]);
    p->text = span_make(text, word.n);
    return 0;
}

static int add_word(struct map_match *m, const struct conf *c, struct span word, bool is_negated,
                    unsigned depth, struct str *why)
{
    struct pattern *p;

    while (word.n > 0 && word.p[0] == '!') {
        is_negated = !is_negated;
        word = span_drop(word, 1);
    }
    if (word.n == 0) {
        str_append_cstr(why, "a pattern is missing behind \"!\"");
        return ERR_SYNTAX;
    }
    if (word.p[0] == '/')
        return add_file(m, c, word, is_negated, depth, why);
    p = array_push(&m->patterns);
    if (p == NULL)
        return -ENOMEM;
    p->is_negated = is_negated;
    return is_table(word) ? map_open(&p->map, c, word, why) : set_text(m, p, word, why);
}

static int add_words(struct map_match *m, const struct conf *c, struct span text, bool is_negated,
                     unsigned depth, struct str *why)
{
    struct span word;
    int error = 0;

    while (error == 0 && map_next_word(&text, &word))
        error = add_word(m, c, word, is_negated, depth, why);
    return error;
}

int map_match_open_text(struct map_match **out, const struct conf *c, struct span text,
                        unsigned flags, struct str *why)
{
    struct map_match *m = NEW(struct map_match);
    int error;

    if (m == NULL)
        return -ENOMEM;
    m->flags = flags;
    error = add_words(m, c, text, false, 0, why);
    if (error < 0) {
        map_match_free(m);
        return error;
    }
    *out = m;
    return 0;
}

int map_match_open(struct map_match **out, const struct conf *c, const char *parameter,
                   unsigned flags, struct str *why)
{
    struct str reason = {0};
    int error = map_match_open_text(out, c, span_cstr(conf_string(c, parameter)), flags, &reason);

    if (error < 0)
        str_printf(why, "%s: %s", parameter,
                   reason.len > 0 ? str_cstr(&reason) : error_text(error));
    str_fini(&reason);
    return error;
}

void map_match_free(struct map_match *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->patterns.len; i++)
        map_free(m->patterns.items[i].map);
    array_free(&m->patterns);
    arena_reset(&m->arena);
    free(m);
}

unsigned map_match_domain_flags(const struct conf *c, const char *parameter)
{
    struct span rest = span_cstr(conf_string(c, "parent_domain_matches_subdomains")), word;

    while (span_token(&rest, ", \t\r\n", &word))
        if (span_ieq(word, span_cstr(parameter)))
            return MAP_MATCH_PARENT;
    return MAP_MATCH_DOTTED;
}

/* --- matching --- */

/* Does a pattern without table match this name? */
static bool name_matches(const struct map_match *m, struct span pattern, struct span name)
{
    struct span tail;

    if (span_ieq(pattern, name))
        return true;
    if (pattern.n >= name.n || pattern.n == 0)
        return false;
    tail = span_drop(name, name.n - pattern.n);
    if ((m->flags & MAP_MATCH_PARENT) != 0)
        return name.p[name.n - pattern.n - 1] == '.' && span_ieq(tail, pattern);
    return (m->flags & MAP_MATCH_DOTTED) != 0 && pattern.p[0] == '.' && span_ieq(tail, pattern);
}

/* The name in a table, and its parent domains where the list is one of domains. */
static int find_name(const struct map_match *m, const struct map *map, struct span name)
{
    struct arena arena = {0};
    struct map_keys *keys;
    struct str value = {0};
    int error;

    if ((m->flags & (MAP_MATCH_PARENT | MAP_MATCH_DOTTED)) == 0) {
        error = map_lookup(map, name, 0, &value);
    } else {
        keys = ARENA_NEW(&arena, struct map_keys);
        error = keys == NULL ? -ENOMEM : 0;
        if (error == 0) {
            keys->arena = &arena;
            error = map_keys_domain(keys, name, (m->flags & MAP_MATCH_PARENT) != 0);
        }
        if (error == 0)
            error = map_lookup_keys(map, keys, &value);
    }
    arena_reset(&arena);
    str_fini(&value);
    return error;
}

static int find_address(const struct map *map, struct span text)
{
    struct str value = {0};
    int error = map_lookup(map, text, 0, &value);

    str_fini(&value);
    return error;
}

/* One pattern: 0, ERR_NOT_FOUND or ERR_TEMPORARY. */
static int apply(const struct map_match *m, const struct pattern *p, struct span name,
                 struct span address_text, const struct net_address *address)
{
    int error = ERR_NOT_FOUND;

    if (p->map != NULL) {
        if (name.n > 0)
            error = find_name(m, p->map, name);
        if (error == ERR_NOT_FOUND && address_text.n > 0)
            error = find_address(p->map, address_text);
        return error;
    }
    if (p->is_network && address != NULL && net_prefix_match(&p->prefix, address))
        return 0;
    if (!p->is_network && name.n > 0 && name_matches(m, p->text, name))
        return 0;
    return ERR_NOT_FOUND;
}

static int find(const struct map_match *m, struct span name, struct span address_text)
{
    struct net_address address;
    bool has_address = address_text.n > 0 && net_address_parse(address_text, &address) == 0;

    for (size_t i = 0; i < m->patterns.len; i++) {
        const struct pattern *p = &m->patterns.items[i];
        int error = apply(m, p, name, address_text, has_address ? &address : NULL);

        if (error == 0)
            return p->is_negated ? ERR_NOT_FOUND : 0;
        if (error != ERR_NOT_FOUND)
            return error;
    }
    return ERR_NOT_FOUND;
}

int map_match_find(const struct map_match *m, struct span text)
{
    return (m->flags & MAP_MATCH_ADDRESS) != 0 ? find(m, SPAN_NONE, text)
                                               : find(m, text, SPAN_NONE);
}

int map_match_find_client(const struct map_match *m, struct span name, struct span address)
{
    return find(m, name, address);
}
