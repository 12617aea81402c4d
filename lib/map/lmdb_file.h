/* lmdb_file.h: one table file NAME.lmdb, for look-ups and for the tools that
 * write it. Blocks on the file's lock; never on the loop thread. */
#ifndef MAP_LMDB_FILE_H
#define MAP_LMDB_FILE_H

#include <sys/types.h>

#include "base/span.h"
#include "base/str.h"

struct map_lmdb;

enum map_lmdb_mode {
    MAP_LMDB_READ,
    MAP_LMDB_UPDATE, /* change single entries */
    MAP_LMDB_CREATE, /* everything anew, in one transaction */
};

/* path without ".lmdb". size_bytes is the first map size when writing (0: 16
 * MiB); it grows by itself. Writers hold the exclusive lock until close. */
int map_lmdb_open(struct map_lmdb **out, const char *path, enum map_lmdb_mode mode,
                  size_t size_bytes, struct str *why);
/* Without commit, what was written is dropped. */
void map_lmdb_close(struct map_lmdb *f);
int map_lmdb_fd(const struct map_lmdb *f);

/* The value of a key that was written with or without a final NUL. ERR_NOT_FOUND. */
int map_lmdb_get(struct map_lmdb *f, struct span key, struct str *value, struct str *why);
/* What to do with a key that is there already. */
enum map_lmdb_duplicate { MAP_LMDB_KEEP, MAP_LMDB_REPLACE };
/* with_nul: key and value with a final NUL, Postfix's way. ERR_EXISTS (kept). */
int map_lmdb_put(struct map_lmdb *f, struct span key, struct span value, bool with_nul,
                 enum map_lmdb_duplicate duplicate, struct str *why);
/* ERR_NOT_FOUND. */
int map_lmdb_delete(struct map_lmdb *f, struct span key, struct str *why);
/* Make the changes durable, all or none. */
int map_lmdb_commit(struct map_lmdb *f, struct str *why);
/* Every entry, in the order of keys; a negative code of each ends it. */
int map_lmdb_walk(struct map_lmdb *f, int (*each)(void *arg, struct span key, struct span value),
                  void *arg, struct str *why);

#endif
