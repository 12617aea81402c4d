/*
 * param.h: the one table of all main.cf parameters. postconf, the checks at
 * load and main.cf(5) are made from it.
 *
 * Rows stand in params_TOPIC.c. To add a parameter of Waypost's own, append one
 * row to params_waypost.c:
 *
 *     {"imap_idle_timeout", PARAM_TIME, "29m", 1, 0, "imapd", PARAM_HONOURED,
 *      "Time after which a client in IDLE that sends nothing is logged out."},
 *
 * The default is text as main.cf would have it and may hold $other. A time
 * without a unit is in the unit of the default's last letter, or seconds.
 * A row that becomes true changes its status to PARAM_HONOURED in the commit
 * that makes it true.
 */
#ifndef CONF_PARAM_H
#define CONF_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct conf;
struct str;

enum param_type {
    PARAM_STRING, /* expanded at load; min and max are lengths (max 0: none) */
    PARAM_RAW,    /* a string that is not expanded at load: its reader expands it */
    PARAM_BOOL,   /* yes or no */
    PARAM_INT,    /* decimal; max 0: INT32_MAX, -1: INT64_MAX (sizes) */
    PARAM_TIME,   /* integer and unit s m h d w; bounds in seconds */
    PARAM_ENUM,   /* one word of .choices; empty allowed when min is 0 */
};

enum param_status {
    PARAM_HONOURED,
    PARAM_IGNORED,      /* no effect here, and none is needed: .note says why */
    PARAM_NOT_HONOURED, /* a feature that is missing */
    PARAM_RESTRICTS,    /* the same, and it keeps somebody or something out: when set
                         * to other than its default, the start fails */
};

struct param {
    const char *name;
    enum param_type type;
    const char *fallback; /* the default, as text */
    int64_t min, max;
    const char *programs; /* blank-separated; "all" */
    enum param_status status;
    const char *help;    /* one sentence */
    const char *choices; /* PARAM_ENUM: blank-separated words */
    const char *note;    /* why ignored, or how it departs from Postfix */
    /* A default that is found out at run time (host name, networks); NULL: none.
     * Then fallback is "". Defined in host.h. */
    int (*compute)(struct conf *c, struct str *out, struct str *why);
};

/* All rows, in no order. */
size_t param_count(void);
const struct param *param_at(size_t index);
/* NULL when there is no such row. Patterns are not looked at. */
const struct param *param_find(struct span name);
/* Position of a row in param_at's order. */
size_t param_index(const struct param *p);

/* Rows for <transport>_NAME and <service>_NAME: .name begins with "_". */
const struct param *param_pattern_at(size_t index);
size_t param_pattern_count(void);
/* The pattern that name ends in, and what stands before it; NULL: none. */
const struct param *param_pattern_find(struct span name, struct span *prefix);

/* "yes"/"no", an integer, or a time in milliseconds into *number; bounds
 * checked. 0 or ERR_SYNTAX with the reason in *why (no name, no file). */
int param_parse(const struct param *p, struct span text, int64_t *number, struct str *why);
/* The unit letter of a time without one. */
char param_time_unit(const struct param *p);
const char *param_type_name(enum param_type type);

#endif
