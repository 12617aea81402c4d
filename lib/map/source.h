/*
 * source.h: the text that tables are made from: "key value" lines (postmap(1),
 * texthash:) and "name: value" lines (aliases(5), postalias(1)).
 */
#ifndef MAP_SOURCE_H
#define MAP_SOURCE_H

#include "base/span.h"
#include "base/str.h"

enum map_source_kind {
    MAP_SOURCE_TABLE, /* key whitespace value */
    MAP_SOURCE_ALIAS, /* name: value, where name may be quoted */
};

struct map_source {
    enum map_source_kind kind;
    const char *path; /* for messages; borrowed */
    struct span rest;
    struct str line, key;
    unsigned read, bad; /* lines so far; entries that were skipped */
};

struct map_source_entry {
    struct span key, value; /* borrowed until the next call */
    unsigned line;
};

/* text is borrowed. */
void map_source_init(struct map_source *s, enum map_source_kind kind, const char *path,
                     struct span text);
/* Next entry; false at the end. Lines that are no entry are warned about in the
 * log, counted and skipped, as Postfix does. */
bool map_source_next(struct map_source *s, struct map_source_entry *entry);
void map_source_fini(struct map_source *s);

#endif
