#include "mail/token.h"

/* What an octet may be part of; 8-bit octets are both. */
enum { ATEXT = 1, MIME = 2 };

static const unsigned char classes[256] = {
    ['!'] = ATEXT | MIME,
    ['#'] = ATEXT | MIME,
    ['$'] = ATEXT | MIME,
    ['%'] = ATEXT | MIME,
    ['&'] = ATEXT | MIME,
    ['\''] = ATEXT | MIME,
    ['*'] = ATEXT | MIME,
    ['+'] = ATEXT | MIME,
    ['-'] = ATEXT | MIME,
    ['/'] = ATEXT,
    ['='] = ATEXT,
    ['?'] = ATEXT,
    ['^'] = ATEXT | MIME,
    ['_'] = ATEXT | MIME,
    ['`'] = ATEXT | MIME,
    ['{'] = ATEXT | MIME,
    ['|'] = ATEXT | MIME,
    ['}'] = ATEXT | MIME,
    ['~'] = ATEXT | MIME,
    ['.'] = MIME,
    ['0' ... '9'] = ATEXT | MIME,
    ['A' ... 'Z'] = ATEXT | MIME,
    ['a' ... 'z'] = ATEXT | MIME,
    [128 ... 255] = ATEXT | MIME,
};

bool token_is_atext(char c)
{
    return (classes[(unsigned char)c] & ATEXT) != 0;
}

bool token_is_mime(char c)
{
    return (classes[(unsigned char)c] & MIME) != 0;
}

static void append(struct str *out, const char *from, const char *to)
{
    const char *nul;

    /* A NUL cannot be shown in IMAP: it becomes U+FFFD. */
    while ((nul = memchr(from, '\0', (size_t)(to - from))) != NULL) {
        str_append(out, span_make(from, (size_t)(nul - from)));
        str_append(out, SPAN_LIT("\xef\xbf\xbd"));
        from = nul + 1;
    }
    str_append(out, span_make(from, (size_t)(to - from)));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* At '('. A comment's text keeps nested parentheses and loses backslashes. */
static int skip_comment(struct token_reader *r)
{
    unsigned level = 1;
    const char *start = ++r->p;

    if (r->comment != NULL)
        str_clear(r->comment);
    for (; r->p < r->end; r->p++) {
        if (*r->p == '(') {
            level++;
        } else if (*r->p == ')') {
            if (--level > 0)
                continue;
            if (r->comment != NULL)
                append(r->comment, start, r->p);
            r->p++;
            return !token_at_end(r);
        } else if (*r->p == '\\' || *r->p == '\n') {
            bool is_escape = *r->p == '\\';
            const char *stop = r->p;

            if (!is_escape && stop > start && stop[-1] == '\r')
                stop--;
            if (r->comment != NULL)
                append(r->comment, start, stop);
            start = r->p + 1;
            if (is_escape && ++r->p >= r->end)
                return -1;
        }
    }
    return -1;
}

int token_skip_blanks(struct token_reader *r)
{
    while (r->p < r->end) {
        if (is_blank(*r->p))
            r->p++;
        else if (*r->p != '(')
            break;
        else if (skip_comment(r) < 0)
            return -1;
    }
    return !token_at_end(r);
}

int token_atom(struct token_reader *r, struct str *out)
{
    const char *start = r->p;

    while (r->p < r->end && token_is_atext(*r->p))
        r->p++;
    if (r->p == start)
        return -1;
    append(out, start, r->p);
    return token_skip_blanks(r);
}

static int dot_atom(struct token_reader *r, struct str *out)
{
    if (token_at_end(r) || !token_is_atext(*r->p))
        return -1;
    for (;;) {
        const char *start = r->p;
        int left;

        while (r->p < r->end && token_is_atext(*r->p))
            r->p++;
        append(out, start, r->p);
        left = token_skip_blanks(r);
        if (left <= 0)
            return left;
        if (*r->p != '.')
            return 1;
        r->p++;
        str_append_char(out, '.');
        if (token_skip_blanks(r) <= 0 || !token_is_atext(*r->p))
            return -1;
    }
}

int token_loose_dot_atom(struct token_reader *r, struct str *out)
{
    int left = -1;

    do {
        while (*r->p == '.') {
            str_append_char(out, '.');
            r->p++;
            if (token_at_end(r))
                return 0;
            left = 1;
        }
        if (*r->p == '@')
            break;
        left = token_atom(r, out);
    } while (left > 0 && *r->p == '.');
    return left;
}

int token_quoted(struct token_reader *r, struct str *out)
{
    const char *start = ++r->p;

    for (; r->p < r->end; r->p++) {
        if (*r->p == '"') {
            append(out, start, r->p++);
            return token_skip_blanks(r);
        }
        if (*r->p == '\n') {
            const char *stop = r->p;

            if (stop > start && stop[-1] == '\r')
                stop--;
            append(out, start, stop);
            start = r->p + 1;
        } else if (*r->p == '\\') {
            if (r->p + 1 >= r->end) {
                r->p++;
                return -1;
            }
            append(out, start, r->p);
            start = ++r->p;
        }
    }
    return -1;
}

int token_mime(struct token_reader *r, struct str *out)
{
    const char *start = r->p;

    while (r->p < r->end && token_is_mime(*r->p))
        r->p++;
    append(out, start, r->p);
    return token_skip_blanks(r);
}

/* A run of atext and dots, which may be empty. */
static int word_or_dots(struct token_reader *r, struct str *out)
{
    const char *start = r->p;

    while (r->p < r->end && (token_is_atext(*r->p) || *r->p == '.'))
        r->p++;
    append(out, start, r->p);
    return token_skip_blanks(r);
}

int token_phrase(struct token_reader *r, struct str *out)
{
    if (token_at_end(r))
        return 0;
    if (*r->p == '.')
        return -1;
    for (;;) {
        int left = *r->p == '"' ? token_quoted(r, out) : word_or_dots(r, out);

        if (left <= 0)
            return left;
        if (!token_is_atext(*r->p) && *r->p != '"' && *r->p != '.')
            return token_skip_blanks(r);
        str_append_char(out, ' ');
    }
}

static int domain_literal(struct token_reader *r, struct str *out)
{
    const char *start = r->p;

    for (; r->p < r->end; r->p++) {
        if (*r->p == '\\') {
            if (++r->p >= r->end)
                break;
        } else if (*r->p == '[' && r->p > start) {
            return -1;
        } else if (*r->p == ']') {
            append(out, start, ++r->p);
            return token_skip_blanks(r);
        }
    }
    return -1;
}

int token_domain(struct token_reader *r, struct str *out)
{
    r->p++;
    if (token_skip_blanks(r) <= 0)
        return -1;
    return *r->p == '[' ? domain_literal(r, out) : dot_atom(r, out);
}
