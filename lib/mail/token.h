/*
 * token.h: the lexical tokens of RFC 5322 and RFC 2045, read leniently: shared by the
 * parsers of this library. A reader moves over borrowed text.
 *
 * Functions return 1 when a token was read and text is left, 0 when the text ended behind
 * it, -1 when it does not parse; the reader then stands where the error was noticed.
 * Tokens are appended to a struct str (its error sticks and is the caller's to check).
 */
#ifndef MAIL_TOKEN_H
#define MAIL_TOKEN_H

#include <stdbool.h>

#include "base/span.h"
#include "base/str.h"

struct token_reader {
    const char *p, *end;
    struct str *comment; /* gets the text of the last comment; may be NULL */
};

static inline struct token_reader token_begin(struct span text)
{
    const char *p = text.p != NULL ? text.p : "";

    return (struct token_reader){p, p + text.n, NULL};
}

static inline bool token_at_end(const struct token_reader *r)
{
    return r->p >= r->end;
}

/* atext of RFC 5322 3.2.3, and any 8-bit octet. */
bool token_is_atext(char c);
/* A token octet of RFC 2045 5.1 ('.' included), and any 8-bit octet. */
bool token_is_mime(char c);

/* Skip folding white space and comments. */
int token_skip_blanks(struct token_reader *r);
/* atom, dot-atom (blanks around dots are tolerated), quoted-string (at '"'; folds
 * dropped), MIME token (may be empty). Each skips the blanks behind it. */
int token_atom(struct token_reader *r, struct str *out);
/* Atoms and dots in any order; text must be left. */
int token_loose_dot_atom(struct token_reader *r, struct str *out);
int token_quoted(struct token_reader *r, struct str *out);
int token_mime(struct token_reader *r, struct str *out);
/* phrase: words and dots, joined with one blank each. */
int token_phrase(struct token_reader *r, struct str *out);
/* At '@': domain or domain literal. */
int token_domain(struct token_reader *r, struct str *out);

#endif
