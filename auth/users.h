/*
 * users.h: the credential store of auth(8): a passwd-file that is read again
 * when it changes. A changed file takes effect within a second and without a
 * reload; a file that cannot be read leaves the old table in force.
 */
#ifndef AUTH_USERS_H
#define AUTH_USERS_H

#include "auth/passwd_file.h"
#include "base/str.h"
#include "task/task.h"

struct users;

/* Opens the file's directory and reads the file. On failure *why says so. An
 * empty path gives an empty store. */
int users_open(struct users **out, const char *path, struct str *why);
/* The present table; the caller unrefs it. May read the file (on a worker). */
TASK_WAITS struct passwd_table *users_table(struct users *u);

#endif
