/* table.c: making table files, asking and changing them. */
#include "tools/table.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "map/map.h"

/* Room for keys and values that are much smaller than their pages: address
 * space, not disk. */
enum { SIZE_FACTOR = 32 };

/* --- names --- */

/* "type:name", or "name" of the default type. */
static void full_spec(const struct table_options *o, const char *spec, struct str *out)
{
    if (strchr(spec, ':') == NULL)
        str_printf(out, "%s:", conf_string(o->conf, "default_database_type"));
    str_append_cstr(out, spec);
}

/* The path behind a type whose files we write; NULL for other types. */
static const char *file_path(const struct str *spec)
{
    static const char *const types[] = {"hash:", "btree:", "lmdb:"};

    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (span_starts(str_span(spec), span_cstr(types[i])))
            return str_cstr(spec) + strlen(types[i]);
    return NULL;
}

static struct span folded(const struct table_options *o, struct span key, struct str *out)
{
    str_set(out, key);
    for (size_t i = 0; !o->keeps_case && i < out->len; i++)
        out->data[i] = ascii_lower(out->data[i]);
    return str_span(out);
}

/* --- making --- */

/* A file that is being made or changed. */
struct work {
    const struct table_options *o;
    const char *path; /* the source, and the file without ".lmdb" */
    struct str temporary;
    struct map_lmdb *file;
    struct str why;
    bool is_new;
};

static int put(struct work *w, struct span key, struct span value, unsigned line)
{
    struct str low = {0};
    enum map_lmdb_duplicate duplicate = w->o->replaces ? MAP_LMDB_REPLACE : MAP_LMDB_KEEP;
    int error = map_lmdb_put(w->file, folded(w->o, key, &low), value, !w->o->without_nul, duplicate,
                             &w->why);

    if (error == ERR_EXISTS) {
        if (!w->o->is_quiet)
            log_warn("%s.lmdb: duplicate entry: \"%.*s\" (line %u)", w->path,
                     SPAN_ARG(str_span(&low)), line);
        error = 0;
    }
    str_fini(&low);
    return error;
}

static int put_all(struct work *w, struct span text)
{
    struct map_source source;
    struct map_source_entry entry;
    int error = 0;

    map_source_init(&source, w->o->kind, w->o->is_incremental ? "stdin" : w->path, text);
    while (error == 0 && map_source_next(&source, &entry))
        error = put(w, entry.key, entry.value, entry.line);
    map_source_fini(&source);
    /* Other mail systems' sign that an alias file is complete. */
    if (error == 0 && w->o->kind == MAP_SOURCE_ALIAS)
        error = map_lmdb_put(w->file, SPAN_LIT("@"), SPAN_LIT("@"), !w->o->without_nul,
                             MAP_LMDB_REPLACE, &w->why);
    return error;
}

/* A file that is not there yet appears complete, under its name, or not at all;
 * one that is there is changed in place, in one transaction, under the eyes of
 * its readers. */
static int open_file(struct work *w, size_t source_size)
{
    struct str path = {0};
    struct stat st;
    enum map_lmdb_mode mode = w->o->is_incremental ? MAP_LMDB_UPDATE : MAP_LMDB_CREATE;
    size_t size = (size_t)conf_int(w->o->conf, "lmdb_map_size");
    int error;

    if (size < source_size * SIZE_FACTOR)
        size = source_size * SIZE_FACTOR;
    str_printf(&path, "%s.lmdb", w->path);
    w->is_new = stat(str_cstr(&path), &st) < 0 && errno == ENOENT;
    if (w->is_new)
        str_printf(&w->temporary, "%s.tmp%ld", w->path, (long)getpid());
    error =
        map_lmdb_open(&w->file, w->is_new ? str_cstr(&w->temporary) : w->path, mode, size, &w->why);
    str_fini(&path);
    return error;
}

