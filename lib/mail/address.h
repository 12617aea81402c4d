/*
 * address.h: an address of the SMTP envelope (RFC 5321 4.1.2) and what travels
 * with it: paths, ESMTP parameters, xtext. Pure functions: no waits, no I/O.
 *
 * What a parser hands out either points into its input or is allocated in the
 * arena; both must outlive the address.
 */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "base/str.h"

enum address_flag {
    ADDRESS_NULL = 1 << 0,    /* the null sender <>: local and domain are empty */
    ADDRESS_QUOTED = 1 << 1,  /* the local part was written as a quoted string */
    ADDRESS_LITERAL = 1 << 2, /* the domain is an address literal, brackets included */
    ADDRESS_UTF8 = 1 << 3,    /* local part or domain holds 8-bit octets (RFC 6531) */
    ADDRESS_ROUTED = 1 << 4,  /* a source route stood in front and was dropped */
};

struct address {
    struct span local;  /* unquoted: may hold any octet but CR, LF and NUL */
    struct span domain; /* as written, without a final dot; empty when there is none */
    unsigned flags;
};

enum {
    ADDRESS_LOCAL_MAX = 64,   /* RFC 5321 4.5.3.1.1: checked when strict only */
    ADDRESS_DOMAIN_MAX = 255, /* RFC 5321 4.5.3.1.2 */
};

enum address_parse_flag {
    /* strict_rfc821_envelopes = yes: RFC 5321's grammar and nothing else. Without
     * it, as Postfix: the angle brackets may be missing, a display name and
     * comments may stand around, dots may stand anywhere in the local part. */
    ADDRESS_STRICT = 1 << 0,
    ADDRESS_ALLOW_UTF8 = 1 << 1,  /* SMTPUTF8 was asked for; 8-bit is ERR_SYNTAX otherwise,
                                   * and what is not UTF-8 always */
    ADDRESS_ALLOW_NULL = 1 << 2,  /* "<>" (MAIL FROM) */
    ADDRESS_NEED_DOMAIN = 1 << 3, /* refuse a bare local part other than postmaster */
};

/* Parse the path at the front of *text (leading blanks are skipped) and advance
 * *text behind it, where blanks and ESMTP parameters follow. flags: enum
 * address_parse_flag. 0, ERR_SYNTAX, ERR_TOO_LONG, -ENOMEM. */
int address_parse_path(struct arena *arena, struct span *text, unsigned flags, struct address *out);

/* The whole of text is one mailbox without angle brackets: "local@domain" in
 * RFC 5321 form (quotes honoured), as in tables and on command lines. */
int address_parse(struct arena *arena, struct span text, unsigned flags, struct address *out);

/* From an unquoted local part and a domain, as it stands in Postfix's internal
 * form; borrows both. The last '@' of text divides. */
void address_from_internal(struct span text, struct address *out);

/* Append in RFC 5321 form, the local part quoted only where it must be; the null
 * sender appends nothing. This is what stands between < and > on the wire and in
 * Postfix's log (info_log_address_format = external). */
int address_print(struct str *out, const struct address *a);
/* The same from text that is in this form already or in Postfix's internal form, as
 * addresses of the queue are. */
int address_print_text(struct str *out, struct span text);
/* Append Postfix's internal form: unquoted local part, '@', domain. */
int address_print_internal(struct str *out, const struct address *a);
/* The first as a string of the arena; NULL over its budget. */
char *address_text(struct arena *arena, const struct address *a);

/* Local parts octet by octet, domains without ASCII case. */
bool address_eq(const struct address *a, const struct address *b);

/* Split "user+extension" at the first octet of delimiters (recipient_delimiter).
 * False, with user = local and extension = SPAN_NONE, when there is none, when it
 * is the first octet, or for postmaster, mailer-daemon and double-bounce;
 * owner_request: "owner-x" and "x-request" are not split at '-'
 * (owner_request_special). */
bool address_split_extension(struct span local, struct span delimiters, bool owner_request,
                             struct span *user, struct span *extension);

/* An address literal "[192.0.2.1]", "[IPv6:2001:db8::1]": family AF_INET or
 * AF_INET6 and the address in network order (4 or 16 octets). A bare IPv6 address
 * without its tag is taken when lenient. ERR_SYNTAX otherwise. */
int address_literal_ip(struct span domain, bool lenient, int *family, uint8_t ip[16]);
/* A host or domain name: labels of letters, digits, hyphens (underscores when
 * lenient), 8-bit where allow_utf8; at most 63 octets a label and 255 in
 * all; not only digits (as Postfix: an address without brackets is none). */
bool address_is_domain(struct span name, bool lenient, bool allow_utf8);

/* Append the domain with A-labels (RFC 5891; lower case) or U-labels. Pure ASCII
 * without "xn--" is copied. ERR_SYNTAX when libidn2 refuses it. */
int address_domain_to_ascii(struct str *out, struct span domain);
int address_domain_to_unicode(struct str *out, struct span domain);

/* --- ESMTP parameters (RFC 5321 4.1.1.11) --- */

/* Take the next "KEYWORD[=value]" off *rest. True with keyword and value (p NULL
 * when there was no '='); false at the end, or when the text is not a parameter:
 * then *rest is not empty. */
bool esmtp_param_next(struct span *rest, struct span *keyword, struct span *value);

/* RFC 3461 4: xtext. Decoding: ERR_SYNTAX on a bad sequence. */
int xtext_encode(struct str *out, struct span text);
int xtext_decode(struct str *out, struct span xtext);

#endif
