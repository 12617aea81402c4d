/* retrieve.h: sending a stored message as POP3 wants it: dot-stuffed, CRLF, ended
 * by a line with a dot (RFC 1939 3). */
#ifndef POP3D_RETRIEVE_H
#define POP3D_RETRIEVE_H

#include <stdint.h>

#include "net/stream.h"
#include "store/store.h"

#define RETRIEVE_ALL UINT64_MAX

/* Send the header and body_lines lines of the body, after the answer line. Negative
 * after something was sent: the client must be dropped. patience_ms is for each piece:
 * a large message to a slow client may take much longer. */
TASK_WAITS int retrieve_send(struct stream *out, const struct store_body *body, uint64_t body_lines,
                             int64_t patience_ms);

/* The same of a message in memory. */
TASK_WAITS int retrieve_send_text(struct stream *out, struct span message, uint64_t body_lines,
                                  int64_t patience_ms);

/* The pure part, for tests: feed octets of the message, in pieces. */
struct retrieve_filter {
    uint64_t body_lines; /* still to send */
    bool is_body;
    bool is_line_start;
    bool is_line_empty; /* so far */
    bool has_cr;        /* the last octet was a CR */
    bool is_done;
};
void retrieve_filter_init(struct retrieve_filter *f, uint64_t body_lines);
int retrieve_filter_feed(struct retrieve_filter *f, struct span piece, struct str *out);
/* The final line end, if one is missing, and the dot. */
int retrieve_filter_end(struct retrieve_filter *f, struct str *out);

#endif
