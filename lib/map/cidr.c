/*
 * cidr.c: the type cidr: networks and values, first match wins (cidr_table(5)):
 *
 *     network/bits value      address value      !network/bits value
 *     if network/bits ... endif      if !network/bits ... endif
 */
#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/main_cf.h"
#include "map/type.h"
#include "net/address.h"

enum { NESTING_MAX = 32 };

struct rule {
    struct net_prefix prefix;
    bool is_negated, is_if;
    size_t end; /* is_if: the rule behind its endif */
    struct span value;
};

struct cidr {
    struct arena arena;
    ARRAY(struct rule) rules;
    size_t open_ifs[NESTING_MAX], open_count;
};

/* "!network", "network" or "address" into r. */
static const char *parse_pattern(struct rule *r, struct span text)
{
    text = span_trim(text);
    while (text.n > 0 && text.p[0] == '!') {
        r->is_negated = !r->is_negated;
        text = span_trim(span_drop(text, 1));
    }
    return net_prefix_parse(text, &r->prefix) < 0 ? "bad network" : NULL;
}

static const char *add_if(struct cidr *t, struct rule *r, struct span rest)
{
    if (t->open_count == NESTING_MAX)
        return "too many nested ifs";
    r->is_if = true;
    return parse_pattern(r, rest);
}

static const char *end_if(struct cidr *t)
{
    if (t->open_count == 0)
        return "endif without if";
    t->rules.items[t->open_ifs[--t->open_count]].end = t->rules.len;
    return NULL;
}

/* NULL, or why the line is ignored. */
static const char *parse_rule(struct cidr *t, struct span line)
{
    struct rule r = {0}, *slot;
    struct span rest = line, word;
    const char *problem;

    span_token(&rest, " \t\r\n", &word);
    if (span_ieq(word, SPAN_LIT("endif")))
        return end_if(t);
    if (span_ieq(word, SPAN_LIT("if"))) {
        problem = add_if(t, &r, rest);
    } else {
        /* "! network" may have a blank. */
        while (word.n == 1 && word.p[0] == '!' && span_token(&rest, " \t\r\n", &word))
            r.is_negated = !r.is_negated;
        problem = parse_pattern(&r, word);
        if (problem == NULL && span_trim(rest).n == 0)
            problem = "no value";
        if (problem == NULL && arena_copy(&t->arena, span_trim(rest), &r.value) < 0)
            problem = "no memory";
    }
    if (problem != NULL)
        return problem;
    if (r.is_if)
        t->open_ifs[t->open_count++] = t->rules.len;
    slot = array_push(&t->rules);
    if (slot == NULL)
        return "no memory";
    *slot = r;
    return NULL;
}

static void parse_file(struct cidr *t, const char *path, struct span text)
{
    struct str buf = {0};
    unsigned line = 0, first = 0;

    while (logical_line_next(&text, &buf, &line, &first)) {
        const char *problem = parse_rule(t, str_span(&buf));

        if (problem != NULL)
            log_warn("cidr map %s, line %u: %s: \"%.*s\": skipping this rule", path, first, problem,
                     SPAN_ARG(span_take(str_span(&buf), 60)));
    }
    while (t->open_count > 0) {
        log_warn("cidr map %s: an if has no endif", path);
        (void)end_if(t);
    }
    str_fini(&buf);
}

/* cidr:{ {rule}, ... }: the rules stand in the name itself. */
static int parse_inline(struct cidr *t, struct map *m, struct span inside, struct str *why)
{
    struct span word, rule;

    while (map_next_word(&inside, &word)) {
        const char *problem = map_strip_braces(word, &rule) ? parse_rule(t, rule)
                                                            : "need cidr:{{network value}, ...}";

        if (problem != NULL) {
            str_printf(why, "table %s: %s", m->spec, problem);
            return ERR_SYNTAX;
        }
    }
    while (t->open_count > 0)
        (void)end_if(t);
    return 0;
}

static int cidr_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    struct cidr *t = NEW(struct cidr);
    struct str text = {0};
    struct span inside;
    char *path;
    int error;

    m->data = t;
    if (t == NULL)
        return -ENOMEM;
    if (map_strip_braces(name, &inside))
        return parse_inline(t, m, inside, why);
    path = mem_strdup(name);
    if (path == NULL)
        return -ENOMEM;
    error = file_read(path, &text, MAP_FILE_MAX);
    if (error < 0)
        str_printf(why, "table %s: %s: %s", m->spec, path, error_text(error));
    else
        parse_file(t, path, str_span(&text));
    free(path);
    str_fini(&text);
    return error;
}

static int cidr_lookup(const struct map *m, struct span key, struct str *value)
{
    const struct cidr *t = m->data;
    struct net_address address;

    if (net_address_parse(key, &address) < 0)
        return ERR_NOT_FOUND;
    for (size_t i = 0; i < t->rules.len;) {
        const struct rule *r = &t->rules.items[i];
        bool is_match = net_prefix_match(&r->prefix, &address) != r->is_negated;

        if (is_match && !r->is_if)
            return str_append(value, r->value);
        i = r->is_if && !is_match ? r->end : i + 1;
    }
    return ERR_NOT_FOUND;
}

static void cidr_close(struct map *m)
{
    struct cidr *t = m->data;

    if (t == NULL)
        return;
    array_free(&t->rules);
    arena_reset(&t->arena);
    free(t);
}

const struct map_type map_type_cidr = {"cidr", true, false, cidr_open, cidr_lookup, cidr_close};
