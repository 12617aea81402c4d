/*
 * exchange.h: one SASL exchange, by GNU SASL, against a table of users. A step
 * hashes passwords and so runs on a worker; an exchange is one thread's at a
 * time.
 */
#ifndef AUTH_EXCHANGE_H
#define AUTH_EXCHANGE_H

#include "auth/passwd_file.h"
#include "base/str.h"

struct exchange;

/* Before the sandbox: GNU SASL loads its mechanisms. 0 or negative. */
int exchange_library_start(void);

enum exchange_result {
    EXCHANGE_CONTINUE,
    EXCHANGE_DONE,
    EXCHANGE_FAILED,      /* wrong name or password */
    EXCHANGE_BAD,         /* malformed, or no such mechanism */
    EXCHANGE_UNAVAILABLE, /* out of memory and the like */
};

/* default_realm is appended to user names without "@" when it is not empty.
 * EXCHANGE_CONTINUE, or EXCHANGE_BAD for a mechanism that is not in allowed. */
enum exchange_result exchange_new(struct exchange **out, struct span mechanism, struct span allowed,
                                  const char *default_realm);
void exchange_free(struct exchange *e);

/* One step; blocks. input NULL: the client sent no initial response. output is
 * what to send (not encoded); at EXCHANGE_DONE final server data or nothing. */
enum exchange_result exchange_step(struct exchange *e, struct passwd_table *users,
                                   const struct span *input, struct str *output);

/* After a step: the normalised name (also of a failure), the account and why it
 * failed. Borrowed from e. */
struct span exchange_user(const struct exchange *e);
struct span exchange_account(const struct exchange *e);
const char *exchange_reason(const struct exchange *e);

#endif
