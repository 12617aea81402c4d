/*
 * data_reader.h: the message inside DATA or BDAT: line ends, dot-unstuffing and
 * the one thing that ends it. Pure: octets in, octets out.
 *
 *     for (;;)
 *         switch (data_next(&reader, &input, &text)) {
 *         case DATA_TEXT: use(text); break;    borrowed from input, or constant
 *         case DATA_MORE: read more input; break;
 *         case DATA_END:  done; input is what the client sent behind the message
 *         }
 *
 * Every line handed out ends with CRLF; a bare LF becomes one. With strict_end
 * (smtpd_forbid_bare_newline = normalize or reject) only CRLF "." CRLF ends a
 * message (RFC 5321 4.1.1.4), whatever other mail systems read into "\n.\n":
 * that is what SMTP smuggling lives on. A line of one dot that is no end loses its
 * dot like any other.
 */
#ifndef SMTPD_DATA_READER_H
#define SMTPD_DATA_READER_H

#include <stdbool.h>

#include "base/span.h"

enum data_event { DATA_TEXT, DATA_MORE, DATA_END };

struct data_reader {
    bool is_chunked;  /* BDAT: no dots, no end inside (RFC 3030) */
    bool strict_end;  /* only CRLF.CRLF ends */
    bool blank_stray; /* cleanup_replace_stray_cr_lf: a bare CR becomes a blank */
    bool saw_bare_lf; /* the client sent one */
    bool saw_bare_cr;
    /* private */
    enum { DATA_LINE_START, DATA_IN_LINE, DATA_AFTER_CR, DATA_AFTER_DOT, DATA_AFTER_DOT_CR } state;
    bool after_crlf;  /* the line before ended with CRLF */
    size_t stray_crs; /* CRs seen, not yet handed out */
};

/* The fields of the same names. */
void data_reader_init(struct data_reader *r, bool is_chunked, bool strict_end, bool blank_stray);
/* Take octets off *input and hand out the next text. */
enum data_event data_next(struct data_reader *r, struct span *input, struct span *text);
/* BDAT LAST: call until it returns DATA_END; hands out what ends the last line. */
enum data_event data_finish(struct data_reader *r, struct span *text);

#endif
