/*
 * casemap.h: i;unicode-casemap (RFC 5051): titlecase and full decomposition, so that
 * equal texts become equal octets.
 */
#ifndef MAIL_CASEMAP_H
#define MAIL_CASEMAP_H

#include "base/span.h"
#include "base/str.h"

/* Append the folded form of UTF-8 text; what is not UTF-8 becomes U+FFFD. Works piece by
 * piece as long as pieces end between characters. */
int casemap_fold(struct str *out, struct span text);

#endif
