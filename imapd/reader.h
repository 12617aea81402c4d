/*
 * reader.h: reading IMAP commands: lines and literals (RFC 3501 4.3, LITERAL+ of
 * RFC 7888) into one text that parse.h takes apart. The text holds literals as
 * they came: "{5}" CRLF and five octets.
 */
#ifndef IMAPD_READER_H
#define IMAPD_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "net/stream.h"

struct reader {
    struct stream *stream;
    struct str text;      /* the command so far, without its last CRLF */
    size_t line_limit;    /* octets of all lines of a command */
    size_t literal_limit; /* octets of all literals kept in memory */
    size_t lines, literals;
    /* What the last line ended with. */
    bool has_literal;
    bool is_synchronising; /* {n}, not {n+} */
    bool is_binary;        /* ~{n} (RFC 3516) */
    uint64_t literal_size;
};

/* Borrows stream; the text draws on budget. Limits in octets: of a line, and of a literal
 * that is taken into memory. */
void reader_init(struct reader *r, struct stream *stream, struct budget *budget, size_t line_limit,
                 size_t literal_limit);
void reader_fini(struct reader *r);
/* Forget the command. */
void reader_clear(struct reader *r);

/* Add the next line to the text. If it ends with a literal's size, has_literal is
 * set and the caller goes on with reader_take_literal(), reader_skip_rest() or
 * reads the octets from the stream itself; then with the next line. ERR_TOO_LONG: the
 * line was skipped; what the stream gives otherwise. */
TASK_WAITS int reader_line(struct reader *r, deadline_t deadline);
/* Ask for the literal if the client waits for that, and add it to the text.
 * ERR_LIMIT when it is over literal_limit (nothing was read or asked for). */
TASK_WAITS int reader_take_literal(struct reader *r, deadline_t deadline);

/* Read and drop what the client sends of this command without being asked, when it was
 * answered before its end: a literal that is pending, and what follows it. */
TASK_WAITS int reader_skip_rest(struct reader *r, deadline_t deadline);

/* The whole command with all its literals in memory. ERR_LIMIT: a literal is too
 * large: answered by the caller, rest skipped. */
TASK_WAITS int reader_command(struct reader *r, deadline_t deadline);

#endif
