/*
 * expand.h: $name, ${name}, $(name), ${name?text}, ${name:text},
 * ${name?{text}:{text}} and ${{text} == {text} ? {text} : {text}} in values, as
 * Postfix reads them. Undefined names expand to nothing; "$$" is a dollar sign.
 */
#ifndef CONF_EXPAND_H
#define CONF_EXPAND_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"

struct expand_source {
    /* The value of name into *value, borrowed until expansion ends; false when
     * it is not defined. */
    bool (*lookup)(void *arg, struct span name, struct span *value);
    void *arg;
    /* Values are taken as they are: no $name in them is expanded. For values
     * that come from mail (forward_path, command arguments). */
    bool is_flat;
};

enum {
    EXPAND_DEPTH_MAX = 100,   /* nested references */
    EXPAND_STEPS_MAX = 20000, /* references altogether */
    EXPAND_LENGTH_MAX = 1 << 20,
};

/* Append text with its references replaced. ERR_SYNTAX (malformed reference),
 * ERR_LIMIT (a parameter that refers to itself, or too much work), ERR_TOO_LONG
 * or -ENOMEM, with the reason appended to *why. Does not wait. */
int expand_text(struct str *out, struct span text, const struct expand_source *source,
                struct str *why);

#endif
