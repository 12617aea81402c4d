/* cached.h: what the index keeps of messages so that nobody reads them again. */
#ifndef STORE_CACHED_H
#define STORE_CACHED_H

#include "base/span.h"
#include "base/str.h"

/* ENVELOPE and BODYSTRUCTURE of a message's octets. */
int cached_describe(struct span message, struct str *envelope, struct str *bodystructure);
/* imap_envelope_fields(), made in *text; empty when they are too many to be kept. */
struct span cached_fields(struct span message, struct str *text);

#endif
