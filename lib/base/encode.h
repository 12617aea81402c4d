/* encode.h: base64 (RFC 4648 4) and hexadecimal. */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H

#include "base/span.h"
#include "base/str.h"

/* Append without line breaks, with padding. 0 or str's error. */
int base64_encode(struct str *out, struct span data);
/* Strict: no blanks, right padding, zero trailing bits. ERR_SYNTAX otherwise;
 * out may then hold a part. */
int base64_decode(struct str *out, struct span text);
int hex_encode(struct str *out, struct span data);
int hex_decode(struct str *out, struct span text);
/* 0 to 15, or -1. */
int hex_digit(char c);

#endif