/* mode: the source's permissions. */
static int publish(struct work *w, mode_t mode)
{
    struct str from = {0}, to = {0};
    int error = 0;

    str_printf(&from, "%s.lmdb", str_cstr(&w->temporary));
    str_printf(&to, "%s.lmdb", w->path);
    if (fchmod(map_lmdb_fd(w->file), w->o->default_mode ? 0644 : (mode & 0666)) < 0 ||
        fsync(map_lmdb_fd(w->file)) < 0 || rename(str_cstr(&from), str_cstr(&to)) < 0) {
        error = -errno;
        str_printf(&w->why, "%s: %s", str_cstr(&to), error_text(error));
    }
    str_fini(&from);
    str_fini(&to);
    return error;
}

static void discard(struct work *w)
{
    struct str path = {0};

    str_printf(&path, "%s.lmdb", str_cstr(&w->temporary));
    (void)unlink(str_cstr(&path));
    str_fini(&path);
}

/* Root works as the owner of the source. */
static int become_owner(const struct table_options *o, const struct stat *st)
{
    if (o->keeps_root || geteuid() != 0 || st->st_uid == 0)
        return 0;
    if (setgroups(1, &st->st_gid) < 0 || setegid(st->st_gid) < 0 || seteuid(st->st_uid) < 0)
        return -errno;
    return 0;
}

static void become_root(void)
{
    gid_t none = 0;

    if (geteuid() == getuid())
        return;
    if (seteuid(0) < 0 || setegid(0) < 0 || setgroups(1, &none) < 0)
        fatal("cannot become root again");
}

static int read_source(struct work *w, struct str *text, struct stat *st)
{
    int fd = w->o->is_incremental ? dup(STDIN_FILENO) : open(w->path, O_RDONLY | O_CLOEXEC), error;

    error = fd < 0 || fstat(fd, st) < 0 ? -errno : fd_read_file(fd, text, MAP_FILE_MAX);
    /* Entries from standard input belong to whoever owns the text file. */
    if (error == 0 && w->o->is_incremental && stat(w->path, st) < 0) {
        st->st_uid = geteuid();
        st->st_mode = 0644;
    }
    if (error < 0)
        str_printf(&w->why, "%s: %s", w->path, error_text(error));
    fd_close(&fd);
    return error;
}

static int create(struct work *w)
{
    struct str text = {0};
    struct stat st = {0};
    int error = read_source(w, &text, &st);

    if (error == 0)
        error = become_owner(w->o, &st);
    if (error == 0)
        error = open_file(w, text.len);
    if (error == 0)
        error = put_all(w, str_span(&text));
    if (error == 0)
        error = map_lmdb_commit(w->file, &w->why);
    if (error == 0 && w->is_new)
        error = publish(w, st.st_mode);
    /* One that is there keeps its mode and owner, and gets a new time even when
     * nothing in it changed. */
    if (error == 0 && !w->is_new)
        (void)futimens(map_lmdb_fd(w->file), NULL);
    if (error < 0 && w->is_new)
        discard(w);
    map_lmdb_close(w->file);
    become_root();
    str_fini(&text);
    return error;
}

int table_create(const struct table_options *o, const char *spec)
{
    struct str full = {0};
    struct work w = {.o = o};
    int error;

    full_spec(o, spec, &full);
    w.path = file_path(&full);
    if (w.path == NULL || *w.path == '\0') {
        log_error("%s: there is no file to make for this type of table", str_cstr(&full));
        str_fini(&full);
        return 1;
    }
    error = create(&w);
    if (error < 0)
        log_error("%s: %s", str_cstr(&full), w.why.len > 0 ? str_cstr(&w.why) : error_text(error));
    str_fini(&w.why);
    str_fini(&w.temporary);
    str_fini(&full);
    return error < 0 ? 1 : 0;
}

/* --- asking --- */

/* Our files are asked directly, so that -f and a missing file are seen. */
static int ask_file(const struct table_options *o, const char *path, struct span key,
                    struct str *value, struct str *why)
{
    struct map_lmdb *f = NULL;
    struct str low = {0};
    int error = map_lmdb_open(&f, path, MAP_LMDB_READ, 0, why);

    if (error == 0)
        error = map_lmdb_get(f, folded(o, key, &low), value, why);
    map_lmdb_close(f);
    str_fini(&low);
    return error;
}

