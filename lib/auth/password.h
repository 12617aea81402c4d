/*
 * password.h: stored passwords in Dovecot's "{SCHEME}data" form.
 * Everything here burns CPU: services call it on a worker. Thread-safe.
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

/* Split "{SCHEME}data"; without a scheme it is CRYPT, as Dovecot's passwd-file has
 * it. */
void password_split(struct span stored, struct span *scheme, struct span *data);
bool password_scheme_is_known(struct span scheme);

/* 0 when it matches, ERR_DENIED when not, ERR_NOT_SUPPORTED for an unknown scheme,
 * ERR_SYNTAX for data that is none of its scheme. */
int password_verify(struct span stored, struct span password);

/* Append "{SCHEME}data" for a new password. ERR_NOT_SUPPORTED, -ENOMEM. Schemes:
 * PLAIN, SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, SCRAM-SHA-256, ARGON2ID. */
int password_make(struct str *out, struct span scheme, struct span password);

/* The verifier of {SCRAM-SHA-256}: "iterations,salt,StoredKey,ServerKey", the last
 * three in base64 (RFC 5802 3). All fields borrow from data. */
struct password_scram {
    uint32_t iterations;
    struct span salt, stored_key, server_key; /* base64 */
};
int password_parse_scram(struct span data, struct password_scram *scram);

#endif
