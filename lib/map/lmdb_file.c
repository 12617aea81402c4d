/* lmdb_file.c: see lmdb_file.h. */
#include "map/lmdb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

enum { SIZE_DEFAULT = 16 << 20, GROWTH = 2 };

struct map_lmdb {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *writing; /* NULL for readers */
    char *path;
    enum map_lmdb_mode mode;
};

/* LMDB's codes are -errno's mirror image (positive errno) or its own. */
static int lmdb_code(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_KEYEXIST:
        return ERR_EXISTS;
    case MDB_BAD_VALSIZE:
        return ERR_TOO_LONG;
    case MDB_MAP_FULL:
        return ERR_LIMIT;
    case MDB_VERSION_MISMATCH:
        return ERR_VERSION;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PANIC:
        return ERR_CORRUPT;
    default:
        return rc > 0 ? -rc : ERR_TEMPORARY;
    }
}

static int fail(const struct map_lmdb *f, const char *what, int rc, struct str *why)
{
    str_printf(why, "%s: %s: %s", f->path, what, mdb_strerror(rc));
    return lmdb_code(rc);
}

/* Postfix's lock: the whole file, by fcntl. */
static int lock_file(const struct map_lmdb *f, short type, struct str *why)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
    int rc;

    do
        rc = fcntl(map_lmdb_fd(f), F_OFD_SETLKW, &lock);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? fail(f, "lock", errno, why) : 0;
}

int map_lmdb_fd(const struct map_lmdb *f)
{
    int fd = -1;

    (void)mdb_env_get_fd(f->env, &fd);
    return fd;
}

/* Another process made the file larger than our map. */
static int begin(const struct map_lmdb *f, unsigned flags, MDB_txn **txn)
{
    int rc = mdb_txn_begin(f->env, NULL, flags, txn);

    if (rc == MDB_MAP_RESIZED && (rc = mdb_env_set_mapsize(f->env, 0)) == 0)
        rc = mdb_txn_begin(f->env, NULL, flags, txn);
    return rc;
}

