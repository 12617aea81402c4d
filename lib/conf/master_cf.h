/*
 * master_cf.h: the list of services, in Postfix's syntax.
 *
 *     service type private unpriv chroot wakeup maxproc command + args
 *
 * Continuation lines and comments as in main.cf. Overrides: "-o name=value" (no
 * blanks in it), "-oname=value" and "-o { name = value }".
 */
#ifndef CONF_MASTER_CF_H
#define CONF_MASTER_CF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "base/str.h"

struct conf;
struct master_cf;

enum service_type {
    SERVICE_TYPE_INET,
    SERVICE_TYPE_UNIX,
    SERVICE_TYPE_UNIX_DGRAM,
    SERVICE_TYPE_FIFO, /* as unix: for files of old */
    SERVICE_TYPE_PASS,
};

enum { MASTER_CF_LIMIT_DEFAULT = -1 }; /* "-" in column maxproc */

struct master_entry {
    const char *name; /* "smtp", "127.0.0.1:10025", "relay" */
    enum service_type type;
    bool is_private, is_unprivileged, is_chrooted;
    unsigned wakeup_seconds;      /* 0: never */
    bool wakeup_if_used;          /* "60?": only once the service was used */
    int limit;                    /* maxproc; 0: no limit; MASTER_CF_LIMIT_DEFAULT */
    const char *command;          /* program name, without directory */
    const char *const *overrides; /* "name=value", for conf_overlay */
    size_t override_count;
    const char *const *arguments; /* what is behind the options, NULL-terminated */
    size_t argument_count;
    unsigned verbose; /* number of -v */
    bool is_debugged; /* -D */
    unsigned line;
    /* The program that does its work in this suite ("smtpd"), when this is a
     * service of Postfix that has no process of its own here; else NULL. Master
     * does not start such entries. */
    const char *taken_over_by;
    /* As the file has it, for postconf -M: the columns ("-" and all) with the
     * command as the last, the overrides, and all that is behind the command. */
    const char *columns[8];
    const char *const *written_overrides;
    size_t written_count;
    const char *command_line;
};

/* Read DIR/master.cf. c gives the compatibility level (a "-" in column chroot is
 * "y" below level 1). Entries with the same name and type: the last one wins,
 * with a warning. ERR_SYNTAX with file, line and reason in *why. */
int master_cf_load(struct master_cf **out, const struct conf *c, struct str *why);
int master_cf_load_text(struct master_cf **out, const struct conf *c, const char *path,
                        struct span text, struct str *why);
void master_cf_free(struct master_cf *m);

/* The entries in the order of the file; borrowed from m. */
size_t master_cf_count(const struct master_cf *m);
const struct master_entry *master_cf_at(const struct master_cf *m, size_t index);
/* NULL when there is none. */
const struct master_entry *master_cf_find(const struct master_cf *m, const char *name,
                                          enum service_type type);
const char *service_type_name(enum service_type type);

#endif
