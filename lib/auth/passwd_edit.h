/*
 * passwd_edit.h: change the text of a passwd-file. Lines that are not meant stay
 * octet for octet, also those that do not parse. Pure.
 */
#ifndef AUTH_PASSWD_EDIT_H
#define AUTH_PASSWD_EDIT_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"

/* A name that may be given to a user: up to 255 octets, no blanks, controls, ":"
 * or leading "#"; with "@", something on both sides of it. */
bool passwd_user_is_valid(struct span user);

/* Append text with a line for a new user to out. ERR_SYNTAX: the name, the account
 * or the password cannot stand in the file; ERR_EXISTS: the user is there;
 * ERR_DENIED: another user has that account. */
int passwd_edit_add(struct str *out, struct span text, struct span user, struct span password,
                    struct span account);
/* Append text with the user's password (already in "{SCHEME}data" form) changed.
 * ERR_NOT_FOUND, ERR_SYNTAX. */
int passwd_edit_password(struct str *out, struct span text, struct span user, struct span password);
/* Append text without the user's lines (a second one would come into force).
 * ERR_NOT_FOUND. */
int passwd_edit_remove(struct str *out, struct span text, struct span user);

/* The user who has an account: 0 with *user borrowed from text, ERR_NOT_FOUND. */
int passwd_account_user(struct span text, struct span account, struct span *user);

#endif
