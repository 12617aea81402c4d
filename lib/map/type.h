/* type.h: for the files of lib/map only: what a table type is. */
#ifndef MAP_TYPE_H
#define MAP_TYPE_H

#include "map/map.h"

struct map_type {
    const char *name;
    bool is_pattern; /* asked with whole keys only */
    bool is_folded;  /* keys are folded to lower case before the look-up */
    /* name is what stands behind "type:". Sets m->data. */
    int (*open)(struct map *m, const struct conf *c, struct span name, struct str *why);
    /* value is empty. 0, ERR_NOT_FOUND, or another code with the reason in the log. */
    int (*lookup)(const struct map *m, struct span key, struct str *value);
    void (*close)(struct map *m);
};

struct map {
    const struct map_type *type;
    char *spec;
    void *data;
};

extern const struct map_type map_type_hash, map_type_btree, map_type_lmdb;
extern const struct map_type map_type_texthash, map_type_inline, map_type_static, map_type_fail;
extern const struct map_type map_type_cidr, map_type_unix;
extern const struct map_type map_type_unionmap, map_type_pipemap;
extern const struct map_type map_type_proxy, map_type_userdb;

/* Next element of a list: separated by commas and blanks, where { } keeps
 * together what has any. False at the end. */
bool map_next_word(struct span *rest, struct span *word);
/* "{ text }" without its braces and the blanks inside; false when it is not
 * wholly in braces. */
bool map_strip_braces(struct span text, struct span *inside);

/* A function that may block: on a worker inside tasks, else at once. What
 * task_offload returns, or 0. */
TASK_WAITS int map_run_blocking(task_job_fn *fn, void *job);

#endif
