/* postconf_show.c: printing main.cf parameters, services and overrides. */
#include "tools/postconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/main_cf.h"
#include "conf/param.h"
#include "map/map.h"

enum { LINE_LIMIT = 80, INDENT = 4 };

/* One logical line with its white space made even, folded when asked. */
static void print_line(unsigned flags, const char *text)
{
    struct span rest = span_cstr(text), word;
    size_t length = 0;

    while (span_token(&rest, " \t\r\n", &word)) {
        if (length > 0 && ((flags & POSTCONF_FOLD) == 0 || length + word.n < LINE_LIMIT)) {
            putchar(' ');
            length++;
        } else if (length > 0) {
            printf("\n%*s", INDENT, "");
            length = INDENT;
        }
        fwrite(word.p, 1, word.n, stdout);
        length += word.n;
    }
    putchar('\n');
}

static const char *expanded(const struct postconf *p, const char *text, struct str *out)
{
    struct str why = {0};

    str_clear(out);
    if (conf_expand(p->conf, span_cstr(text), out, &why) < 0) {
        log_warn("%s", str_cstr(&why));
        str_set(out, span_cstr(text));
    }
    str_fini(&why);
    return str_cstr(out);
}

/* Values that their readers expand, with names of their own. */
static bool is_raw(const char *name)
{
    const char *slash = strrchr(name, '/');
    const struct param *row = param_find(span_cstr(slash != NULL ? slash + 1 : name));

    return row != NULL && row->type == PARAM_RAW;
}

/* As it is written; with -d, the default. */
static const char *value_of(const struct postconf *p, const char *name)
{
    const struct param *row = param_find(span_cstr(name));

    return row != NULL && (p->flags & POSTCONF_DEFAULTS) != 0 ? conf_default(p->conf, row)
                                                              : conf_raw(p->conf, span_cstr(name));
}

static void show_one(const struct postconf *p, const char *name, const char *value)
{
    struct str line = {0}, text = {0};

    if ((p->flags & POSTCONF_NAME_ONLY) != 0) {
        puts(name);
        return;
    }
    if ((p->flags & POSTCONF_EXPAND) != 0 && !is_raw(name))
        value = expanded(p, value, &text);
    if ((p->flags & POSTCONF_HIDE_NAME) == 0)
        str_printf(&line, "%s = ", name);
    str_append_cstr(&line, value);
    print_line(p->flags, str_cstr(&line));
    str_fini(&line);
    str_fini(&text);
}

/* --- main.cf --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    ARRAY(char *) list;
};

static void add_name(struct names *n, const char *name)
{
    char **slot = array_push(&n->list);

    if (slot == NULL)
        fatal("out of memory");
    *slot = mem_strdup_or_die(span_cstr(name));
}

static bool is_listed(const struct names *n, const char *name)
{
    for (size_t i = 0; i < n->list.len; i++)
        if (strcmp(n->list.items[i], name) == 0)
            return true;
    return false;
}

/* <transport>_NAME for the delivery agents of master.cf. */
static void add_transports(const struct postconf *p, struct names *n)
{
    static const char *const agents[] = {"smtp",  "lmtp", "local", "virtual",
                                         "store", "pipe", "error"};

    for (size_t i = 0; p->master != NULL && i < master_cf_count(p->master); i++) {
        const struct master_entry *e = master_cf_at(p->master, i);
        bool is_agent = false;

        for (size_t a = 0; e->type == SERVICE_TYPE_UNIX && a < COUNT_OF(agents); a++)
            is_agent = is_agent || strcmp(e->command, agents[a]) == 0;
        for (size_t t = 0; is_agent && t < param_pattern_count(); t++) {
            const char *suffix = param_pattern_at(t)->name;
            struct str name = {0};

            str_printf(&name, "%s%s", e->name, suffix);
            if (strcmp(suffix, "_client_limit") != 0 && strcmp(suffix, "_process_count") != 0 &&
                (strcmp(suffix, "_time_limit") != 0 || strcmp(e->command, "pipe") == 0))
                add_name(n, str_cstr(&name));
            str_fini(&name);
        }
    }
}

static void free_names(struct names *n)
{
    for (size_t i = 0; i < n->list.len; i++)
        free(n->list.items[i]);
    array_free(&n->list);
}

/* Names of main.cf that nothing reads: listings leave them out. */
static void find_unused(const struct postconf *p, struct names *unused)
{
    struct conf_findings findings = {0};

    if (conf_check(p->conf, p->master, &findings) < 0)
        fatal("out of memory");
    for (size_t i = 0; i < findings.list.len; i++) {
        const struct conf_finding *f = &findings.list.items[i];

        if (f->kind == CONF_UNKNOWN && f->name != NULL)
            add_name(unused, f->name);
    }
    conf_findings_fini(&findings);
}

