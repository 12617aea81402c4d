/*
 * span.h: a borrowed piece of text that may hold NUL and 8-bit octets.
 * Nothing here allocates or waits.
 */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *p;
    size_t n;
};

#define SPAN_LIT(literal) ((struct span){(literal), sizeof(literal) - 1})
#define SPAN_NONE ((struct span){NULL, 0})
/* For printf: "%.*s". */
#define SPAN_ARG(s) (int)(s).n, (s).p

static inline struct span span_make(const void *p, size_t n)
{
    return (struct span){p, n};
}

/* A span over a NUL-terminated string; NULL gives the empty span. */
static inline struct span span_cstr(const char *text)
{
    return (struct span){text, text ? strlen(text) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The first n octets (or all), and what is behind them. */
static inline struct span span_take(struct span s, size_t n)
{
    return (struct span){s.p, n < s.n ? n : s.n};
}

static inline struct span span_drop(struct span s, size_t n)
{
    if (n > s.n)
        n = s.n;
    return (struct span){s.p ? s.p + n : NULL, s.n - n};
}

/* ASCII case-insensitive comparisons; other octets compare as they are. */
bool span_ieq(struct span a, struct span b);
bool span_starts(struct span s, struct span prefix);
bool span_istarts(struct span s, struct span prefix);
bool span_iends(struct span s, struct span suffix);
/* memcmp order, shorter first on a tie. */
int span_cmp(struct span a, struct span b);
int span_icmp(struct span a, struct span b);

/* Index of the first (last) octet c, or -1. */
ptrdiff_t span_find(struct span s, char c);
ptrdiff_t span_rfind(struct span s, char c);
/* Index of needle, or -1; the second ignores ASCII case. */
ptrdiff_t span_search(struct span s, struct span needle);
ptrdiff_t span_isearch(struct span s, struct span needle);

/* Without leading and trailing blanks, tabs, CR and LF. */
struct span span_trim(struct span s);

/* Take the text up to sep off *rest (sep is dropped). False when *rest was
 * exhausted by an earlier call (its p is NULL then). */
bool span_next(struct span *rest, char sep, struct span *item);

/* Next token of a list separated by any octet of seps; empty tokens are
 * skipped. False at the end. */
bool span_token(struct span *rest, const char *seps, struct span *token);

/* Decimal digits only, the whole span. ERR_SYNTAX or -ERANGE on failure. */
int span_to_u64(struct span s, uint64_t *value);
int span_to_u32(struct span s, uint32_t *value);
/* An optional minus sign and decimal digits. */
int span_to_i64(struct span s, int64_t *value);

/* SipHash-2-4 with a key that is random per process: safe for tables keyed by
 * foreign input. The second folds ASCII case first. */
uint64_t span_hash(struct span s);
uint64_t span_ihash(struct span s);

/* How many octets at the front are ASCII. */
size_t span_ascii(struct span s);

static inline char ascii_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static inline char ascii_upper(char c)
{
    return (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Blank, tab, CR, LF, FF, VT. */
static inline bool ascii_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool ascii_is_print(char c)
{
    return (unsigned char)c >= 32 && (unsigned char)c < 127;
}

#endif
