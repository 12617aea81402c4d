/* imap_internal.h: what the files of the IMAP views share. */
#ifndef MAIL_IMAP_INTERNAL_H
#define MAIL_IMAP_INTERNAL_H

#include "base/arena.h"
#include "base/span.h"
#include "base/str.h"

/* A field's value as nstring, CR and LF left out, NUL as U+FFFD; scratch is overwritten. */
int imap_append_unfolded(struct str *out, struct span text, struct str *scratch);
/* Text for people (subject, display name): blanks squeezed, a literal where it is not
 * plain. */
int imap_append_text(struct str *out, struct span text, struct str *scratch);
/* imap_envelope with a working arena, which is not reset. */
int imap_append_envelope(struct arena *arena, struct str *out, struct span message);

#endif
