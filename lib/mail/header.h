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
/* An mbox "From " line (or ">From ") in front of a message as sendmail and procmail
 * make it; 0 when there is none, else its length with the line break. */
size_t header_mbox_line(struct span message);

/* The nth field (0 is the first) of that name. */
bool header_find(struct span message, struct span name, unsigned nth, struct header_field *field);

/* Append the value with folds undone: a line break and the blanks behind it become
 * what RFC 5322 2.2.3 says (the line break goes, the blanks stay). */
int header_unfold(struct str *out, struct span value);
/* The same with each fold (line break + blanks) as one blank. */
int header_unfold_compact(struct str *out, struct span value);

/* Append value with its encoded words (RFC 2047) decoded to UTF-8, folds undone.
 * What does not decode stays as it is; 8-bit that is not UTF-8 becomes U+FFFD. */
int header_decode(struct str *out, struct span value);

/* --- writing --- */

/* Octets a folded line should not exceed (RFC 5322 2.1.1). */
enum { HEADER_LINE_SOFT = 78, HEADER_LINE_MAX = 998 };

/* Append "Name: value" CRLF, folded at blanks where a line would exceed
 * HEADER_LINE_SOFT; CR, LF and NUL in value become blanks. */
int header_append(struct str *out, struct span name, struct span value);
/* UTF-8 text as encoded words (RFC 2047 base64) where it is not plain ASCII;
 * otherwise appended as it is. For names and subjects made by us. */
int header_encode(struct str *out, struct span text);

/* --- what intake asks --- */

/* Whether a Delivered-To: (or X-Original-To:, name says) field has this address, case
 * ignored: mail loop detection. At most max_fields fields are looked at. */
bool header_has_address(struct span message, struct span name, struct span address,
                        unsigned max_fields);
/* Fields of that name, at most max counted: hop count of Received:. */
unsigned header_count(struct span message, struct span name, unsigned max);
/* Append a fresh "<unique@host>" (RFC 5322 3.6.4): seconds and 64 random bits are
 * arguments, so that this stays pure. */
int header_message_id(struct str *out, int64_t now_s, uint64_t unique, struct span host);

#endif
