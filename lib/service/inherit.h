/*
 * inherit.h: what master gives a service: a command line and descriptors at
 * fixed numbers. Both ends are here.
 *
 *     PROGRAM -n ENTRY -t TYPE [-s SOCKET]... -c CONFIG_DIRECTORY [-l LIMIT] [-v]
 *             [-r "SECONDS ADDRESS"]...
 *             [-o NAME=VALUE]... [ARGUMENT...]
 *
 * Descriptor 3 is the control socket, 4 the statistics page, 5 main.cf as master
 * read it (so that a process belongs to its generation, whatever was edited
 * meanwhile), 6 and up the listeners, one for each -s, which names it (the entry, or a further
 * socket of the program such as qmgr's "showq"). Stand-alone, for debugging: -L ADDRESS:PORT or -L
 * unix:PATH instead of -s; then there is no control socket and no page.
 *
 * -T is a trial: none of the descriptors, nothing is served. The process loads what it
 * needs, and exits with 0, or with 1 and the reason on standard output. Before each file
 * that it opens it says so there, in a line of INHERIT_TRIAL_FILE and the path, so that who
 * waits in vain for the end knows where it hangs.
 */
#ifndef SERVICE_INHERIT_H
#define SERVICE_INHERIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define INHERIT_TRIAL_FILE '>'

enum {
    INHERIT_CONTROL_FD = 3,
    INHERIT_STATS_FD = 4,
    INHERIT_CONFIG_FD = 5,
    INHERIT_LISTENER_FD = 6,
    INHERIT_LISTENERS_MAX = 64,
    INHERIT_OVERRIDES_MAX = 256,
    INHERIT_REFUSED_MAX = 16,
};

struct inherit {
    const char *entry;                            /* -n */
    const char *type;                             /* -t: "inet", "unix" or "pass" */
    const char *config_directory;                 /* -c */
    const char *listen;                           /* -L, or NULL */
    const char *listeners[INHERIT_LISTENERS_MAX]; /* -s */
    size_t listener_count;
    uint32_t limit;                               /* -l: clients at first; UINT32_MAX: not given */
    uint32_t verbosity;                           /* -v, counted */
    bool is_trial;                                /* -T */
    const char *overrides[INHERIT_OVERRIDES_MAX]; /* -o */
    size_t override_count;
    const char *refused[INHERIT_REFUSED_MAX]; /* -r: clients that took processes down */
    size_t refused_count;
    char *const *arguments; /* the rest, NULL-terminated */
};

/* Parse a command line; *out borrows from argv. ERR_SYNTAX with a message. */
int inherit_parse(struct inherit *out, int argc, char **argv, struct str *why);

#endif
