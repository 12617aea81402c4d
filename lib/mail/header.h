/*
 * header.h: the fields of a message header (RFC 5322 2.2), read over a span.
 * Lines end with CRLF or a bare LF, freely mixed. Nothing here allocates except
 * what is appended to a struct str; no waits, no I/O.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

struct header_field {
    struct span name;  /* without the colon and blanks before it; empty: a line without colon */
    struct span value; /* behind the colon and one run of blanks, without the final line
                        * break; folds are still inside */
    struct span raw;   /* the whole field as it stands, line breaks included */
};

/* A walk over the header at the front of a message or part:
 *     struct header_walk w = header_begin(message);
 *     while (header_next(&w, &field)) ...
 *     body = w.rest;
 * The header ends behind the first empty line, or where the text ends. A line
 * that is no field (no colon) is handed out with an empty name and does not end the
 * header, as in Dovecot. */
struct header_walk {
    struct span rest; /* what was not read yet; behind the header: the body */
    bool has_ended;   /* an empty line (or the end of the text) was seen */
    bool has_blank;   /* the header ended with an empty line */
};

struct header_walk header_begin(struct span message);
bool header_next(struct header_walk *w, struct header_field *field);

/* Octets of the header, the empty line included. */
size_t header_size(struct span message);

/* Append value with its encoded words (RFC 2047) decoded to UTF-8, folds undone.
 * What does not decode stays as it is; 8-bit that is not UTF-8 becomes U+FFFD. */
int header_decode(struct str *out, struct span value);

#endif
