/*
 * charset.h: text in any charset of the allow-list to UTF-8. Broken sequences become
 * U+FFFD and never end the conversion. Safe on any thread: each converter belongs to
 * its user; the process-wide part is written once, at start.
 */
#ifndef MAIL_CHARSET_H
#define MAIL_CHARSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

/* Load the converters of the allow-list, before the sandbox and the first thread:
 * afterwards no file is opened. Without it they load at first use. Returns how many
 * charsets are available. */
int charset_preload(void);

/* Whether name (any case, with aliases) is on the allow-list. */
bool charset_is_known(struct span name);

/* Streaming: a sequence may be cut by the end of a piece. */
struct charset_decoder;
/* ERR_NOT_FOUND: not on the allow-list. -ENOMEM. An empty name is US-ASCII. */
int charset_decoder_new(struct span name, struct charset_decoder **out);
void charset_decoder_free(struct charset_decoder *d);
/* 0 or the string's error. */
int charset_decoder_feed(struct charset_decoder *d, struct span text, struct str *out);
int charset_decoder_finish(struct charset_decoder *d, struct str *out);

/* In one go. Unknown charset: ERR_NOT_FOUND, nothing appended. */
int charset_to_utf8(struct str *out, struct span name, struct span text);

/* Append text with what is not UTF-8 (RFC 3629) replaced by U+FFFD. */
int utf8_repair(struct str *out, struct span text);
bool utf8_is_valid(struct span text);
/* Take one code point off the front; -1 and one octet taken when it is not UTF-8. */
int32_t utf8_next(struct span *text);
/* Append one code point; U+FFFD for surrogates and beyond U+10FFFF. */
int utf8_append(struct str *out, uint32_t code_point);

#endif
