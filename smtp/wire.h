/*
 * wire.h: content as it goes out after DATA (RFC 5321 4.5.2): dots stuffed, long lines
 * broken, and nothing that another implementation could read as the end of the data.
 * Pure. The octets are looked at here once more, whatever their extents' flags say.
 */
#ifndef SMTP_WIRE_H
#define SMTP_WIRE_H

#include <stdbool.h>

#include "base/str.h"

struct wire {
    size_t line_limit; /* 0: none */
    size_t column;     /* octets of the present line */
    bool after_cr;
};

/* How many octets at the front of a piece are whole lines that go out as they are. */
size_t wire_plain(const struct wire *w, struct span in);
/* Append a piece of content. A CR or LF alone and a NUL at the start of a line become
 * a blank; a line over the limit goes on behind CRLF and a blank. 0 or str's error. */
int wire_encode(struct wire *w, struct span in, struct str *out);
/* The end of the last line, if it has none, and of the data. */
int wire_end(struct wire *w, struct str *out);

#endif