static void show_all(const struct postconf *p)
{
    struct names names = {0}, unused = {0};

    find_unused(p, &unused);
    if ((p->flags & POSTCONF_SET_ONLY) == 0) {
        for (size_t i = 0; i < param_count(); i++)
            add_name(&names, param_at(i)->name);
        add_transports(p, &names);
    }
    for (size_t i = 0; i < conf_setting_count(p->conf); i++)
        if (!is_listed(&unused, conf_setting_at(p->conf, i)->name))
            add_name(&names, conf_setting_at(p->conf, i)->name);
    if (names.list.len > 0)
        qsort(names.list.items, names.list.len, sizeof(char *), by_name);
    for (size_t i = 0; i < names.list.len; i++)
        if (i == 0 || strcmp(names.list.items[i], names.list.items[i - 1]) != 0)
            show_one(p, names.list.items[i], value_of(p, names.list.items[i]));
    free_names(&names);
    free_names(&unused);
}

int postconf_show(const struct postconf *p, char **names, size_t count)
{
    if (count == 0)
        show_all(p);
    for (size_t i = 0; i < count; i++) {
        const char *value = value_of(p, names[i]);

        if (value == NULL)
            log_warn("%s: unknown parameter", names[i]);
        else if ((p->flags & POSTCONF_SET_ONLY) == 0 || conf_is_set(p->conf, names[i]))
            show_one(p, names[i], value);
    }
    return 0;
}

void postconf_show_types(void)
{
    for (size_t i = 0; map_type_name_at(i) != NULL; i++)
        puts(map_type_name_at(i));
}

/* --- master.cf --- */

/* "service", "service/type" or "service/type/parameter" against one entry; the
 * parameter, if any, into *parameter. */
static bool is_selected(const struct master_entry *e, const char *pattern, struct span *parameter)
{
    struct span rest = span_cstr(pattern), name, type = SPAN_NONE;

    span_next(&rest, '/', &name);
    *parameter = SPAN_NONE;
    if (span_next(&rest, '/', &type))
        (void)span_next(&rest, '\0', parameter);
    return (span_eq(name, span_cstr(e->name)) || span_eq(name, SPAN_LIT("*"))) &&
           (type.n == 0 || span_eq(type, SPAN_LIT("*")) ||
            span_eq(type, span_cstr(service_type_name(e->type))));
}

static bool is_any_selected(const struct master_entry *e, char **names, size_t count)
{
    struct span parameter;

    for (size_t i = 0; i < count; i++)
        if (is_selected(e, names[i], &parameter))
            return true;
    return count == 0;
}

/* One word of a command line; blanks in it need braces. *length is what the
 * output line has so far. */
static void print_word(const struct postconf *p, const char *before, const char *word,
                       size_t *length)
{
    bool is_braced = strpbrk(word, " \t\r\n") != NULL || word[0] == '\0';
    size_t more = strlen(before) + strlen(word) + (is_braced ? 2 : 0);

    if ((p->flags & POSTCONF_FOLD) != 0 && *length + 1 + more >= LINE_LIMIT) {
        printf("\n%*s", INDENT, "");
        *length = INDENT + more;
    } else {
        putchar(' ');
        *length += 1 + more;
    }
    printf("%s%s%s%s", before, is_braced ? "{" : "", word, is_braced ? "}" : "");
}

static void print_command(const struct postconf *p, const struct master_entry *e, size_t length)
{
    struct str text = {0};

    length += (size_t)printf("%s", e->columns[7]);
    for (unsigned i = 0; i < e->verbose; i++)
        print_word(p, "", "-v", &length);
    if (e->is_debugged)
        print_word(p, "", "-D", &length);
    for (size_t i = 0; i < e->written_count; i++) {
        const char *value = e->written_overrides[i];

        if ((p->flags & POSTCONF_EXPAND) != 0)
            value = expanded(p, value, &text);
        /* Each on a line of its own. */
        length = LINE_LIMIT;
        print_word(p, "-o ", value, &length);
        length = LINE_LIMIT;
    }
    for (size_t i = 0; i < e->argument_count; i++)
        print_word(p, "", e->arguments[i], &length);
    putchar('\n');
    str_fini(&text);
}

/* Columns begin at fixed places; what is too long pushes the next ones on. */
static void print_entry(const struct postconf *p, const struct master_entry *e)
{
    static const size_t ends[] = {11, 17, 25, 33, 41, 49, 57};
    size_t length = 0;

    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        length += (size_t)printf("%s ", e->columns[i]);
        for (; length < ends[i]; length++)
            putchar(' ');
    }
    print_command(p, e, length);
}

