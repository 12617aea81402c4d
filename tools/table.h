/* table.h: what postmap(1), postalias(1) and newaliases(1) share. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stdbool.h>

#include "conf/conf.h"
#include "map/lmdb_file.h"
#include "map/source.h"

struct table_options {
    enum map_source_kind kind;
    bool is_incremental; /* -i: from standard input, into what is there */
    bool keeps_case;     /* -f */
    bool without_nul;    /* -n */
    bool keeps_root;     /* -o: also when the source is somebody else's */
    bool default_mode;   /* -p: 0644 instead of the source's permissions */
    bool replaces;       /* -r: duplicates replace */
    bool is_quiet;       /* -w: duplicates are no news */
    const struct conf *conf;
};

/* Each takes "type:name" or "name" (default_database_type), complains in the log
 * and returns an exit status. */
int table_create(const struct table_options *o, const char *spec);
int table_query(const struct table_options *o, const char *spec, const char *key);
int table_delete(const struct table_options *o, const char *spec, const char *key);
int table_dump(const struct table_options *o, const char *spec);
/* Keys from standard input: found ones are printed as "key<TAB>value". 0 when
 * any was found (or deleted). */
int table_query_all(const struct table_options *o, char **specs, int count);
int table_delete_all(const struct table_options *o, char **specs, int count);

/* The whole of postmap and postalias. */
int table_main(int argc, char **argv, enum map_source_kind kind);

#endif
