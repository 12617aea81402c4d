/* access.c: values by name, out of a configuration that was loaded. */
#include "base/log.h"
#include "conf/expand.h"
#include "conf/internal.h"

static const struct value *get(const struct conf *c, const char *name, unsigned types)
{
    const struct param *p = param_find(span_cstr(name));

    if (p == NULL)
        panic("parameter %s is not in the table", name);
    if ((types & 1u << p->type) == 0)
        panic("parameter %s is asked for as another type than its own", name);
    return conf_value_of(c, p);
}

const char *conf_string(const struct conf *c, const char *name)
{
    return get(c, name, 1u << PARAM_STRING | 1u << PARAM_RAW | 1u << PARAM_ENUM)->text;
}

bool conf_bool(const struct conf *c, const char *name)
{
    return get(c, name, 1u << PARAM_BOOL)->number != 0;
}

int64_t conf_int(const struct conf *c, const char *name)
{
    return get(c, name, 1u << PARAM_INT)->number;
}

int64_t conf_ms(const struct conf *c, const char *name)
{
    return get(c, name, 1u << PARAM_TIME)->number;
}

int64_t conf_seconds(const struct conf *c, const char *name)
{
    return conf_ms(c, name) / 1000;
}

/* The expanded text of <transport>_SUFFIX, and the row that bounds it. */
static const char *transport_text(const struct conf *c, const char *transport, const char *suffix,
                                  const struct param **row, struct str *scratch)
{
    struct span prefix, name;
    const struct setting *s;
    const struct param *p;

    str_printf(scratch, "%s_%s", transport, suffix);
    name = str_span(scratch);
    p = param_find(name);
    if (p != NULL) {
        *row = p;
        return conf_value_of(c, p)->text;
    }
    *row = p = param_pattern_find(name, &prefix);
    if (p == NULL)
        panic("parameter pattern _%s is not in the table", suffix);
    s = conf_find_setting(c, name);
    if (s != NULL)
        return s->expanded;
    /* Patterns' defaults are literals or "$other". */
    return p->fallback[0] == '$' ? conf_value_of(c, param_find(span_cstr(p->fallback + 1)))->text
                                 : p->fallback;
}

static int64_t transport_number(const struct conf *c, const char *transport, const char *suffix,
                                enum param_type type)
{
    struct str scratch = {0}, why = {0};
    const struct param *row;
    const char *text = transport_text(c, transport, suffix, &row, &scratch);
    int64_t number = 0;

    if (row->type != type)
        panic("parameter pattern _%s is asked for as another type than its own", suffix);
    /* A default that is out of the pattern's bounds was legal for its own row. */
    (void)param_parse(row, span_cstr(text), &number, &why);
    str_fini(&scratch);
    str_fini(&why);
    return number;
}

int64_t conf_transport_int(const struct conf *c, const char *transport, const char *suffix)
{
    return transport_number(c, transport, suffix, PARAM_INT);
}

int64_t conf_transport_ms(const struct conf *c, const char *transport, const char *suffix)
{
    return transport_number(c, transport, suffix, PARAM_TIME);
}

const char *conf_transport_string(const struct conf *c, const char *transport, const char *suffix)
{
    struct str scratch = {0};
    const struct param *row;
    const char *text = transport_text(c, transport, suffix, &row, &scratch);

    str_fini(&scratch);
    return text;
}

const char *conf_lookup(const struct conf *c, struct span name)
{
    const struct param *p = param_find(name);
    const struct setting *s;

    if (p != NULL)
        return conf_value_of(c, p)->text;
    s = conf_find_setting(c, name);
    return s != NULL ? s->expanded : NULL;
}

const char *conf_raw(const struct conf *c, struct span name)
{
    const struct setting *s = conf_find_setting(c, name);
    const struct param *p = param_find(name);
    struct span prefix;

    if (s != NULL)
        return s->set.value;
    if (p != NULL)
        return conf_default(c, p);
    p = param_pattern_find(name, &prefix);
    return p != NULL ? p->fallback : NULL;
}

bool conf_is_set(const struct conf *c, const char *name)
{
    return conf_find_setting(c, span_cstr(name)) != NULL;
}

const char *conf_directory(const struct conf *c)
{
    return c->directory;
}

size_t conf_setting_count(const struct conf *c)
{
    return c->settings.len;
}

const struct conf_setting *conf_setting_at(const struct conf *c, size_t index)
{
    ENSURE(index < c->settings.len);
    return &c->settings.items[index]->set;
}
