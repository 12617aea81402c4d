/*
 * restrictions.h: the words of smtpd_*_restrictions that smtpd implements, and the
 * check that a configuration uses no others. An ignored restriction would be an
 * open relay, so "waypost check" and the start stop at it.
 */
#ifndef CONF_RESTRICTIONS_H
#define CONF_RESTRICTIONS_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"
#include "conf/conf.h"

/* What follows a restriction's name. */
enum restrict_argument {
    RESTRICT_NO_ARGUMENT,
    RESTRICT_TABLE,  /* type:name */
    RESTRICT_NUMBER, /* seconds */
};

/* ASCII case is ignored; old names are known as well. */
bool restriction_is_known(struct span name, enum restrict_argument *argument);

/* All of them, in no order. */
size_t restriction_count(void);
const char *restriction_name(size_t index);

/* Take the next word of a list off *rest; braces keep together what holds blanks or
 * commas. */
bool restriction_next_word(struct span *rest, struct span *word);

/* Every list parameter and class of conf, and that mail relay control is there at
 * all. ERR_NOT_SUPPORTED with the reason in *why. */
int restrictions_check_all(const struct conf *conf, struct str *why);

#endif
