/* check.c: see check.h. */
#include "conf/check.h"

#include <errno.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "conf/certificates.h"
#include "conf/conf.h"
#include "conf/expand.h"
#include "conf/main_cf.h"
#include "conf/master_cf.h"
#include "conf/param.h"
#include "conf/restrictions.h"

struct checker {
    const struct conf *c;
    const struct master_cf *m;
    struct conf_findings *findings;
    struct span wanted;                           /* is this name referred to ... */
    bool is_wanted;                               /* ... yes */
    struct str without_tls[TLS_USE_IMPLICIT + 1]; /* names of services, by what it costs */
};

/* Something that is set, and where. */
struct place {
    struct span name, value;
    unsigned line;
    const struct master_entry *entry; /* NULL: main.cf */
};

static int add(struct checker *k, enum conf_finding_kind kind, const struct place *at,
               const char *before, const char *behind)
{
    struct conf_finding *f = array_push(&k->findings->list);

    if (f == NULL)
        return -ENOMEM;
    f->kind = kind;
    /* Names of main.cf end with a NUL. */
    f->name = at->entry == NULL ? at->name.p : NULL;
    str_printf(&f->text, "%s/%s, line %u: %s", conf_directory(k->c),
               at->entry != NULL ? "master.cf" : "main.cf", at->line, before);
    str_printf(&f->text, "%s%.*s=%.*s%s", at->entry != NULL ? "-o " : "", SPAN_ARG(at->name),
               SPAN_ARG(at->value), behind);
    return str_error(&f->text);
}

/* --- who refers to a name --- */

static bool note_reference(void *arg, struct span name, struct span *value)
{
    struct checker *k = arg;

    if (span_eq(name, k->wanted))
        k->is_wanted = true;
    *value = SPAN_NONE;
    return false;
}

/* All names in text, also in branches that are not taken: a name may stand
 * anywhere behind "$", "${" or "$(". */
static bool refers(struct checker *k, struct span text)
{
    struct expand_source source = {note_reference, k, true};
    struct str out = {0}, why = {0};
    ptrdiff_t at;

    k->is_wanted = false;
    if (span_search(text, k->wanted) < 0)
        return false;
    while (!k->is_wanted && (at = span_find(text, '$')) >= 0) {
        text = span_drop(text, (size_t)at);
        str_clear(&out);
        str_clear(&why);
        (void)expand_text(&out, text, &source, &why);
        text = span_drop(text, 1);
    }
    str_fini(&out);
    str_fini(&why);
    return k->is_wanted;
}

static bool is_listed(struct span list, struct span name)
{
    struct span word;

    while (span_token(&list, ", \t\r\n", &word))
        if (span_eq(word, name))
            return true;
    return false;
}

/* A class of an entry's own: -o smtpd_restriction_classes=name. */
static bool is_listed_in_entry(struct checker *k, const struct master_entry *entry)
{
    struct span name, value;

    for (size_t i = 0; i < entry->override_count; i++)
        if (main_cf_split(span_cstr(entry->overrides[i]), &name, &value) == NULL &&
            span_eq(name, SPAN_LIT("smtpd_restriction_classes")) && is_listed(value, k->wanted))
            return true;
    return false;
}

static bool is_used_in_master(struct checker *k)
{
    for (size_t i = 0; k->m != NULL && i < master_cf_count(k->m); i++)
        if (refers(k, span_cstr(master_cf_at(k->m, i)->command_line)) ||
            is_listed_in_entry(k, master_cf_at(k->m, i)))
            return true;
    return false;
}

/* mysql:NAME and the like, whose settings are NAME_host and so on. */
static bool is_table_setting(struct checker *k, struct span name)
{
    static const char *const types[] = {"ldap:", "mysql:", "pgsql:", "sqlite:", "memcache:"};

    for (size_t i = 0; i < conf_setting_count(k->c); i++) {
        struct span rest = span_cstr(conf_setting_at(k->c, i)->value), word;

        while (span_token(&rest, ", \t\r\n", &word)) {
            if (span_starts(word, SPAN_LIT("proxy:")))
                word = span_drop(word, 6);
            for (size_t t = 0; t < COUNT_OF(types); t++) {
                struct span table = span_drop(word, strlen(types[t]));

                if (span_starts(word, span_cstr(types[t])) && table.n > 0 && name.n > table.n &&
                    span_starts(name, table) && name.p[table.n] == '_')
                    return true;
            }
        }
    }
    return false;
}

