/* files.h: the files that a configuration refers to and that processes read once:
 * tables, lists, certificates. Whoever watches them knows when a reload is due. */
#ifndef CONF_FILES_H
#define CONF_FILES_H

#include <stdbool.h>

#include "base/array.h"

struct conf;
struct master_cf;

struct conf_file {
    char *path;
    /* A database that processes hold open: what is written into it they see, and only
     * another file in its place needs a reload. */
    bool is_database;
    bool is_secret; /* holds a private key: not to be read by whoever watches */
};

struct conf_files {
    ARRAY(struct conf_file) list; /* each path once */
};

/* Of main.cf (defaults too) and of the overrides in master.cf (may be NULL). Names
 * without a "/" at the beginning are no files. 0 or -ENOMEM. */
int conf_files_find(const struct conf *c, const struct master_cf *m, struct conf_files *out);
void conf_files_fini(struct conf_files *files);

#endif
