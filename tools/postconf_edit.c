/* postconf_edit.c: changing main.cf, line by line, so that comments stay. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/main_cf.h"
#include "tools/postconf.h"

struct change {
    struct span name, value;
    unsigned found;
};

struct editor {
    enum postconf_edit how;
    const char *path;
    struct change *changes;
    size_t count;
    struct str out;
};

static int read_arguments(struct editor *e, char **arguments)
{
    for (size_t i = 0; i < e->count; i++) {
        struct change *c = &e->changes[i];
        const char *problem = NULL;

        if (strchr(arguments[i], '\n') != NULL)
            problem = "a newline in an argument";
        else if (e->how == POSTCONF_SET)
            problem = main_cf_split(span_cstr(arguments[i]), &c->name, &c->value);
        else if (arguments[i][0] == '\0' || strpbrk(arguments[i], "= \t") != NULL)
            problem = "need a parameter name, without \"=value\"";
        else
            c->name = span_cstr(arguments[i]);
        if (problem != NULL) {
            log_error("%s: \"%s\"", problem, arguments[i]);
            return ERR_SYNTAX;
        }
    }
    return 0;
}

static struct change *find_change(struct editor *e, struct span line)
{
    size_t n = 0;

    while (n < line.n && line.p[n] != '=' && !ascii_is_space(line.p[n]))
        n++;
    for (size_t i = e->count; i-- > 0;)
        if (span_eq(e->changes[i].name, span_take(line, n)))
            return &e->changes[i];
    return NULL;
}

static void put_setting(struct editor *e, const struct change *c)
{
    str_printf(&e->out, "%.*s = %.*s\n", SPAN_ARG(c->name), SPAN_ARG(c->value));
}

static void put_line(struct editor *e, const char *before, struct span line)
{
    str_append_cstr(&e->out, before);
    str_append(&e->out, line);
    str_append_char(&e->out, '\n');
}

/* The first line of an entry. */
static struct change *edit_entry(struct editor *e, struct span line)
{
    struct change *c = find_change(e, line);

    if (c == NULL) {
        put_line(e, "", line);
        return NULL;
    }
    if (c->found++ == 1)
        log_warn("%s: multiple entries for \"%.*s\"", e->path, SPAN_ARG(c->name));
    if (e->how == POSTCONF_SET)
        put_setting(e, c);
    else if (e->how == POSTCONF_COMMENT)
        put_line(e, "#", line);
    return c;
}

static void edit_text(struct editor *e, struct span text)
{
    const struct change *current = NULL;
    struct span line, trimmed;

    while (text.n > 0 && span_next(&text, '\n', &line)) {
        trimmed = span_trim(line);
        if (trimmed.n == 0 || trimmed.p[0] == '#')
            put_line(e, "", line);
        else if (!ascii_is_space(line.p[0]))
            current = edit_entry(e, line);
        else if (current == NULL)
            put_line(e, "", line);
        else if (e->how == POSTCONF_COMMENT)
            put_line(e, "#", line);
    }
    for (size_t i = 0; e->how == POSTCONF_SET && i < e->count; i++)
        if (e->changes[i].found == 0 && find_change(e, e->changes[i].name) == &e->changes[i])
            put_setting(e, &e->changes[i]);
}

/* Beside the old file, with its owner and mode, then in its place. */
static int replace_file(const char *path, struct span content)
{
    struct str temporary = {0};
    struct stat st;
    int fd = -1, error = 0;

    str_printf(&temporary, "%s.tmp", path);
    if (stat(path, &st) < 0)
        error = -errno;
    if (error == 0) {
        /* One editor at a time. */
        fd =
            open(str_cstr(&temporary), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 07777);
        if (fd < 0) {
            error = -errno;
            if (error == -EEXIST)
                log_error("%s is there: somebody else edits, or died while doing so",
                          str_cstr(&temporary));
        }
    }
    if (error == 0 && fchown(fd, st.st_uid, st.st_gid) < 0 && geteuid() == 0)
        error = -errno;
    if (error == 0 && fchmod(fd, st.st_mode & 07777) < 0)
        error = -errno;
    if (error == 0)
        error = fd_write_all(fd, content.p, content.n);
    if (error == 0 && fsync(fd) < 0)
        error = -errno;
    if (error == 0 && rename(str_cstr(&temporary), path) < 0)
        error = -errno;
    if (error < 0 && fd >= 0)
        unlink(str_cstr(&temporary));
    fd_close(&fd);
    str_fini(&temporary);
    return error;
}

int postconf_edit(const char *directory, enum postconf_edit how, char **arguments, size_t count)
{
    struct editor e = {.how = how, .count = count};
    struct str name = {0}, text = {0};
    char *path;
    int error;

    str_printf(&name, "%s/main.cf", directory);
    /* A symbolic link stays one. */
    path = realpath(str_cstr(&name), NULL);
    e.path = str_cstr(&name);
    e.changes = mem_new_or_die((count + 1) * sizeof(*e.changes));
    error = path == NULL ? -errno : read_arguments(&e, arguments);
    if (error == 0)
        error = file_read(path, &text, MAIN_CF_SIZE_MAX);
    if (error == 0) {
        edit_text(&e, str_span(&text));
        error = str_error(&e.out);
    }
    if (error == 0)
        error = replace_file(path, str_span(&e.out));
    if (error < 0 && error != ERR_SYNTAX)
        log_error("%s: %s", str_cstr(&name), error_text(error));
    free(e.changes);
    free(path);
    str_fini(&e.out);
    str_fini(&name);
    str_fini(&text);
    return error < 0 ? 1 : 0;
}
