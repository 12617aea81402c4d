/* internal.h: for conf.c and access.c only: what a configuration is made of. */
#ifndef CONF_INTERNAL_H
#define CONF_INTERNAL_H

#include "base/arena.h"
#include "base/array.h"
#include "base/hash.h"
#include "conf/conf.h"
#include "conf/tables.h"

struct setting {
    struct hash_node node;
    struct conf_setting set;
    struct span name;
    const char *expanded; /* user-defined and pattern names */
    const char *source;   /* a value that was read from a file the setting names */
};

/* The value of a row of the table. */
struct value {
    const struct setting *setting; /* NULL: the default */
    const char *computed;          /* default found out at run time */
    const char *text;              /* expanded */
    int64_t number;
};

struct conf {
    struct arena arena;
    const char *directory, *path;
    bool is_lenient; /* bad values are warned about and kept */
    struct hash by_name;
    ARRAY(struct setting *) settings;
    struct value *values;
};

/* NULL: not set. */
struct setting *conf_find_setting(const struct conf *c, struct span name);
struct value *conf_value_of(const struct conf *c, const struct param *p);

#endif
