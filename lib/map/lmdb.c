/*
 * lmdb.c: the types hash, btree and lmdb: NAME.lmdb, as Postfix writes it.
 *
 * Files are written in place, under an exclusive fcntl(2) lock on the file
 * itself and without LMDB's own lock file (MDB_NOLOCK), so readers take a shared
 * lock for each look-up. The lock belongs to the descriptor (OFD): look-ups of
 * one process are serialised by a mutex. Look-ups run on worker threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "map/lmdb_file.h"
#include "map/type.h"

enum { COMPLAIN_EVERY_S = 60, REOPEN_AFTER_S = 20 };

static void (*report_change)(const char *why);

struct lmdb_table {
    pthread_mutex_t mutex;
    struct map_lmdb *file; /* NULL: could not be opened */
    char *source;          /* the text it is made from */
    deadline_t complain_at;
    deadline_t reopen_at; /* without a file: not before */
};

/* "run: postmap hash:/etc/postfix/x". Aliases have a command of their own. */
static const char *maker(struct span name)
{
    return span_iends(name, SPAN_LIT("aliases")) ? "postalias" : "postmap";
}

/* A source that is newer than what was made from it. */
static void warn_if_stale(const struct map *m, const char *source, const struct map_lmdb *file)
{
    struct stat made, text;

    if (fstat(map_lmdb_fd(file), &made) < 0 || stat(source, &text) < 0)
        return;
    if (text.st_mtime > made.st_mtime)
        log_warn("database %s.lmdb is older than source file %s; run: %s %s", source, source,
                 maker(span_cstr(source)), m->spec);
}

static int lmdb_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    struct lmdb_table *t = NEW(struct lmdb_table);
    struct str reason = {0};
    int error;

    m->data = t;
    if (t == NULL)
        return -ENOMEM;
    pthread_mutex_init(&t->mutex, NULL);
    t->reopen_at = deadline_in(REOPEN_AFTER_S * 1000);
    t->source = mem_strdup(name);
    if (t->source == NULL)
        return -ENOMEM;
    error = map_lmdb_open(&t->file, t->source, MAP_LMDB_READ, 0, &reason);
    if (error == 0)
        warn_if_stale(m, t->source, t->file);
    else
        log_warn("table %s: %s; look-ups will fail; run: %s %s", m->spec, str_cstr(&reason),
                 maker(name), m->spec);
    str_fini(&reason);
    return 0;
}

static void lmdb_close(struct map *m)
{
    struct lmdb_table *t = m->data;

    if (t == NULL)
        return;
    map_lmdb_close(t->file);
    pthread_mutex_destroy(&t->mutex);
    free(t->source);
    free(t);
}

void map_on_change(void (*report)(const char *why))
{
    report_change = report;
}

/* No path can be opened behind the sandbox: only a new process sees the new file. */
static void report_replaced(const struct map *m)
{
    struct str why = {0};

    if (report_change == NULL)
        return;
    str_printf(&why, "table %s has changed -- restarting", m->spec);
    report_change(str_cstr(&why));
    str_fini(&why);
}

/* One look-up, on a worker: owns its data. */
struct lookup {
    struct lmdb_table *table;
    struct span key;
    struct str value, why;
    int error;
    bool is_replaced; /* the name leads to another file, or to none */
};

static void look_up(void *arg)
{
    struct lookup *l = arg;
    struct stat st;

    l->is_replaced = fstat(map_lmdb_fd(l->table->file), &st) == 0 && st.st_nlink == 0;
    pthread_mutex_lock(&l->table->mutex);
    l->error = map_lmdb_get(l->table->file, l->key, &l->value, &l->why);
    pthread_mutex_unlock(&l->table->mutex);
}

/* At most once a minute and table. */
static void complain(const struct map *m, struct lmdb_table *t, const char *reason)
{
    if (t->complain_at != 0 && clock_mono_ms() < t->complain_at)
        return;
    t->complain_at = deadline_in(COMPLAIN_EVERY_S * 1000);
    log_warn("table %s: lookup error: %s; run: %s %s", m->spec, reason, maker(span_cstr(t->source)),
             m->spec);
}

static int lmdb_lookup(const struct map *m, struct span key, struct str *value)
{
    struct lmdb_table *t = m->data;
    struct lookup l = {.table = t, .key = key};
    int error;

    if (t->file == NULL) {
        complain(m, t, "the file is missing");
        if (clock_mono_ms() >= t->reopen_at)
            report_replaced(m);
        return ERR_TEMPORARY;
    }
    error = map_run_blocking(look_up, &l);
    if (error == 0)
        error = l.error;
    if (error == 0)
        error = str_append(value, str_span(&l.value));
    else if (error != ERR_NOT_FOUND && error != -ECANCELED)
        complain(m, t, l.why.len > 0 ? str_cstr(&l.why) : error_text(error));
    if (l.is_replaced)
        report_replaced(m);
    str_fini(&l.value);
    str_fini(&l.why);
    return error;
}

const struct map_type map_type_lmdb = {"lmdb", false, true, lmdb_open, lmdb_lookup, lmdb_close};
/* Debian's Postfix files of these types are Berkeley DB; ours are LMDB, beside them. */
const struct map_type map_type_hash = {"hash", false, true, lmdb_open, lmdb_lookup, lmdb_close};
const struct map_type map_type_btree = {"btree", false, true, lmdb_open, lmdb_lookup, lmdb_close};
