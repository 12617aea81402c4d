#include "conf/files.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "conf/conf.h"
#include "conf/master_cf.h"
#include "conf/param.h"

/* Types of tables whose text is read at the start ... */
static const char *const text_types[] = {"texthash", "cidr", "pcre", "regexp"};
/* ... and those that are databases beside it. */
static const char *const database_types[] = {"hash", "btree", "lmdb"};
/* Lists in which "/name" is a file of patterns. */
static const char *const lists[] = {"mynetworks", "mydestination", "relay_domains",
                                    "virtual_alias_domains", "virtual_mailbox_domains"};
/* Parameters that end so name files. */
static const char *const file_suffixes[] = {"cert_file", "key_file", "_chain_files", "_CAfile"};

static bool is_among(struct span word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_eq(word, span_cstr(words[i])))
            return true;
    }
    return false;
}

/* smtpd_tls_chain_files hold keys, and so may a certificate's file. */
static bool names_secrets(struct span parameter)
{
    return !span_iends(parameter, SPAN_LIT("_CAfile"));
}

static bool names_files(struct span parameter)
{
    for (size_t i = 0; i < COUNT_OF(file_suffixes); i++) {
        if (span_iends(parameter, span_cstr(file_suffixes[i])))
            return true;
    }
    return false;
}

static int add(struct conf_files *out, struct span path, bool is_database)
{
    struct conf_file *file;
    struct str name = {0};
    int code = str_append(&name, path);

    if (code == 0 && is_database)
        code = str_append_cstr(&name, ".lmdb");
    for (size_t i = 0; code == 0 && i < out->list.len; i++) {
        if (span_eq(str_span(&name), span_cstr(out->list.items[i].path)))
            goto out;
    }
    file = code == 0 ? array_push(&out->list) : NULL;
    code = -ENOMEM;
    if (file != NULL) {
        file->is_database = is_database;
        file->path = mem_strdup(str_span(&name));
        if (file->path != NULL)
            code = 0;
        else
            out->list.len--;
    }
out:
    str_fini(&name);
    return code;
}

/* "hash:/path", "proxy:texthash:/path", "!/path". */
static int take_word(struct conf_files *out, struct span word, bool is_file_wanted)
{
    ptrdiff_t colon;

    while (word.n > 0 && word.p[0] == '!')
        word = span_drop(word, 1);
    if (word.n > 0 && word.p[0] == '/')
        return is_file_wanted ? add(out, word, false) : 0;
    if (span_starts(word, SPAN_LIT("proxy:")))
        word = span_drop(word, 6);
    colon = span_find(word, ':');
    if (colon < 0 || (size_t)colon + 1 >= word.n || word.p[colon + 1] != '/')
        return 0;
    if (is_among(span_take(word, (size_t)colon), text_types, COUNT_OF(text_types)))
        return add(out, span_drop(word, (size_t)colon + 1), false);
    if (is_among(span_take(word, (size_t)colon), database_types, COUNT_OF(database_types)))
        return add(out, span_drop(word, (size_t)colon + 1), true);
    return 0;
}

static int take_value(struct conf_files *out, struct span name, struct span value)
{
    bool is_tls = names_files(name);
    bool is_file_wanted = is_tls || is_among(name, lists, COUNT_OF(lists));
    size_t before = out->list.len;
    struct span word;
    int code = 0;

    /* Tables stand in restrictions and, in braces, in other tables. */
    while (code == 0 && span_token(&value, " ,\t\r\n{}", &word))
        code = take_word(out, word, is_file_wanted);
    for (size_t i = before; is_tls && i < out->list.len; i++)
        out->list.items[i].is_secret = names_secrets(name);
    return code;
}

static int take_parameters(struct conf_files *out, const struct conf *c)
{
    int code = 0;

    for (size_t i = 0; i < param_count() && code == 0; i++) {
        const struct param *p = param_at(i);
        const char *value =
            p->status == PARAM_HONOURED && (p->type == PARAM_STRING || p->type == PARAM_RAW)
                ? conf_lookup(c, span_cstr(p->name))
                : NULL;

        if (value != NULL)
            code = take_value(out, span_cstr(p->name), span_cstr(value));
    }
    /* Restriction classes, and parameters of single transports. */
    for (size_t i = 0; i < conf_setting_count(c) && code == 0; i++) {
        const struct conf_setting *setting = conf_setting_at(c, i);
        const char *value =
            setting->param == NULL ? conf_lookup(c, span_cstr(setting->name)) : NULL;

        if (value != NULL)
            code = take_value(out, span_cstr(setting->name), span_cstr(value));
    }
    return code;
}

static int take_overrides(struct conf_files *out, const struct conf *c,
                          const struct master_entry *entry)
{
    struct str value = {0}, why = {0};
    int code = 0;

    for (size_t i = 0; i < entry->override_count && code == 0; i++) {
        struct span rest = span_cstr(entry->overrides[i]), name;

        str_clear(&value);
        if (span_next(&rest, '=', &name) && conf_expand(c, rest, &value, &why) == 0)
            code = take_value(out, span_trim(name), str_span(&value));
    }
    str_fini(&value);
    str_fini(&why);
    return code;
}

int conf_files_find(const struct conf *c, const struct master_cf *m, struct conf_files *out)
{
    int code = take_parameters(out, c);

    for (size_t i = 0; m != NULL && i < master_cf_count(m) && code == 0; i++)
        code = take_overrides(out, c, master_cf_at(m, i));
    if (code == 0 && conf_string(c, "dns_servers")[0] == '\0')
        code = add(out, SPAN_LIT("/etc/resolv.conf"), false);
    return code;
}

void conf_files_fini(struct conf_files *files)
{
    for (size_t i = 0; i < files->list.len; i++)
        free(files->list.items[i].path);
    array_free(&files->list);
}
