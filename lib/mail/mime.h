/*
 * mime.h: the structure of a message (RFC 2045, RFC 2046), over a span and without
 * recursion. Broken input is read as Dovecot 2.3 reads it.
 *
 * One policy of sizes: offsets are octets of the span as it is stored ("physical").
 * Sizes come twice: physical, and as IMAP sends it ("virtual"), where a bare LF
 * counts as CRLF. Both are equal for messages with CRLF only, which is what the
 * store keeps.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "base/str.h"

/* --- Content-Type, Content-Disposition: value and parameters --- */

struct mime_param {
    struct span name;  /* as IMAP shows it: continuations joined, "name*" when extended */
    struct span value; /* unquoted; extended ones still encoded (RFC 2231 4) */
    struct mime_param *next;
};

struct mime_value {
    struct span type;    /* "text", or the disposition; p NULL when there is no field */
    struct span subtype; /* "plain"; p NULL for dispositions */
    struct mime_param *params;
    bool is_broken; /* did not parse: type and subtype are empty, there are no parameters */
};

/* At most so many parameters of a field are read. */
enum { MIME_PARAMS_MAX = 200 };

/* Parse "type/subtype; name=value; ..." (is_type) or "word; name=value": comments
 * dropped, RFC 2231 continuations joined. What does not parse is left out. 0 or -ENOMEM. */
int mime_value_parse(struct arena *arena, struct span value, bool is_type, struct mime_value *out);
/* The parameter with exactly this name (no ASCII case), or NULL. */
const struct mime_param *mime_value_find(const struct mime_value *v, struct span name);

/* --- structure --- */

struct mime_limits {
    unsigned depth_max; /* multiparts and messages inside each other; deeper: opaque */
    unsigned parts_max; /* parts in all; further ones belong to the last part's body */
};
/* What Dovecot uses: 100 and 10000. */
extern const struct mime_limits mime_limits_default;

enum mime_flag {
    MIME_MULTIPART = 1 << 0,
    MIME_DIGEST = 1 << 1,  /* multipart/digest */
    MIME_MESSAGE = 1 << 2, /* message/rfc822: one child, the message inside */
    MIME_TEXT = 1 << 3,    /* text/..., or no type at all */
    MIME_MIME = 1 << 4,    /* MIME fields count: MIME-Version: or Content-Type: was there */
    MIME_HAS_NUL = 1 << 5,
};

struct mime_size {
    uint64_t physical;
    uint64_t virtual_size;
    uint64_t lines; /* LF octets */
};

struct mime_part {
    struct mime_part *parent, *next, *children; /* next: sibling */
    unsigned flags;
    unsigned depth;          /* 0: the message itself */
    size_t offset;           /* of the part's header in the message */
    struct mime_size header; /* the empty line included */
    struct mime_size body;   /* begins where the header ends */
    struct mime_value type;  /* Content-Type */
    /* The raw (folded) values of the first such fields, p NULL when absent. Spans into the
     * message. */
    struct span transfer_encoding, disposition, id, description, md5, language, location;
};

/* Parse message; parts come from the arena. 0 or -ENOMEM. *root is the whole message.
 * Never fails on content. limits NULL: mime_limits_default. */
int mime_parse(struct arena *arena, struct span message, const struct mime_limits *limits,
               struct mime_part **root);

/* Header (with the empty line) and body of a part as spans of the message. */
struct span mime_part_header(struct span message, const struct mime_part *part);
struct span mime_part_body(struct span message, const struct mime_part *part);
/* The next part in the order they stand in the message, NULL at the end. */
const struct mime_part *mime_part_walk(const struct mime_part *part);

/* Physical and virtual size and lines of any text. */
struct mime_size mime_measure(struct span text);

/* --- content transfer encodings --- */

enum mime_encoding {
    MIME_IDENTITY, /* 7bit, 8bit, binary, none */
    MIME_QUOTED_PRINTABLE,
    MIME_BASE64,
    MIME_UNKNOWN, /* not to be decoded (RFC 2045 6.4) */
};
enum mime_encoding mime_encoding_parse(struct span value);

/* A streaming, tolerant decoder: feed pieces of any size, then finish. What is not of the
 * encoding is skipped (base64) or stays (quoted-printable). */
struct mime_decoder {
    enum mime_encoding encoding;
    uint32_t bits;     /* base64: collected bits */
    uint8_t count;     /* base64: collected digits */
    bool has_ended;    /* base64: padding was seen */
    uint8_t state;     /* quoted-printable: how much of "=X" or a soft break was read */
    char digit;        /* quoted-printable: the X */
    struct str blanks; /* quoted-printable: blanks that count only if text follows */
};
void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding);
void mime_decoder_fini(struct mime_decoder *d);
/* Append what text decodes to. 0 or the string's error. */
int mime_decoder_feed(struct mime_decoder *d, struct span text, struct str *out);
int mime_decoder_finish(struct mime_decoder *d, struct str *out);
/* In one go. */
int mime_decode(enum mime_encoding encoding, struct span text, struct str *out);

#endif
