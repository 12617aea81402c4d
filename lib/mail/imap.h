/*
 * imap.h: what IMAP says about a message (RFC 3501 7.4.2): ENVELOPE, BODY,
 * BODYSTRUCTURE, sections; strings and mailbox names on the wire; text search.
 * Pure: no waits, no I/O. Results for broken messages are Dovecot 2.3's.
 */
#ifndef MAIL_IMAP_H
#define MAIL_IMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/span.h"
#include "base/str.h"
#include "mail/mime.h"

/* --- fetch items --- */

/* Append the ENVELOPE of a message (its header is enough), parentheses included. */
int imap_envelope(struct str *out, struct span message);
/* Whether ENVELOPE is made from fields of this name. */
bool imap_is_envelope_field(struct span name);
/* Append all fields of such names as they stand in the message, in order, as a header of
 * its own, with the empty line: for them it reads as the message's header does. */
int imap_envelope_fields(struct str *out, struct span message);
/* Append the BODYSTRUCTURE (extended) of a parsed message, parentheses included. */
int imap_bodystructure(struct str *out, struct span message, const struct mime_part *root);
/* Append the BODY item (without extension data) made from a BODYSTRUCTURE that
 * imap_bodystructure wrote. ERR_CORRUPT when it is not one. */
int imap_body(struct str *out, struct span bodystructure);
/* Both at once, as the store caches them at delivery; scratch is an empty working arena,
 * the caller resets it. No message is impossible to describe: one that takes more than
 * scratch's budget or IMAP_DESCRIPTION_MAX octets is binary data from nobody. */
enum { IMAP_DESCRIPTION_MAX = 8 * 1024 * 1024 };
int imap_describe(struct arena *scratch, struct span message, struct str *envelope,
                  struct str *bodystructure);

/* --- sections --- */

enum imap_section_kind {
    IMAP_SECTION_ALL, /* "" or "1.2": the message, or a part's body */
    IMAP_SECTION_HEADER,
    IMAP_SECTION_TEXT,
    IMAP_SECTION_MIME,
    IMAP_SECTION_FIELDS,     /* HEADER.FIELDS */
    IMAP_SECTION_FIELDS_NOT, /* HEADER.FIELDS.NOT */
};

enum { IMAP_SECTION_DEPTH_MAX = 100 };

struct imap_section {
    enum imap_section_kind kind;
    unsigned depth;
    uint32_t *path;           /* part numbers, of the arena */
    ARRAY(struct span) names; /* of FIELDS; free with imap_section_free */
};

/* Parse what stands between [ and ]: "1.2.HEADER.FIELDS (Subject \"To\")". Field names
 * that came as literals may be appended to names by the caller instead. ERR_SYNTAX. */
int imap_section_parse(struct arena *arena, struct span text, struct imap_section *out);
void imap_section_free(struct imap_section *s);
/* Whether only the message's own header is needed to answer it. */
bool imap_section_is_header_only(const struct imap_section *s);

/* Where a section's text stands: pieces of the message in order; the last one may be
 * the constant CRLF that ends a list of fields. */
struct imap_ranges {
    ARRAY(struct span) items; /* free with array_free */
    struct mime_size size;    /* of all of them */
};
/* ERR_NOT_FOUND when the message has no such part; the answer is "" then, as Dovecot's. */
int imap_section_find(struct span message, const struct mime_part *root,
                      const struct imap_section *section, struct imap_ranges *out);
/* Append count octets from offset of the pieces as they are sent (virtual: bare LF
 * as CRLF, NUL as 0x80); UINT64_MAX means all. */
int imap_ranges_append(struct str *out, const struct imap_ranges *ranges, uint64_t offset,
                       uint64_t count);

/* --- strings on the wire --- */

/* Append NIL (p NULL), a quoted string, or a literal {n}CRLF... where quoting cannot
 * carry it: CR, LF, NUL, 8-bit, or more than four escapes. NUL becomes 0x80. */
int imap_append_nstring(struct str *out, struct span text);
/* The same, "" for p NULL. */
int imap_append_string(struct str *out, struct span text);
/* An atom where it can be one (RFC 3501 9), else a string: mailbox names in LIST. */
int imap_append_astring(struct str *out, struct span text);

/* Modified UTF-7 (RFC 3501 5.1.3). Decoding is strict: ERR_SYNTAX for anything but the
 * one right form; encoding: ERR_SYNTAX when name is not UTF-8. */
int imap_utf7_decode(struct str *out, struct span name);
int imap_utf7_encode(struct str *out, struct span name);

#endif