/* Is a name that has no row in use? */
static bool is_used(struct checker *k, struct span name)
{
    k->wanted = name;
    if (is_listed(span_cstr(conf_string(k->c, "smtpd_restriction_classes")), name))
        return true;
    for (size_t i = 0; i < conf_setting_count(k->c); i++)
        if (refers(k, span_cstr(conf_setting_at(k->c, i)->value)))
            return true;
    for (size_t i = 0; i < param_count(); i++)
        if (refers(k, span_cstr(param_at(i)->fallback)))
            return true;
    return is_used_in_master(k) || is_table_setting(k, name);
}

/* --- one setting --- */

static bool is_service(struct checker *k, struct span name)
{
    for (size_t i = 0; k->m != NULL && i < master_cf_count(k->m); i++)
        if (span_eq(name, span_cstr(master_cf_at(k->m, i)->name)))
            return true;
    return k->m == NULL;
}

/* The text of a row's default, expanded. */
static bool is_default(struct checker *k, const struct param *p, struct span value)
{
    struct str now = {0}, fallback = {0}, why = {0};
    bool is_same = conf_expand(k->c, value, &now, &why) == 0 &&
                   conf_expand(k->c, span_cstr(conf_default(k->c, p)), &fallback, &why) == 0;
    int64_t a, b;

    if (is_same) {
        is_same = span_eq(span_trim(str_span(&now)), span_trim(str_span(&fallback)));
        if (!is_same && (p->type == PARAM_TIME || p->type == PARAM_BOOL || p->type == PARAM_INT) &&
            param_parse(p, str_span(&now), &a, &why) == 0 &&
            param_parse(p, str_span(&fallback), &b, &why) == 0)
            is_same = a == b;
    }
    if (p->type == PARAM_RAW)
        is_same = span_eq(value, span_cstr(p->fallback));
    str_fini(&now);
    str_fini(&fallback);
    str_fini(&why);
    return is_same;
}

/* The first table in value of a type that Postfix has and this suite has not. */
static struct span find_foreign_table(struct span value)
{
    static const char *const types[] = {
        "mysql:", "pgsql:",   "ldap:", "sqlite:", "mongodb:", "regexp:",  "pcre:",     "tcp:",
        "nis:",   "nisplus:", "cdb:",  "dbm:",    "sdbm:",    "netinfo:", "memcache:", "socketmap:",
    };
    struct span word, table;

    while (span_token(&value, ", \t\r\n{}", &word)) {
        table = span_starts(word, SPAN_LIT("proxy:")) ? span_drop(word, 6) : word;
        for (size_t i = 0; i < COUNT_OF(types); i++) {
            if (span_starts(table, span_cstr(types[i])))
                return word;
        }
    }
    return SPAN_NONE;
}

/* A program that uses the parameter would not start: said here, with its line. */
static int check_tables(struct checker *k, const struct param *p, const struct place *at)
{
    struct str now = {0}, why = {0}, reason = {0};
    struct span table = SPAN_NONE;
    int error = 0;

    if (p->type == PARAM_STRING && conf_expand(k->c, at->value, &now, &why) == 0)
        table = find_foreign_table(str_span(&now));
    /* A default with such a table is done without it (smtpd_forbidden_commands). */
    if (table.p != NULL && (p->name[0] == '_' || !is_default(k, p, at->value))) {
        str_printf(&reason, ": tables of the type of %.*s are not supported", SPAN_ARG(table));
        error = add(k, CONF_RESTRICTS, at, "", str_cstr(&reason));
    }
    str_fini(&now);
    str_fini(&why);
    str_fini(&reason);
    return error;
}

static int check_setting(struct checker *k, const struct place *at)
{
    const struct param *p = param_find(at->name);
    struct span prefix;

    if (p == NULL) {
        p = param_pattern_find(at->name, &prefix);
        if (p != NULL && !is_service(k, prefix))
            p = NULL;
    }
    if (p == NULL)
        return is_used(k, at->name) ? 0 : add(k, CONF_UNKNOWN, at, "unused parameter: ", "");
    if (p->status == PARAM_NOT_HONOURED && !is_default(k, p, at->value))
        return add(k, CONF_NOT_HONOURED, at, "", ": not supported, and without effect");
    if (p->status == PARAM_RESTRICTS && !is_default(k, p, at->value))
        return add(k, CONF_RESTRICTS, at, "",
                   ": not supported, and ignoring it would let through what it stops");
    return p->status == PARAM_HONOURED ? check_tables(k, p, at) : 0;
}

static int check_overrides(struct checker *k, const struct master_entry *entry)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < entry->override_count; i++) {
        struct place at = {.line = entry->line, .entry = entry};

        if (main_cf_split(span_cstr(entry->overrides[i]), &at.name, &at.value) == NULL)
            error = check_setting(k, &at);
    }
    return error;
}

