/*
 * main_cf.h: the syntax of main.cf: logical lines, names and values.
 *
 * A line that begins with white space continues the one before it; comment
 * lines and blank lines may stand anywhere, also inside a value. A "#" behind a
 * value is part of it.
 */
#ifndef CONF_MAIN_CF_H
#define CONF_MAIN_CF_H

#include "base/span.h"
#include "base/str.h"

enum { MAIN_CF_SIZE_MAX = 4 << 20 };

struct main_cf_entry {
    struct span name, value; /* the value with its continuation lines joined */
    unsigned line;           /* where the entry begins */
};

/* Next logical line of a file that is held in memory: *text is cut, *line is the
 * number of lines read so far, and *first the line where it begins; the line's
 * octets are put into buf (cleared first). False at the end. For master.cf and
 * table sources too. */
bool logical_line_next(struct span *text, struct str *buf, unsigned *line, unsigned *first);

/* Hand every name = value to each (borrowed during the call; a negative code
 * ends it). ERR_SYNTAX with file, line and reason in *why. */
int main_cf_parse(struct span text, const char *path,
                  int (*each)(void *arg, const struct main_cf_entry *entry, struct str *why),
                  void *arg, struct str *why);

/* Split "name = value"; NULL, or what is wrong. */
const char *main_cf_split(struct span line, struct span *name, struct span *value);

#endif
