/*
 * parse.h: taking an IMAP command's text apart (RFC 3501 9). A cursor over the
 * text; every function moves it behind what it took, or leaves it and returns
 * ERR_SYNTAX. Pure.
 */
#ifndef IMAPD_PARSE_H
#define IMAPD_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/span.h"

struct parse {
    struct span rest;
    struct arena *arena; /* quoted strings with escapes are unescaped there */
};

/* Exactly one space; the end of the command. */
bool parse_space(struct parse *p);
bool parse_end(const struct parse *p);
/* The octet c, if it comes next. */
bool parse_char(struct parse *p, char c);
/* An atom (no specials), such as a command's name. */
int parse_atom(struct parse *p, struct span *out);
/* tag = any ASTRING-CHAR but "+". */
int parse_tag(struct parse *p, struct span *out);
/* Quoted string or literal. */
int parse_string(struct parse *p, struct span *out);
/* string, or atom characters and "]". */
int parse_astring(struct parse *p, struct span *out);
/* string or NIL (out->p is NULL then). */
int parse_nstring(struct parse *p, struct span *out);
/* list-mailbox: a string, or atom characters, "]", "%" and "*". */
int parse_list_mailbox(struct parse *p, struct span *out);
/* A decimal number that fits in 32 bits; the second refuses 0. */
int parse_number(struct parse *p, uint32_t *out);
int parse_nz_number(struct parse *p, uint32_t *out);
int parse_number64(struct parse *p, uint64_t *out);
/* A word of the same letters whatever their case, not followed by an atom character. */
bool parse_word(struct parse *p, const char *word);

/* sequence-set: "1:4,7,*:9", as written: the ends in any order, "*" is 0. */
struct parse_range {
    uint32_t first, last;
};
struct parse_set {
    ARRAY(struct parse_range) ranges; /* free with array_free */
};
enum { PARSE_RANGES_MAX = 65536 };
int parse_sequence_set(struct parse *p, struct parse_set *out);

#endif
