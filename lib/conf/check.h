/* check.h: what a configuration says that this suite does not do, or cannot. */
#ifndef CONF_CHECK_H
#define CONF_CHECK_H

#include <stddef.h>

#include "base/array.h"
#include "base/str.h"

struct conf;
struct master_cf;

enum conf_finding_kind {
    CONF_UNKNOWN,      /* no such parameter, and nothing refers to it as $name */
    CONF_NOT_HONOURED, /* set to other than its default, and has no effect yet */
    CONF_RESTRICTS,    /* the same, and somebody relies on it: the start fails */
    CONF_NO_TLS,       /* a service is to end TLS, and has no certificate */
};

struct conf_finding {
    enum conf_finding_kind kind;
    const char *name; /* as set in main.cf, borrowed from conf; NULL: in master.cf */
    struct str text;  /* with file and line */
};

struct conf_findings {
    ARRAY(struct conf_finding) list;
};

/* Look at main.cf and at all overrides of master.cf (may be NULL: then overrides
 * are not checked and names of services are not known). 0 or -ENOMEM. */
int conf_check(const struct conf *c, const struct master_cf *m, struct conf_findings *findings);
void conf_findings_fini(struct conf_findings *findings);
/* How many there are of that kind. */
size_t conf_findings_count(const struct conf_findings *findings, enum conf_finding_kind kind);

#endif
