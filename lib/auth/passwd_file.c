#include "auth/passwd_file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/encode.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"

enum { ACCOUNT_MAX = 64 };

struct row {
    struct hash_node node;
    struct passwd_entry entry;
    bool owns_account;
};

struct passwd_table {
    atomic_int references;
    char *text;
    struct hash by_user;
    ARRAY(struct row *) rows;
};

bool passwd_account_is_valid(struct span account)
{
    if (account.n == 0 || account.n > ACCOUNT_MAX || account.p[0] == '.')
        return false;
    for (size_t i = 0; i < account.n; i++) {
        char c = account.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

int passwd_default_account(struct str *out, struct span user)
{
    struct str name = {0};
    unsigned char digest[32];
    size_t size = sizeof(digest);
    int rc;

    for (size_t i = 0; i < user.n; i++) {
        if (user.p[i] == '@')
            str_append_cstr(&name, "_at_");
        else
            str_append_char(&name, ascii_lower(user.p[i]));
    }
    if (str_error(&name) == 0 && passwd_account_is_valid(str_span(&name))) {
        rc = str_append(out, str_span(&name));
    } else if (EVP_Q_digest(NULL, "SHA256", NULL, str_cstr(&name), name.len, digest, &size) == 1) {
        str_append_cstr(out, "h-");
        rc = hex_encode(out, span_make(digest, 24));
    } else {
        rc = ERR_NOT_SUPPORTED;
    }
    str_fini(&name);
    return rc;
}

/* Extra fields: name=value, separated by blanks, as in Dovecot. */
static struct span find_account(struct span extra)
{
    struct span field;

    while (span_token(&extra, " \t", &field)) {
        if (span_starts(field, SPAN_LIT("userdb_account=")))
            return span_drop(field, sizeof("userdb_account=") - 1);
    }
    return SPAN_NONE;
}

/* A field that asks for a check at login which is not made here, or for none to pass. */
static struct span find_restriction(struct span extra)
{
    static const char *const names[] = {
        "nologin", "allow_nets", "allow_real_nets", "proxy", "proxy_maybe", "host", "fail", "deny"};
    struct span field, name;

    while (span_token(&extra, " \t", &field)) {
        name = field;
        (void)span_next(&field, '=', &name);
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            if (span_ieq(name, span_cstr(names[i])))
                return name;
        }
    }
    return SPAN_NONE;
}

int passwd_line_parse(struct span line, struct passwd_entry *entry)
{
    struct span rest = line, skipped;

    *entry = (struct passwd_entry){0};
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        rest.n--;
    if (rest.n == 0 || rest.p[0] == '#')
        return ERR_NOT_FOUND;
    if (!span_next(&rest, ':', &entry->user) || entry->user.n == 0 ||
        span_find(entry->user, '\0') >= 0)
        return ERR_SYNTAX;
    if (!span_next(&rest, ':', &entry->password))
        return ERR_SYNTAX;
    for (int field = 0; field < 5; field++) /* uid gid gecos home shell */
        span_next(&rest, ':', &skipped);
    if (rest.p != NULL) {
        entry->account = find_account(rest);
        entry->barred_by = find_restriction(rest);
    }
    if (entry->account.n > 0 && !passwd_account_is_valid(entry->account))
        return ERR_SYNTAX;
    return 0;
}

static int complete_account(struct row *row)
{
    struct str account = {0};
    char *text;

    if (row->entry.account.n > 0)
        return 0;
    if (passwd_default_account(&account, row->entry.user) < 0 ||
        (text = str_steal(&account)) == NULL) {
        str_fini(&account);
        return ERR_SYNTAX;
    }
    row->entry.account = span_cstr(text);
    row->owns_account = true;
    return 0;
}

static struct row *find_row(const struct passwd_table *t, struct span user)
{
    for (struct hash_node *n = hash_first(&t->by_user, span_ihash(user)); n != NULL;
         n = hash_next(n)) {
        struct row *row = CONTAINER_OF(n, struct row, node);
        if (span_ieq(row->entry.user, user))
            return row;
    }
    return NULL;
}

static void free_row(struct row *row)
{
    if (row != NULL && row->owns_account)
        free((char *)row->entry.account.p);
    free(row);
}

/* NULL when it was added or is a comment, else why not. */
static const char *add_line(struct passwd_table *t, struct span line)
{
    struct row *row = NEW(struct row), **slot;
    const char *problem = "out of memory";
    int rc = row != NULL ? passwd_line_parse(line, &row->entry) : -ENOMEM;

    if (rc == 0)
        rc = complete_account(row);
    if (rc == ERR_NOT_FOUND)
        problem = NULL;
    else if (rc == ERR_SYNTAX)
        problem = "not a passwd-file line";
    else if (rc == 0 && find_row(t, row->entry.user) != NULL)
        problem = "the user is there already";
    else if (rc == 0 && hash_insert(&t->by_user, &row->node, span_ihash(row->entry.user)) == 0) {
        slot = array_push(&t->rows);
        if (slot != NULL) {
            *slot = row;
            return NULL;
        }
        hash_remove(&t->by_user, &row->node);
    }
    free_row(row);
    return problem;
}

struct passwd_table *passwd_table_parse(struct span text, struct str *problems)
{
    struct passwd_table *t = NEW(struct passwd_table);
    struct span rest, line;
    size_t number = 0;

    if (t == NULL)
        return NULL;
    atomic_init(&t->references, 1);
    t->text = mem_strdup(text);
    if (t->text == NULL) {
        free(t);
        return NULL;
    }
    rest = span_make(t->text, text.n);
    while (span_next(&rest, '\n', &line)) {
        const char *problem = add_line(t, line);
        number++;
        if (problem != NULL)
            str_printf(problems, "line %zu: %s\n", number, problem);
    }
    return t;
}

struct passwd_table *passwd_table_ref(struct passwd_table *t)
{
    atomic_fetch_add(&t->references, 1);
    return t;
}

void passwd_table_unref(struct passwd_table *t)
{
    if (t == NULL || atomic_fetch_sub(&t->references, 1) > 1)
        return;
    for (size_t i = 0; i < t->rows.len; i++) {
        free_row(t->rows.items[i]);
    }
    array_free(&t->rows);
    hash_fini(&t->by_user);
    explicit_bzero(t->text, strlen(t->text));
    free(t->text);
    free(t);
}

size_t passwd_table_count(const struct passwd_table *t)
{
    return t->rows.len;
}

int passwd_table_find(const struct passwd_table *t, struct span user, struct passwd_entry *entry)
{
    struct row *row = find_row(t, user);

    if (row == NULL)
        return ERR_NOT_FOUND;
    *entry = row->entry;
    return 0;
}

void passwd_table_at(const struct passwd_table *t, size_t i, struct passwd_entry *entry)
{
    *entry = t->rows.items[i]->entry;
}
