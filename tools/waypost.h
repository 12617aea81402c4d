/*
 * waypost.h: the administrator's command and its subcommands.
 *
 * A subcommand is a file cmd_NAME.c with one function of type waypost_run_fn and
 * one row in the table in waypost.c. It prints its answer to standard output,
 * complaints through log.h, and returns the exit status.
 */
#ifndef TOOLS_WAYPOST_H
#define TOOLS_WAYPOST_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"
#include "conf/conf.h"

struct waypost {
    const char *name;             /* "waypost" or "postfix" */
    const char *config_directory; /* of -c, MAIL_CONFIG or the default */
    unsigned verbosity;
};

/* argv[0] is the subcommand's name. */
typedef int waypost_run_fn(const struct waypost *w, int argc, char **argv);

waypost_run_fn cmd_mailbox;
waypost_run_fn cmd_start, cmd_start_fg, cmd_stop, cmd_abort, cmd_reload, cmd_status, cmd_check,
    cmd_user, cmd_flush;

/* The whole program. */
int waypost_main(int argc, char **argv, const char *name);

/* main.cf, or an end with a message. Free with conf_free. */
struct conf *waypost_load(const struct waypost *w);
/* Check main.cf and master.cf and print what is wrong. The number of faults that
 * forbid a start. */
int waypost_check(const struct waypost *w, const struct conf *conf);

/* Ask master (service/control.h): request is "status", "reload" or "stop"; name
 * and value an attribute or NULL. *report gets the report, *why a refusal or
 * what went wrong: ERR_NOT_FOUND when no master answers, ERR_DENIED. */
int waypost_ask(const struct conf *conf, const char *request, const char *name, const char *value,
                struct str *report, struct str *why);
/* The pid of a running master by its lock, 0 when there is none; -errno. */
int waypost_master_pid(const struct conf *conf);
/* The same of the process that "waypost start" leaves behind to start master again,
 * and the file in pid/ that it locks. */
int waypost_supervisor_pid(const struct conf *conf);
#define WAYPOST_SUPERVISOR_FILE "supervisor.pid"

#endif