static int ask(const struct table_options *o, const char *spec, struct span key, struct str *value)
{
    struct str full = {0}, why = {0};
    struct map *m = NULL;
    const char *path;
    int error;

    full_spec(o, spec, &full);
    path = file_path(&full);
    if (path != NULL) {
        error = ask_file(o, path, key, value, &why);
    } else if ((error = map_open(&m, o->conf, str_span(&full), &why)) == 0) {
        error = map_lookup(m, key, 0, value);
    }
    if (error < 0 && error != ERR_NOT_FOUND)
        fatal("table %s: %s", str_cstr(&full), why.len > 0 ? str_cstr(&why) : error_text(error));
    map_free(m);
    str_fini(&full);
    str_fini(&why);
    return error;
}

int table_query(const struct table_options *o, const char *spec, const char *key)
{
    struct str value = {0};
    int error = ask(o, spec, span_cstr(key), &value);

    if (error == 0)
        printf("%s\n", str_cstr(&value));
    str_fini(&value);
    return error < 0 ? 1 : 0;
}

int table_query_all(const struct table_options *o, char **specs, int count)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int status = 1;

    while ((n = getline(&line, &size, stdin)) > 0) {
        struct span key = span_make(line, (size_t)n - (line[n - 1] == '\n'));
        struct str value = {0};

        for (int i = 0; i < count; i++) {
            if (ask(o, specs[i], key, &value) < 0)
                continue;
            printf("%.*s\t%s\n", SPAN_ARG(key), str_cstr(&value));
            status = 0;
            break;
        }
        str_fini(&value);
    }
    free(line);
    return status;
}

static int print_entry(void *arg, struct span key, struct span value)
{
    printf("%.*s\t%.*s\n", SPAN_ARG(key), SPAN_ARG(value));
    return 0;
}

int table_dump(const struct table_options *o, const char *spec)
{
    struct str full = {0}, why = {0};
    struct map_lmdb *f = NULL;
    const char *path;
    int error = ERR_NOT_SUPPORTED;

    full_spec(o, spec, &full);
    path = file_path(&full);
    if (path != NULL && (error = map_lmdb_open(&f, path, MAP_LMDB_READ, 0, &why)) == 0)
        error = map_lmdb_walk(f, print_entry, NULL, &why);
    if (error < 0)
        log_error("table %s: %s", str_cstr(&full),
                  why.len > 0 ? str_cstr(&why) : error_text(error));
    map_lmdb_close(f);
    str_fini(&full);
    str_fini(&why);
    return error < 0 ? 1 : 0;
}

/* --- deleting --- */

static int delete_key(const struct table_options *o, const char *spec, struct span key)
{
    struct str full = {0}, why = {0}, low = {0};
    struct map_lmdb *f = NULL;
    const char *path;
    int error = ERR_NOT_SUPPORTED;

    full_spec(o, spec, &full);
    path = file_path(&full);
    if (path != NULL && (error = map_lmdb_open(&f, path, MAP_LMDB_UPDATE, 0, &why)) == 0 &&
        (error = map_lmdb_delete(f, folded(o, key, &low), &why)) == 0)
        error = map_lmdb_commit(f, &why);
    if (error < 0 && error != ERR_NOT_FOUND)
        fatal("table %s: %s", str_cstr(&full), why.len > 0 ? str_cstr(&why) : error_text(error));
    map_lmdb_close(f);
    str_fini(&full);
    str_fini(&why);
    str_fini(&low);
    return error;
}

int table_delete(const struct table_options *o, const char *spec, const char *key)
{
    return delete_key(o, spec, span_cstr(key)) < 0 ? 1 : 0;
}

int table_delete_all(const struct table_options *o, char **specs, int count)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int status = 1;

    while ((n = getline(&line, &size, stdin)) > 0)
        for (int i = 0; i < count; i++)
            if (delete_key(o, specs[i], span_make(line, (size_t)n - (line[n - 1] == '\n'))) == 0)
                status = 0;
    free(line);
    return status;
}
