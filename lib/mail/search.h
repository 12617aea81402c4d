/*
 * search.h: SEARCH over decoded text (RFC 3501 6.4.4): headers with encoded words
 * decoded, text parts with transfer encoding and charset undone, both folded with
 * casemap.h. Works in pieces: no copy of a whole part is made. No waits; costs CPU in
 * proportion to the message, so offload it for large ones.
 */
#ifndef MAIL_SEARCH_H
#define MAIL_SEARCH_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"
#include "mail/mime.h"

/* A key: folded needle and its skip table. */
struct search_needle;
/* text is UTF-8. Free with search_needle_free. 0, -ENOMEM, ERR_TOO_LONG (over 4 KiB). */
int search_needle_new(struct span text, struct search_needle **out);
void search_needle_free(struct search_needle *n);

/* 1 when found, 0 when not, negative on -ENOMEM. An empty needle matches where the
 * thing searched exists. root: the parsed message. budget may be NULL. */
/* HEADER name (also SUBJECT, FROM, ...): any field of that name; with an empty needle:
 * the field is there. */
int search_header(struct span message, struct span name, const struct search_needle *n,
                  struct budget *budget);
/* BODY: the text of all text and message parts. */
int search_body(struct span message, const struct mime_part *root, const struct search_needle *n,
                struct budget *budget);
/* TEXT: the header, and BODY. */
int search_text(struct span message, const struct mime_part *root, const struct search_needle *n,
                struct budget *budget);

#endif
