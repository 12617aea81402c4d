/* postconf_main.c: postconf(1). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/param.h"
#include "tools/postconf.h"
#include "tools/tool_log.h"

enum mode { SHOW, SERVICES, OVERRIDES, FIELDS, TYPES, EDIT };

struct options {
    enum mode mode;
    enum postconf_edit edit;
    unsigned flags;
    const char *directory;
    ARRAY(const char *) overrides;
};

static int usage(void)
{
    fprintf(stderr, "usage: postconf [-c dir] [-o name=value]... [-dfhHnx] [name...]\n"
                    "       postconf [-c dir] [-e] name=value...\n"
                    "       postconf [-c dir] -# name...\n"
                    "       postconf [-c dir] -X name...\n"
                    "       postconf [-c dir] -M [-fx] [service[/type]...]\n"
                    "       postconf [-c dir] -P [-fhHx] [service[/type[/name]]...]\n"
                    "       postconf [-c dir] -F [-fhHx] [service[/type[/field]]...]\n"
                    "       postconf -m\n");
    return 1;
}

static int set_mode(struct options *o, enum mode mode)
{
    if (o->mode != SHOW && o->mode != mode) {
        log_error("specify one of -e, -#, -X, -M, -P, -F, -m");
        return -1;
    }
    o->mode = mode;
    return 0;
}

static int read_option(struct options *o, int option)
{
    const char **slot;

    switch (option) {
    case 'c':
        o->directory = optarg;
        return 0;
    case 'd':
        o->flags |= POSTCONF_DEFAULTS;
        return 0;
    case 'n':
        o->flags |= POSTCONF_SET_ONLY;
        return 0;
    case 'h':
        o->flags |= POSTCONF_HIDE_NAME;
        return 0;
    case 'H':
        o->flags |= POSTCONF_NAME_ONLY;
        return 0;
    case 'x':
        o->flags |= POSTCONF_EXPAND;
        return 0;
    case 'f':
        o->flags |= POSTCONF_FOLD;
        return 0;
    case 'o':
        slot = array_push(&o->overrides);
        if (slot == NULL)
            fatal("out of memory");
        *slot = optarg;
        return 0;
    case 'v':
        log_set_level(LOG_LEVEL_DEBUG);
        return 0;
    case 'e':
        o->edit = POSTCONF_SET;
        return set_mode(o, EDIT);
    case '#':
        o->edit = POSTCONF_COMMENT;
        return set_mode(o, EDIT);
    case 'X':
        o->edit = POSTCONF_REMOVE;
        return set_mode(o, EDIT);
    case 'M':
        return set_mode(o, SERVICES);
    case 'P':
        return set_mode(o, OVERRIDES);
    case 'F':
        return set_mode(o, FIELDS);
    case 'm':
        return set_mode(o, TYPES);
    default:
        return -1;
    }
}

/* Everything that is set and does not do what it says. */
static void print_findings(const struct conf *c, const struct master_cf *m)
{
    struct conf_findings findings = {0};

    if (conf_check(c, m, &findings) < 0)
        fatal("out of memory");
    fflush(stdout);
    for (size_t i = 0; i < findings.list.len; i++) {
        if (findings.list.items[i].kind != CONF_NO_TLS)
            log_warn("%s", str_cstr(&findings.list.items[i].text));
    }
    conf_findings_fini(&findings);
}

static struct conf *load_conf(const struct options *o)
{
    struct conf *c = NULL;
    struct str why = {0};
    int error =
        (o->flags & POSTCONF_DEFAULTS) != 0
            ? conf_load_text(&c, o->directory, "main.cf", SPAN_LIT(""), &why)
            : conf_load_lenient(&c, o->directory, o->overrides.items, o->overrides.len, &why);

    if (error < 0)
        fatal("%s", str_cstr(&why));
    str_fini(&why);
    return c;
}

/* A missing master.cf matters only to -M, -P and -F. */
static struct master_cf *load_master(const struct options *o, const struct conf *c)
{
    struct master_cf *m = NULL;
    struct str path = {0}, why = {0};
    struct stat st;
    bool is_needed = o->mode == SERVICES || o->mode == OVERRIDES || o->mode == FIELDS;

    str_printf(&path, "%s/master.cf", o->directory);
    if ((is_needed || stat(str_cstr(&path), &st) == 0) && master_cf_load(&m, c, &why) < 0) {
        if (is_needed)
            fatal("%s", str_cstr(&why));
        log_warn("%s", str_cstr(&why));
    }
    str_fini(&path);
    str_fini(&why);
    return m;
}

static int show(const struct options *o, char **names, size_t count)
{
    struct conf *c = load_conf(o);
    struct master_cf *m = load_master(o, c);
    struct postconf p = {c, m, o->flags};
    int status;

    if (o->mode == SERVICES)
        status = postconf_show_services(&p, names, count);
    else if (o->mode == OVERRIDES)
        status = postconf_show_overrides(&p, names, count);
    else if (o->mode == FIELDS)
        status = postconf_show_fields(&p, names, count);
    else
        status = postconf_show(&p, names, count);
    if ((o->flags & POSTCONF_DEFAULTS) == 0)
        print_findings(c, m);
    master_cf_free(m);
    conf_free(c);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.mode = SHOW};
    const char *environment = getenv("MAIL_CONFIG");
    int option, status;

    tool_log_init(argv[0]);
    o.directory =
        environment != NULL ? environment : param_find(SPAN_LIT("config_directory"))->fallback;
    while ((option = getopt(argc, argv, "c:deFhfHmMno:PvxX#")) != -1)
        if (read_option(&o, option) < 0)
            return usage();
    argv += optind;
    argc -= optind;
    /* "postconf name=value" edits, too. */
    if (o.mode == SHOW && argc > 0 && strchr(argv[0], '=') != NULL) {
        o.mode = EDIT;
        o.edit = POSTCONF_SET;
    }
    if (o.mode == TYPES) {
        postconf_show_types();
        status = 0;
    } else if (o.mode == EDIT) {
        status = argc == 0 ? usage() : postconf_edit(o.directory, o.edit, argv, (size_t)argc);
    } else {
        status = show(&o, argv, (size_t)argc);
    }
    array_free(&o.overrides);
    return status;
}