static int open_reader(struct map_lmdb *f, struct str *why)
{
    MDB_txn *txn;
    int rc, error = lock_file(f, F_RDLCK, why);

    if (error < 0)
        return error;
    if ((rc = begin(f, MDB_RDONLY, &txn)) == 0) {
        rc = mdb_dbi_open(txn, NULL, 0, &f->dbi);
        /* Committed, so that the handle stays. */
        if (rc == 0)
            rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    error = lock_file(f, F_UNLCK, why);
    return rc != 0 ? fail(f, "open", rc, why) : error;
}

static int open_writer(struct map_lmdb *f, struct str *why)
{
    int rc, error = lock_file(f, F_WRLCK, why);

    if (error < 0)
        return error;
    if ((rc = begin(f, 0, &f->writing)) != 0)
        return fail(f, "begin", rc, why);
    if ((rc = mdb_dbi_open(f->writing, NULL, 0, &f->dbi)) != 0)
        return fail(f, "open", rc, why);
    if (f->mode == MAP_LMDB_CREATE && (rc = mdb_drop(f->writing, f->dbi, 0)) != 0)
        return fail(f, "empty", rc, why);
    return 0;
}

/* Old and new content are there side by side until the commit. */
static size_t first_size(const char *path, size_t size_bytes)
{
    struct stat st;

    if (size_bytes == 0)
        size_bytes = SIZE_DEFAULT;
    if (stat(path, &st) == 0)
        size_bytes += GROWTH * (size_t)st.st_size;
    return (size_bytes + 4095) / 4096 * 4096;
}

int map_lmdb_open(struct map_lmdb **out, const char *path, enum map_lmdb_mode mode,
                  size_t size_bytes, struct str *why)
{
    struct map_lmdb *f = NEW(struct map_lmdb);
    struct str name = {0};
    unsigned flags =
        MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS | (mode == MAP_LMDB_READ ? MDB_RDONLY : 0);
    int rc, error = 0;

    if (f == NULL)
        return -ENOMEM;
    f->mode = mode;
    str_printf(&name, "%s.lmdb", path);
    f->path = str_steal(&name);
    if (f->path == NULL || (rc = mdb_env_create(&f->env)) != 0) {
        map_lmdb_close(f);
        return -ENOMEM;
    }
    if (mode != MAP_LMDB_READ)
        (void)mdb_env_set_mapsize(f->env, first_size(f->path, size_bytes));
    file_note(f->path);
    rc = mdb_env_open(f->env, f->path, flags, 0644);
    if (rc != 0)
        error = fail(f, "open", rc, why);
    else
        error = mode == MAP_LMDB_READ ? open_reader(f, why) : open_writer(f, why);
    if (error < 0) {
        map_lmdb_close(f);
        return error;
    }
    *out = f;
    return 0;
}

void map_lmdb_close(struct map_lmdb *f)
{
    if (f == NULL)
        return;
    if (f->writing != NULL)
        mdb_txn_abort(f->writing);
    /* Closes the descriptor, and so ends the lock. */
    if (f->env != NULL)
        mdb_env_close(f->env);
    free(f->path);
    free(f);
}

/* Run fn in the write transaction, or in a locked one for reading. */
static int in_transaction(struct map_lmdb *f,
                          int (*fn)(struct map_lmdb *f, MDB_txn *txn, void *arg), void *arg,
                          struct str *why)
{
    MDB_txn *txn;
    int rc, error;

    if (f->writing != NULL)
        return fn(f, f->writing, arg);
    if ((error = lock_file(f, F_RDLCK, why)) < 0)
        return error;
    if ((rc = begin(f, MDB_RDONLY, &txn)) != 0) {
        error = fail(f, "read", rc, why);
    } else {
        error = fn(f, txn, arg);
        mdb_txn_abort(txn);
    }
    rc = lock_file(f, F_UNLCK, why);
    return error < 0 ? error : rc;
}

/* --- reading --- */

struct get {
    struct span key;
    struct str *value, *why;
};

/* Without the final NUL that the writer may have added. */
static struct span without_nul(MDB_val v)
{
    size_t n = v.mv_size;

    if (n > 0 && ((const char *)v.mv_data)[n - 1] == '\0')
        n--;
    return span_make(v.mv_data, n);
}

static int get_value(struct map_lmdb *f, MDB_txn *txn, void *arg)
{
    struct get *g = arg;
    struct str key = {0};
    MDB_val k, v;
    int rc = MDB_NOTFOUND, error = str_append(&key, g->key);

    /* With the NUL first: that is what postmap writes. */
    for (int with_nul = 1; error == 0 && rc == MDB_NOTFOUND && with_nul >= 0; with_nul--) {
        k = (MDB_val){key.len + (size_t)with_nul, key.data};
        rc = k.mv_size == 0 || k.mv_size > (size_t)mdb_env_get_maxkeysize(f->env)
                 ? MDB_NOTFOUND
                 : mdb_get(txn, f->dbi, &k, &v);
    }
    str_fini(&key);
    if (error < 0)
        return error;
    if (rc == 0)
        return str_append(g->value, without_nul(v));
    return rc == MDB_NOTFOUND ? ERR_NOT_FOUND : fail(f, "read", rc, g->why);
}

int map_lmdb_get(struct map_lmdb *f, struct span key, struct str *value, struct str *why)
{
    struct get g = {key, value, why};

    return in_transaction(f, get_value, &g, why);
}

struct walk {
    int (*each)(void *arg, struct span key, struct span value);
    void *arg;
    struct str *why;
};

static int walk_entries(struct map_lmdb *f, MDB_txn *txn, void *arg)
{
    struct walk *w = arg;
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = mdb_cursor_open(txn, f->dbi, &cursor), error = 0;

    if (rc != 0)
        return fail(f, "read", rc, w->why);
    while (error == 0 && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
        error = w->each(w->arg, without_nul(k), without_nul(v));
    mdb_cursor_close(cursor);
    if (error == 0 && rc != 0 && rc != MDB_NOTFOUND)
        error = fail(f, "read", rc, w->why);
    return error;
}

int map_lmdb_walk(struct map_lmdb *f, int (*each)(void *, struct span, struct span), void *arg,
                  struct str *why)
{
    struct walk w = {each, arg, why};

    return in_transaction(f, walk_entries, &w, why);
}

/* --- writing --- */

/* Is the key there, in the form with or without NUL? Its form into *with_nul. */
static int find_form(struct map_lmdb *f, struct str *key, bool *with_nul)
{
    MDB_val k, v;

    for (int nul = 1; nul >= 0; nul--) {
        k = (MDB_val){key->len + (size_t)nul, key->data};
        if (k.mv_size > 0 && mdb_get(f->writing, f->dbi, &k, &v) == 0) {
            *with_nul = nul == 1;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

int map_lmdb_put(struct map_lmdb *f, struct span key, struct span value, bool with_nul,
                 enum map_lmdb_duplicate duplicate, struct str *why)
{
    struct str k = {0}, v = {0};
    MDB_val key_val, value_val;
    int rc, error = 0;

    str_append(&k, key);
    str_append(&v, value);
    /* A form that is there already is kept: two forms of a key would be two keys. */
    if (str_error(&k) == 0 && find_form(f, &k, &with_nul) == 0 && duplicate == MAP_LMDB_KEEP)
        error = ERR_EXISTS;
    if (error == 0 && (str_error(&k) < 0 || str_error(&v) < 0 || k.data == NULL || v.data == NULL))
        error = -ENOMEM;
    if (error == 0) {
        key_val = (MDB_val){k.len + with_nul, k.data};
        value_val = (MDB_val){v.len + with_nul, v.data};
        rc = mdb_put(f->writing, f->dbi, &key_val, &value_val, 0);
        if (rc != 0)
            error = fail(f, "write", rc, why);
    }
    str_fini(&k);
    str_fini(&v);
    return error;
}

int map_lmdb_delete(struct map_lmdb *f, struct span key, struct str *why)
{
    struct str k = {0};
    bool with_nul = false;
    int rc, error = str_append(&k, key);

    if (error == 0)
        error = find_form(f, &k, &with_nul);
    if (error == 0) {
        MDB_val key_val = {k.len + with_nul, k.data};

        rc = mdb_del(f->writing, f->dbi, &key_val, NULL);
        if (rc != 0)
            error = fail(f, "delete", rc, why);
    }
    str_fini(&k);
    return error;
}

int map_lmdb_commit(struct map_lmdb *f, struct str *why)
{
    int rc = mdb_txn_commit(f->writing);

    f->writing = NULL;
    return rc != 0 ? fail(f, "commit", rc, why) : 0;
}
