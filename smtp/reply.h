/* reply.h: a server's reply (RFC 5321 4.2): lines, code, enhanced status code. */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stdbool.h>

#include "base/str.h"
#include "mail/dsn.h"
#include "net/stream.h"

struct reply {
    unsigned code;         /* 200 to 599 */
    struct dsn_status dsn; /* given, or X.0.0 */
    struct str text;       /* all lines with their codes, joined by "\n" */
};

void reply_init(struct reply *r, struct budget *budget);
void reply_fini(struct reply *r);
/* Read one reply of at most limit octets in all; longer ones are cut, and what is
 * more than sixteen times as long is ERR_TOO_LONG. ERR_PROTOCOL: not a reply. Errors of
 * streams. */
TASK_WAITS int reply_read(struct reply *r, struct stream *s, size_t limit, deadline_t deadline);
/* The line of a multi-line reply that stands at the front of *rest, without its code. */
bool reply_next_line(struct span *rest, struct span *line);

/* --- pure, one line --- */

/* "250-text", "250 text", "250": code, whether more lines follow, and the text. */
int reply_parse_line(struct span line, unsigned *code, bool *more, struct span *text);

#endif
