/* The environment and its transactions. */
#include "store/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "store/octets.h"

enum {
    INDEX_VERSION = 3,
    META_SIZE = 8 + JOURNAL_CURSOR_SIZE + 8 + 8 + 4 + 4 + 4,
    MAP_MB = 1024, /* address space alone; doubled when it is full */
};

struct index {
    MDB_env *env;
    MDB_dbi dbi;
    size_t map_size;
    bool is_full, is_bad;
};

/* --- errors --- */

/* LMDB's codes are positive errnos and its own negative ones. */
static int map_error(struct index *index, int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_KEYEXIST:
        return ERR_EXISTS;
    case MDB_MAP_FULL:
        index->is_full = true;
        return -ENOSPC;
    case MDB_TXN_FULL:
    case MDB_READERS_FULL:
        return ERR_TEMPORARY;
    }
    if (rc > 0)
        return -rc;
    if (!index->is_bad)
        log_error("store: an index is not readable (%s) and will be made anew", mdb_strerror(rc));
    index->is_bad = true;
    return ERR_CORRUPT;
}

int index_error(struct index_txn *t, int rc)
{
    return map_error(t->index, rc);
}

bool index_is_bad(const struct index *index)
{
    return index->is_bad;
}

/* --- whose boot --- */

/* The boot id stands in a file of its own: looking into an index that a power cut
 * damaged could crash. */
