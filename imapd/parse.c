#include "imapd/parse.h"

#include <errno.h>

#include "base/error.h"

static bool is_atom_char(char c)
{
    unsigned char octet = (unsigned char)c;

    return octet > 32 && octet < 127 && strchr("(){%*\"\\]", c) == NULL;
}

bool parse_char(struct parse *p, char c)
{
    if (p->rest.n == 0 || p->rest.p[0] != c)
        return false;
    p->rest = span_drop(p->rest, 1);
    return true;
}

bool parse_space(struct parse *p)
{
    return parse_char(p, ' ');
}

bool parse_end(const struct parse *p)
{
    return p->rest.n == 0;
}

/* The longest run of atom characters and of those in also. */
static int take_run(struct parse *p, const char *also, struct span *out)
{
    size_t n = 0;

    while (n < p->rest.n && (is_atom_char(p->rest.p[n]) ||
                             (p->rest.p[n] != '\0' && strchr(also, p->rest.p[n]) != NULL)))
        n++;
    if (n == 0)
        return ERR_SYNTAX;
    *out = span_take(p->rest, n);
    p->rest = span_drop(p->rest, n);
    return 0;
}

int parse_atom(struct parse *p, struct span *out)
{
    return take_run(p, "", out);
}

int parse_tag(struct parse *p, struct span *out)
{
    struct parse before = *p;

    if (take_run(p, "]", out) < 0)
        return ERR_SYNTAX;
    if (span_find(*out, '+') >= 0) {
        *p = before;
        return ERR_SYNTAX;
    }
    return 0;
}

static int take_quoted(struct parse *p, struct span *out)
{
    struct span text = span_drop(p->rest, 1);
    size_t n = 0, length = 0;
    char *plain;

    while (n < text.n && text.p[n] != '"') {
        if (text.p[n] == '\r' || text.p[n] == '\n' || text.p[n] == '\0')
            return ERR_SYNTAX;
        if (text.p[n] == '\\') {
            n++;
            if (n >= text.n || (text.p[n] != '"' && text.p[n] != '\\'))
                return ERR_SYNTAX;
        }
        n++;
        length++;
    }
    if (n >= text.n)
        return ERR_SYNTAX;
    p->rest = span_drop(text, n + 1);
    text = span_take(text, n);
    if (length == n) {
        *out = text;
        return 0;
    }
    plain = arena_alloc(p->arena, length + 1);
    if (plain == NULL)
        return -ENOMEM;
    *out = span_make(plain, length);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\')
            i++;
        *plain++ = text.p[i];
    }
    return 0;
}

static int take_literal(struct parse *p, struct span *out)
{
    ptrdiff_t close = span_find(p->rest, '}');
    struct span digits, octets;
    uint64_t size;

    if (close < 2)
        return ERR_SYNTAX;
    digits = span_drop(span_take(p->rest, (size_t)close), 1);
    if (digits.p[digits.n - 1] == '+')
        digits.n--;
    octets = span_drop(p->rest, (size_t)close + 1);
    if (span_to_u64(digits, &size) < 0 || !span_starts(octets, SPAN_LIT("\r\n")) ||
        size > octets.n - 2)
        return ERR_SYNTAX;
    *out = span_take(span_drop(octets, 2), size);
    p->rest = span_drop(octets, 2 + size);
    return 0;
}

int parse_string(struct parse *p, struct span *out)
{
    if (p->rest.n > 0 && p->rest.p[0] == '"')
        return take_quoted(p, out);
    if (p->rest.n > 0 && p->rest.p[0] == '{')
        return take_literal(p, out);
    return ERR_SYNTAX;
}

static bool is_string_next(const struct parse *p)
{
    return p->rest.n > 0 && (p->rest.p[0] == '"' || p->rest.p[0] == '{');
}

int parse_astring(struct parse *p, struct span *out)
{
    return is_string_next(p) ? parse_string(p, out) : take_run(p, "]", out);
}

int parse_nstring(struct parse *p, struct span *out)
{
    if (is_string_next(p))
        return parse_string(p, out);
    if (!parse_word(p, "NIL"))
        return ERR_SYNTAX;
    *out = SPAN_NONE;
    return 0;
}

int parse_list_mailbox(struct parse *p, struct span *out)
{
    return is_string_next(p) ? parse_string(p, out) : take_run(p, "]%*", out);
}

int parse_number64(struct parse *p, uint64_t *out)
{
    size_t n = 0;

    while (n < p->rest.n && ascii_is_digit(p->rest.p[n]))
        n++;
    if (span_to_u64(span_take(p->rest, n), out) < 0)
        return ERR_SYNTAX;
    p->rest = span_drop(p->rest, n);
    return 0;
}

int parse_number(struct parse *p, uint32_t *out)
{
    struct parse before = *p;
    uint64_t wide;

    if (parse_number64(p, &wide) < 0)
        return ERR_SYNTAX;
    if (wide > UINT32_MAX) {
        *p = before;
        return ERR_SYNTAX;
    }
    *out = (uint32_t)wide;
    return 0;
}

int parse_nz_number(struct parse *p, uint32_t *out)
{
    struct parse before = *p;

    if (parse_number(p, out) == 0 && *out != 0)
        return 0;
    *p = before;
    return ERR_SYNTAX;
}

bool parse_word(struct parse *p, const char *word)
{
    struct span want = span_cstr(word);

    if (!span_istarts(p->rest, want) ||
        (p->rest.n > want.n && is_atom_char(p->rest.p[want.n]) && p->rest.p[want.n] != '['))
        return false;
    p->rest = span_drop(p->rest, want.n);
    return true;
}

static int parse_sequence_number(struct parse *p, uint32_t *out)
{
    if (parse_char(p, '*')) {
        *out = 0;
        return 0;
    }
    return parse_nz_number(p, out);
}

int parse_sequence_set(struct parse *p, struct parse_set *out)
{
    struct parse before = *p;
    uint32_t first, last;

    *out = (struct parse_set){0};
    do {
        struct parse_range *range;
        if (parse_sequence_number(p, &first) < 0)
            goto bad;
        last = first;
        if (parse_char(p, ':') && parse_sequence_number(p, &last) < 0)
            goto bad;
        if (out->ranges.len >= PARSE_RANGES_MAX || (range = array_push(&out->ranges)) == NULL)
            goto bad;
        *range = (struct parse_range){first, last};
    } while (parse_char(p, ','));
    return 0;
bad:
    array_free(&out->ranges);
    *p = before;
    return ERR_SYNTAX;
}