/* The restriction lists of an SMTP server, with its overrides on top. */
static int check_restrictions(struct checker *k, const struct master_entry *entry)
{
    struct conf *conf = NULL;
    struct conf_finding *f;
    struct str why = {0};
    int error = 0;

    if (strcmp(entry->command, "smtpd") != 0 || entry->taken_over_by != NULL)
        return 0;
    /* An overlay that cannot be made is reported when the entry is started. */
    if (conf_overlay(&conf, k->c, entry->overrides, entry->override_count, &why) == 0 &&
        restrictions_check_all(conf, &why) != 0) {
        f = array_push(&k->findings->list);
        if (f != NULL) {
            f->kind = CONF_RESTRICTS;
            str_printf(&f->text, "%s/master.cf, line %u: %s: %s", conf_directory(k->c), entry->line,
                       entry->name, str_cstr(&why));
        }
        error = f == NULL ? -ENOMEM : 0;
    }
    conf_free(conf);
    str_fini(&why);
    return error;
}

/* A start without a certificate is legal: ports without TLS work. */
static int check_certificate(struct checker *k, const struct master_entry *entry)
{
    const char *prefix = certificates_prefix(entry->command);
    struct conf *conf = NULL;
    struct str why = {0};
    enum tls_use use = TLS_USE_NONE;

    if (conf_overlay(&conf, k->c, entry->overrides, entry->override_count, &why) == 0 &&
        !certificates_are_named(conf, prefix))
        use = certificates_use(conf, entry);
    if (use != TLS_USE_NONE) {
        if (k->without_tls[use].len > 0)
            str_append_cstr(&k->without_tls[use], ", ");
        str_append_cstr(&k->without_tls[use], entry->name);
    }
    conf_free(conf);
    str_fini(&why);
    return str_error(&k->without_tls[use]);
}

/* One finding for all services: it is one certificate that they lack. */
static int report_certificates(struct checker *k)
{
    static const char *const consequences[] = {
        [TLS_USE_OFFERED] = "STARTTLS is not offered",
        [TLS_USE_DEMANDED] = "clients cannot send mail, as STARTTLS is demanded and not offered",
        [TLS_USE_IMPLICIT] = "connections are closed at once",
    };
    struct conf_finding *f = NULL;

    for (size_t use = TLS_USE_OFFERED; use <= TLS_USE_IMPLICIT; use++) {
        if (k->without_tls[use].len == 0)
            continue;
        if (f == NULL) {
            f = array_push(&k->findings->list);
            if (f == NULL)
                return -ENOMEM;
            f->kind = CONF_NO_TLS;
            str_printf(
                &f->text,
                "%s/main.cf: no certificate is configured, set smtpd_tls_chain_files, or "
                "smtpd_tls_cert_file and smtpd_tls_key_file; services that cannot serve TLS: ",
                conf_directory(k->c));
        } else {
            str_append_cstr(&f->text, "; ");
        }
        str_append(&f->text, str_span(&k->without_tls[use]));
        str_append_cstr(&f->text, " (");
        str_append_cstr(&f->text, consequences[use]);
        str_append_cstr(&f->text, ")");
    }
    return f == NULL ? 0 : str_error(&f->text);
}

int conf_check(const struct conf *c, const struct master_cf *m, struct conf_findings *findings)
{
    struct checker k = {.c = c, .m = m, .findings = findings};
    int error = 0;

    for (size_t i = 0; error == 0 && i < conf_setting_count(c); i++) {
        const struct conf_setting *s = conf_setting_at(c, i);
        struct place at = {span_cstr(s->name), span_cstr(s->value), s->line, NULL};

        if (s->line != 0)
            error = check_setting(&k, &at);
    }
    for (size_t i = 0; error == 0 && m != NULL && i < master_cf_count(m); i++)
        error = check_overrides(&k, master_cf_at(m, i));
    for (size_t i = 0; error == 0 && m != NULL && i < master_cf_count(m); i++)
        error = check_restrictions(&k, master_cf_at(m, i));
    for (size_t i = 0; error == 0 && m != NULL && i < master_cf_count(m); i++)
        error = check_certificate(&k, master_cf_at(m, i));
    if (error == 0)
        error = report_certificates(&k);
    for (size_t use = TLS_USE_NONE; use <= TLS_USE_IMPLICIT; use++)
        str_fini(&k.without_tls[use]);
    return error;
}

void conf_findings_fini(struct conf_findings *findings)
{
    for (size_t i = 0; i < findings->list.len; i++)
        str_fini(&findings->list.items[i].text);
    array_free(&findings->list);
}

size_t conf_findings_count(const struct conf_findings *findings, enum conf_finding_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < findings->list.len; i++)
        n += findings->list.items[i].kind == kind;
    return n;
}