static bool is_believed(int dirfd, const struct journal_boot *boot, bool *is_current)
{
    static const unsigned char none[BOOT_ID_SIZE];
    unsigned char id[BOOT_ID_SIZE];
    int fd = openat(dirfd, "index-boot", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 ? -errno : fd_pread_full(fd, id, sizeof(id), 0);

    fd_close(&fd);
    if (rc < 0 || memcmp(id, none, sizeof(id)) == 0)
        return false;
    *is_current = memcmp(id, boot->current, sizeof(id)) == 0;
    return *is_current || memcmp(id, boot->clean, sizeof(id)) == 0;
}

static int claim(int dirfd, const struct journal_boot *boot)
{
    int fd = openat(dirfd, "index-boot", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? -errno : fd_pwrite_all(fd, boot->current, BOOT_ID_SIZE, 0);

    fd_close(&fd);
    return rc < 0 ? rc : 0;
}

void index_remove(int dirfd)
{
    unlinkat(dirfd, "index-boot", 0);
    unlinkat(dirfd, "index", 0);
    unlinkat(dirfd, "index-lock", 0);
}

/* --- opening --- */

static int open_environment(struct index *index, int dirfd)
{
    char path[64];
    unsigned flags = MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS;
    int rc = mdb_env_create(&index->env), dead;

    if (rc != 0)
        return rc;
    index->map_size = (size_t)MAP_MB << 20;
    /* LMDB takes a path; this one stays true in a sandbox and when the root moves. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d/index", dirfd);
    rc = mdb_env_set_mapsize(index->env, index->map_size);
    if (rc == 0)
        rc = mdb_env_open(index->env, path, flags, 0600);
    if (rc == 0)
        rc = mdb_reader_check(index->env, &dead);
    return rc;
}

static int open_database(struct index *index)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);

    if (rc == MDB_MAP_RESIZED) {
        rc = mdb_env_set_mapsize(index->env, 0);
        if (rc == 0)
            rc = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);
    }
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &index->dbi);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    return rc;
}

static int open_once(int dirfd, struct index **out)
{
    struct index *index = NEW(struct index);
    int rc;

    if (index == NULL)
        return -ENOMEM;
    rc = open_environment(index, dirfd);
    if (rc == 0)
        rc = open_database(index);
    if (rc != 0) {
        rc = map_error(index, rc);
        index_close(index);
        return rc;
    }
    *out = index;
    return 0;
}

static int check_meta(struct index_txn *t, void *arg)
{
    return 0;
}

int index_open(int dirfd, const struct journal_boot *boot, struct index **out)
{
    bool is_current = false;
    int rc;

    if (!is_believed(dirfd, boot, &is_current))
        index_remove(dirfd);
    if (!is_current) {
        rc = claim(dirfd, boot);
        if (rc < 0)
            return rc;
    }
    rc = open_once(dirfd, out);
    if (rc == 0) {
        rc = index_view(*out, check_meta, NULL);
        if (rc < 0)
            index_close(*out);
    }
    if (rc == ERR_CORRUPT || rc == ERR_VERSION) {
        index_remove(dirfd);
        rc = claim(dirfd, boot);
        if (rc == 0)
            rc = open_once(dirfd, out);
    }
    return rc;
}

void index_close(struct index *index)
{
    if (index == NULL)
        return;
    if (index->env != NULL)
        mdb_env_close(index->env);
    free(index);
}

/* --- transactions --- */

static MDB_val value_of(const void *p, size_t n)
{
    return (MDB_val){.mv_size = n, .mv_data = (void *)p};
}

static int load_meta(struct index_txn *t)
{
    MDB_val key = value_of("M", 1), value;
    const char *p;
    int rc = mdb_get(t->txn, t->dbi, &key, &value);

    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc != 0)
        return index_error(t, rc);
    p = value.mv_data;
    if (value.mv_size >= 8 && octets_get(p, 4) != INDEX_VERSION)
        return ERR_VERSION;
    if (value.mv_size != META_SIZE ||
        journal_cursor_decode(span_make(p + 8, JOURNAL_CURSOR_SIZE), &t->meta.applied) < 0)
        return ERR_CORRUPT;
    p += 8 + JOURNAL_CURSOR_SIZE;
    t->meta.bytes = octets_get(p, 8);
    t->meta.messages = octets_get(p + 8, 8);
    t->meta.uidvalidity = (uint32_t)octets_get(p + 16, 4);
    t->meta.keywords = (uint32_t)octets_get(p + 20, 4);
    t->meta.delivery = (uint32_t)octets_get(p + 24, 4);
    return 0;
}

static int store_meta(struct index_txn *t)
{
    unsigned char octets[META_SIZE] = {0}, *p = octets + 8 + JOURNAL_CURSOR_SIZE;
    MDB_val key = value_of("M", 1), value = value_of(octets, sizeof(octets));

    octets_put(octets, INDEX_VERSION, 4);
    journal_cursor_encode(&t->meta.applied, octets + 8);
    octets_put(p, t->meta.bytes, 8);
    octets_put(p + 8, t->meta.messages, 8);
    octets_put(p + 16, t->meta.uidvalidity, 4);
    octets_put(p + 20, t->meta.keywords, 4);
    octets_put(p + 24, t->meta.delivery, 4);
    t->is_meta_dirty = false;
    return index_error(t, mdb_put(t->txn, t->dbi, &key, &value, 0));
}

/* Another process may have made the map larger, or died with a reader's slot. */
static int begin(struct index *index, unsigned flags, struct index_txn *t)
{
    int dead, rc = mdb_txn_begin(index->env, NULL, flags, &t->txn);

    if (rc == MDB_MAP_RESIZED) {
        rc = mdb_env_set_mapsize(index->env, 0);
        if (rc == 0)
            rc = mdb_txn_begin(index->env, NULL, flags, &t->txn);
    } else if (rc == MDB_READERS_FULL) {
        mdb_reader_check(index->env, &dead);
        rc = mdb_txn_begin(index->env, NULL, flags, &t->txn);
    }
    if (rc != 0)
        return map_error(index, rc);
    t->index = index;
    t->dbi = index->dbi;
    rc = load_meta(t);
    if (rc < 0)
        mdb_txn_abort(t->txn);
    return rc;
}

int index_view(struct index *index, index_fn *fn, void *arg)
{
    struct index_txn t = {0};
    int rc = begin(index, MDB_RDONLY, &t);

    if (rc < 0)
        return rc;
    rc = fn(&t, arg);
    mdb_txn_abort(t.txn);
    return rc;
}

static int grow(struct index *index)
{
    MDB_envinfo info;
    int rc = mdb_env_info(index->env, &info);

    if (rc == 0) {
        index->map_size = info.me_mapsize * 2;
        rc = mdb_env_set_mapsize(index->env, index->map_size);
    }
    return map_error(index, rc);
}

static int update_once(struct index *index, index_fn *fn, void *arg)
{
    struct index_txn t = {0};
    int done = 0, rc = begin(index, 0, &t);

    if (rc < 0)
        return rc;
    rc = fn(&t, arg);
    if (rc >= 0)
        done = index_flush(&t);
    if (rc >= 0 && done == 0 && t.is_meta_dirty)
        done = store_meta(&t);
    if (done == 0)
        done = FAULT("store_index_commit");
    if (rc < 0 || done < 0) {
        mdb_txn_abort(t.txn);
        return rc < 0 ? rc : done;
    }
    done = map_error(index, mdb_txn_commit(t.txn));
    return done < 0 ? done : rc;
}

int index_update(struct index *index, index_fn *fn, void *arg)
{
    for (;;) {
        int rc;

        index->is_full = false;
        rc = update_once(index, fn, arg);
        if (!index->is_full)
            return rc;
        rc = grow(index);
        if (rc < 0)
            return rc;
    }
}

int index_empty(struct index_txn *t)
{
    t->meta = (struct index_meta){0};
    t->box.id = 0;
    t->is_box_dirty = false;
    t->is_meta_dirty = true;
    return index_error(t, mdb_drop(t->txn, t->dbi, 0));
}

int index_delete_prefix(struct index_txn *t, struct span prefix)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(t->txn, t->dbi, &cursor);

    while (rc == 0) {
        key = value_of(prefix.p, prefix.n);
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (rc != 0 || key.mv_size < prefix.n || memcmp(key.mv_data, prefix.p, prefix.n) != 0)
            break;
        rc = mdb_cursor_del(cursor, 0);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return index_error(t, rc);
    mdb_cursor_close(cursor);
    return 0;
}

int index_dump(struct index_txn *t, index_pair_fn *each, void *arg)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    int result = 0, rc = mdb_cursor_open(t->txn, t->dbi, &cursor);

    if (rc != 0)
        return index_error(t, rc);
    while (result == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (strchr("MES", *(const char *)key.mv_data) == NULL)
            result = each(arg, span_make(key.mv_data, key.mv_size),
                          span_make(value.mv_data, value.mv_size));
    }
    mdb_cursor_close(cursor);
    return result != 0 ? result : rc == MDB_NOTFOUND ? 0 : index_error(t, rc);
}