/* Names that no entry has. */
static void warn_unmatched(const struct postconf *p, char **names, size_t count)
{
    struct span parameter;

    fflush(stdout);
    for (size_t n = 0; n < count; n++) {
        bool is_matched = false;

        for (size_t i = 0; i < master_cf_count(p->master) && !is_matched; i++)
            is_matched = is_selected(master_cf_at(p->master, i), names[n], &parameter);
        if (!is_matched)
            log_warn("unmatched request: \"%s\"", names[n]);
    }
}

int postconf_show_services(const struct postconf *p, char **names, size_t count)
{
    for (size_t i = 0; i < master_cf_count(p->master); i++) {
        const struct master_entry *e = master_cf_at(p->master, i);

        if (is_any_selected(e, names, count))
            print_entry(p, e);
    }
    fflush(stdout);
    for (size_t i = 0; i < master_cf_count(p->master); i++) {
        const struct master_entry *e = master_cf_at(p->master, i);

        if (e->taken_over_by != NULL && is_any_selected(e, names, count))
            log_info("%s/%s: taken over by %s", e->name, service_type_name(e->type),
                     e->taken_over_by);
    }
    warn_unmatched(p, names, count);
    return 0;
}

/* In the order of struct master_entry's columns. */
static const char *const fields[] = {"service", "type",   "private",       "unprivileged",
                                     "chroot",  "wakeup", "process_limit", "command"};

static void show_field(const struct postconf *p, const struct master_entry *e, size_t column)
{
    size_t length = 0;

    if ((p->flags & POSTCONF_HIDE_NAME) == 0)
        length = (size_t)printf("%s/%s/%s", e->name, service_type_name(e->type), fields[column]);
    if ((p->flags & POSTCONF_NAME_ONLY) != 0) {
        putchar('\n');
        return;
    }
    if ((p->flags & POSTCONF_HIDE_NAME) == 0)
        length += (size_t)printf(" = ");
    if (column + 1 == COUNT_OF(fields))
        print_command(p, e, length);
    else
        printf("%s\n", e->columns[column]);
}

/* wanted: one field, or empty for all. */
static void show_entry_fields(const struct postconf *p, const struct master_entry *e,
                              struct span wanted)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (wanted.n == 0 || span_eq(wanted, SPAN_LIT("*")) ||
            span_eq(wanted, span_cstr(fields[i])))
            show_field(p, e, i);
}

static bool is_field(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (span_eq(name, span_cstr(fields[i])))
            return true;
    return name.n == 0 || span_eq(name, SPAN_LIT("*"));
}

int postconf_show_fields(const struct postconf *p, char **names, size_t count)
{
    for (size_t i = 0; i < master_cf_count(p->master); i++) {
        const struct master_entry *e = master_cf_at(p->master, i);
        struct span field = SPAN_NONE;

        if (count == 0)
            show_entry_fields(p, e, field);
        for (size_t n = 0; n < count; n++) {
            if (!is_selected(e, names[n], &field))
                continue;
            if (!is_field(field)) {
                log_error("%s: there is no such field of a service", names[n]);
                return 1;
            }
            show_entry_fields(p, e, field);
        }
    }
    warn_unmatched(p, names, count);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void show_entry_overrides(const struct postconf *p, const struct master_entry *e,
                                 struct span wanted)
{
    const char **sorted = mem_new_or_die((e->written_count + 1) * sizeof(*sorted));

    memcpy(sorted, e->written_overrides, e->written_count * sizeof(*sorted));
    qsort(sorted, e->written_count, sizeof(*sorted), by_text);
    for (size_t i = 0; i < e->written_count; i++) {
        struct span name, value;
        struct str label = {0}, text = {0};

        if (main_cf_split(span_cstr(sorted[i]), &name, &value) == NULL &&
            (wanted.n == 0 || span_eq(wanted, name))) {
            str_printf(&label, "%s/%s/%.*s", e->name, service_type_name(e->type), SPAN_ARG(name));
            str_append(&text, value);
            show_one(p, str_cstr(&label), str_cstr(&text));
        }
        str_fini(&label);
        str_fini(&text);
    }
    free(sorted);
}

int postconf_show_overrides(const struct postconf *p, char **names, size_t count)
{
    for (size_t i = 0; i < master_cf_count(p->master); i++) {
        const struct master_entry *e = master_cf_at(p->master, i);
        struct span parameter = SPAN_NONE;

        if (count == 0)
            show_entry_overrides(p, e, parameter);
        for (size_t n = 0; n < count; n++)
            if (is_selected(e, names[n], &parameter))
                show_entry_overrides(p, e, parameter);
    }
    warn_unmatched(p, names, count);
    return 0;
}
