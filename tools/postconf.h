/* postconf.h: the parts of postconf(1). */
#ifndef TOOLS_POSTCONF_H
#define TOOLS_POSTCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "conf/master_cf.h"

enum postconf_flags {
    POSTCONF_DEFAULTS = 1 << 0,  /* -d */
    POSTCONF_SET_ONLY = 1 << 1,  /* -n */
    POSTCONF_HIDE_NAME = 1 << 2, /* -h */
    POSTCONF_NAME_ONLY = 1 << 3, /* -H */
    POSTCONF_EXPAND = 1 << 4,    /* -x */
    POSTCONF_FOLD = 1 << 5,      /* -f */
};

/* What is shown: m may be NULL (no master.cf). */
struct postconf {
    const struct conf *conf;
    const struct master_cf *master;
    unsigned flags;
};

/* main.cf parameters, all or those named. 0 or 1 (exit status). */
int postconf_show(const struct postconf *p, char **names, size_t count);
/* -M [service[/type]]... */
int postconf_show_services(const struct postconf *p, char **names, size_t count);
/* -P [service[/type[/parameter]]]... */
int postconf_show_overrides(const struct postconf *p, char **names, size_t count);
/* -F [service[/type[/field]]]... */
int postconf_show_fields(const struct postconf *p, char **names, size_t count);
/* -m */
void postconf_show_types(void);

enum postconf_edit { POSTCONF_SET, POSTCONF_COMMENT, POSTCONF_REMOVE };
/* -e name=value..., -# name..., -X name...: edit DIR/main.cf, keeping comments,
 * owner and mode; the new file replaces the old one at once. 0 or 1. */
int postconf_edit(const char *directory, enum postconf_edit how, char **arguments, size_t count);

#endif
