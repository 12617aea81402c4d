/*
 * passwd_file.h: Dovecot's passwd-file:
 *     user:password:uid:gid:gecos:home:shell:extra fields
 * Lines that begin with "#" and empty ones are skipped; later fields may be
 * missing. Of the extra fields, userdb_account names the account; without it the
 * account's id is made from the user name. Those that restrict who may log in (nologin,
 * allow_nets, ...) bar the user: what Dovecot would refuse must not be let in.
 */
#ifndef AUTH_PASSWD_FILE_H
#define AUTH_PASSWD_FILE_H

#include <stddef.h>

#include "base/span.h"
#include "base/str.h"

struct passwd_entry {
    struct span user, password, account;
    struct span barred_by; /* the extra field for which nobody may log in; or empty */
};

/* An immutable table, counted by references (any thread). */
struct passwd_table;

/* text is copied. Bad lines are skipped and described in *problems, one a line
 * ("line 7: ..."). NULL without memory. */
struct passwd_table *passwd_table_parse(struct span text, struct str *problems);
struct passwd_table *passwd_table_ref(struct passwd_table *t);
void passwd_table_unref(struct passwd_table *t);
size_t passwd_table_count(const struct passwd_table *t);
/* Users compare without case. 0 or ERR_NOT_FOUND; borrowed from the table. */
int passwd_table_find(const struct passwd_table *t, struct span user, struct passwd_entry *entry);
/* Entry i in file order. */
void passwd_table_at(const struct passwd_table *t, size_t i, struct passwd_entry *entry);

/* Parse one line (without its newline). 0, ERR_SYNTAX, or ERR_NOT_FOUND for a
 * comment or empty line. entry->account is empty when the line has none. */
int passwd_line_parse(struct span line, struct passwd_entry *entry);

/* The account id for a user without userdb_account: the lower-cased name where it
 * is a valid id ("@" becomes "_at_"), else a hash of it. */
int passwd_default_account(struct str *out, struct span user);

/* An account id: [A-Za-z0-9._-]{1,64}, not beginning with a dot. */
bool passwd_account_is_valid(struct span account);

#endif
