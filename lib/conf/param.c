/* param.c: finding rows, and reading values by a row's type and bounds. */
#include "conf/param.h"

#include <pthread.h>

#include "base/error.h"
#include "base/log.h"
#include "conf/tables.h"

static const struct param_table *const tables[] = {
    &params_general, &params_smtpd,      &params_address,    &params_cleanup,
    &params_queue,   &params_smtp,       &params_lmtp,       &params_local,
    &params_tls,     &params_tls_client, &params_postscreen, &params_waypost,
};

/* A closed hash from name to position + 1, filled once. */
enum { SLOTS = 4096 };
static uint16_t slots[SLOTS];
static pthread_once_t slots_once = PTHREAD_ONCE_INIT;

size_t param_count(void)
{
    size_t n = 0;

    for (size_t i = 0; i < COUNT_OF(tables); i++)
        n += tables[i]->count;
    return n;
}

const struct param *param_at(size_t index)
{
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        if (index < tables[i]->count)
            return &tables[i]->rows[index];
        index -= tables[i]->count;
    }
    panic("param_at: no such row");
}

static void fill_slots(void)
{
    size_t count = param_count();

    ENSURE(count < SLOTS / 2);
    for (size_t i = 0; i < count; i++) {
        size_t at = span_hash(span_cstr(param_at(i)->name)) % SLOTS;

        while (slots[at] != 0)
            at = (at + 1) % SLOTS;
        slots[at] = (uint16_t)(i + 1);
    }
}

const struct param *param_find(struct span name)
{
    pthread_once(&slots_once, fill_slots);
    for (size_t at = span_hash(name) % SLOTS; slots[at] != 0; at = (at + 1) % SLOTS) {
        const struct param *p = param_at(slots[at] - 1u);

        if (span_eq(name, span_cstr(p->name)))
            return p;
    }
    return NULL;
}

size_t param_index(const struct param *p)
{
    size_t before = 0;

    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        if (p >= tables[i]->rows && p < tables[i]->rows + tables[i]->count)
            return before + (size_t)(p - tables[i]->rows);
        before += tables[i]->count;
    }
    panic("param_index: %s is no row of the table", p->name);
}

const struct param *param_pattern_at(size_t index)
{
    ENSURE(index < params_patterns.count);
    return &params_patterns.rows[index];
}

size_t param_pattern_count(void)
{
    return params_patterns.count;
}

const struct param *param_pattern_find(struct span name, struct span *prefix)
{
    const struct param *best = NULL;
    size_t best_length = 0;

    for (size_t i = 0; i < params_patterns.count; i++) {
        struct span suffix = span_cstr(params_patterns.rows[i].name);

        if (name.n > suffix.n && suffix.n > best_length &&
            span_eq(span_drop(name, name.n - suffix.n), suffix)) {
            best = &params_patterns.rows[i];
            best_length = suffix.n;
        }
    }
    if (best != NULL)
        *prefix = span_take(name, name.n - best_length);
    return best;
}

char param_time_unit(const struct param *p)
{
    size_t n = strlen(p->fallback);
    char last = n > 0 ? p->fallback[n - 1] : 's';

    return strchr("smhdw", last) != NULL && n > 1 && ascii_is_digit(p->fallback[n - 2]) ? last
                                                                                        : 's';
}

static int64_t unit_seconds(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 604800;
    default:
        return 0;
    }
}

/* Digits, then one unit letter; what follows it is ignored, as Postfix does: a
 * published configuration has "1800s   # default: 180s". */
static int parse_time(const struct param *p, struct span text, int64_t *seconds)
{
    size_t digits = 0;
    uint64_t value;
    int64_t unit;

    while (digits < text.n && ascii_is_digit(text.p[digits]))
        digits++;
    if (span_to_u64(span_take(text, digits), &value) < 0)
        return ERR_SYNTAX;
    unit = unit_seconds(digits < text.n ? text.p[digits] : param_time_unit(p));
    if (unit == 0 || value > (uint64_t)(INT32_MAX / unit))
        return ERR_SYNTAX;
    *seconds = (int64_t)value * unit;
    return 0;
}

static int bad(struct str *why, const char *what, struct span text)
{
    str_printf(why, "bad %s: \"%.*s\"", what, SPAN_ARG(text));
    if (span_find(text, '#') >= 0)
        str_append_cstr(why, " (a comment must stand on a line of its own)");
    return ERR_SYNTAX;
}

static int check_bounds(const struct param *p, int64_t value, const char *unit, struct str *why)
{
    int64_t max = p->max;

    if (value < p->min) {
        str_printf(why, "%lld%s is below the minimum of %lld%s", (long long)value, unit,
                   (long long)p->min, unit);
        return ERR_SYNTAX;
    }
    /* Programs keep most numbers in 32 bits: what they cannot keep is no limit. */
    if (max == 0)
        max = INT32_MAX;
    if (max > 0 && value > max) {
        str_printf(why, "%lld%s is above the maximum of %lld%s", (long long)value, unit,
                   (long long)max, unit);
        return ERR_SYNTAX;
    }
    return 0;
}

static int parse_choice(const struct param *p, struct span text, struct str *why)
{
    struct span rest = span_cstr(p->choices), word;

    if (text.n == 0 && p->min == 0)
        return 0;
    while (span_token(&rest, " ", &word))
        if (span_ieq(word, text))
            return 0;
    str_printf(why, "bad value: \"%.*s\" (one of: %s)", SPAN_ARG(text), p->choices);
    return ERR_SYNTAX;
}

int param_parse(const struct param *p, struct span text, int64_t *number, struct str *why)
{
    int64_t value;

    *number = 0;
    switch (p->type) {
    case PARAM_BOOL:
        if (span_ieq(text, SPAN_LIT("yes")))
            *number = 1;
        else if (!span_ieq(text, SPAN_LIT("no")))
            return bad(why, "boolean, neither yes nor no", text);
        return 0;
    case PARAM_INT:
        if (span_to_i64(text, &value) < 0)
            return bad(why, "number", text);
        *number = value;
        return check_bounds(p, value, "", why);
    case PARAM_TIME:
        if (parse_time(p, text, &value) < 0)
            return bad(why, "time value or unit", text);
        *number = value * 1000;
        return check_bounds(p, value, "s", why);
    case PARAM_ENUM:
        return parse_choice(p, text, why);
    case PARAM_STRING:
    case PARAM_RAW:
        if (text.n < (size_t)p->min) {
            str_append_cstr(why, p->min == 1 ? "must not be empty" : "too short");
            return ERR_SYNTAX;
        }
        if (p->max != 0 && text.n > (size_t)p->max) {
            str_append_cstr(why, "too long");
            return ERR_SYNTAX;
        }
        return 0;
    }
    return ERR_SYNTAX;
}

const char *param_type_name(enum param_type type)
{
    static const char *const names[] = {
        [PARAM_STRING] = "string", [PARAM_RAW] = "unexpanded string",
        [PARAM_BOOL] = "yes/no",   [PARAM_INT] = "number",
        [PARAM_TIME] = "time",     [PARAM_ENUM] = "word",
    };

    return names[type];
}
