/*
 * BODY from BODYSTRUCTURE: the same text without the extension data (RFC 3501 7.4.2).
 * A BODYSTRUCTURE nests like the message; the levels are kept in an array, not on the
 * stack.
 */
#include "base/error.h"
#include "mail/imap.h"

/* Lists of structures inside each other: each part makes one. */
enum { LEVELS_MAX = 128 };

enum level {
    MULTIPART, /* inside "((part)(part) subtype ...": more parts or the subtype follow */
    MESSAGE,   /* behind the structure inside a message: the line count follows */
};

struct reader {
    struct span rest;
    struct str *out;
};

/* Length of a quoted string at the front, 0 when it does not end. */
static size_t quoted_length(struct span s)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            return i + 1;
    }
    return 0;
}

/* Length of "{n}CRLF" and the n octets behind it. */
static size_t literal_length(struct span s)
{
    ptrdiff_t brace = span_find(s, '}');
    uint64_t n;
    size_t head;

    if (brace < 0 || span_to_u64(span_make(s.p + 1, (size_t)brace - 1), &n) < 0)
        return 0;
    head = (size_t)brace + 3;
    return head > s.n || n > s.n - head ? 0 : head + (size_t)n;
}

/* Length of one item: string, atom, or list with all that is in it. 0: broken. */
static size_t item_length(struct span s)
{
    size_t i = 0, level = 0;

    do {
        size_t n = 1;

        if (i >= s.n)
            return 0;
        if (s.p[i] == '"')
            n = quoted_length(span_drop(s, i));
        else if (s.p[i] == '{')
            n = literal_length(span_drop(s, i));
        else if (s.p[i] == '(')
            level++;
        else if (s.p[i] == ')' && level > 0)
            level--;
        else if (s.p[i] != ' ' || level == 0)
            for (n = 0; i + n < s.n && strchr(" ()\"{", s.p[i + n]) == NULL;)
                n++;
        if (n == 0)
            return 0;
        i += n;
    } while (level > 0);
    return i;
}

static bool take(struct reader *r, char c)
{
    if (r->rest.n == 0 || r->rest.p[0] != c)
        return false;
    r->rest = span_drop(r->rest, 1);
    return true;
}

/* Copy the next item; *item is what it was. */
static bool copy_item(struct reader *r, struct span *item)
{
    size_t n = item_length(r->rest);

    if (n == 0)
        return false;
    *item = span_take(r->rest, n);
    r->rest = span_drop(r->rest, n);
    str_append(r->out, *item);
    return true;
}

static bool copy_next_item(struct reader *r, struct span *item)
{
    if (!take(r, ' '))
        return false;
    str_append_char(r->out, ' ');
    return copy_item(r, item);
}

/* Skip what is left of this list, its ')' included. */
static bool skip_to_end(struct reader *r)
{
    while (take(r, ' ')) {
        size_t n = item_length(r->rest);

        if (n == 0)
            return false;
        r->rest = span_drop(r->rest, n);
    }
    str_append_char(r->out, ')');
    return take(r, ')');
}

static bool is_word(struct span item, const char *word)
{
    return item.n == strlen(word) + 2 && item.p[0] == '"' &&
           span_ieq(span_make(item.p + 1, item.n - 2), span_cstr(word));
}

/* Copy a part that is no multipart, from its type on. *is_message: a structure follows. */
static bool copy_part(struct reader *r, bool *is_message)
{
    struct span type, subtype, item;
    bool is_good = copy_item(r, &type) && copy_next_item(r, &subtype);

    for (int i = 0; i < 5 && is_good; i++)
        is_good = copy_next_item(r, &item);
    if (!is_good)
        return false;
    *is_message = is_word(type, "message") && is_word(subtype, "rfc822") &&
                  span_starts(r->rest, SPAN_LIT(" ("));
    if (*is_message) {
        if (!copy_next_item(r, &item) || !take(r, ' '))
            return false;
        str_append_char(r->out, ' ');
        return true;
    }
    if (is_word(type, "text") && !copy_next_item(r, &item))
        return false;
    return skip_to_end(r);
}

int imap_body(struct str *out, struct span bodystructure)
{
    struct reader r = {.rest = bodystructure, .out = out};
    unsigned char levels[LEVELS_MAX];
    unsigned depth = 0;
    bool is_message;

    do {
        struct span item;

        if (depth > 0 && levels[depth - 1] == MULTIPART && !span_starts(r.rest, SPAN_LIT("("))) {
            if (!copy_next_item(&r, &item) || !skip_to_end(&r))
                return ERR_CORRUPT;
            depth--;
        } else if (!take(&r, '(') || depth == LEVELS_MAX) {
            return ERR_CORRUPT;
        } else {
            str_append_char(out, '(');
            if (span_starts(r.rest, SPAN_LIT("("))) {
                levels[depth++] = MULTIPART;
                continue;
            }
            if (!copy_part(&r, &is_message))
                return ERR_CORRUPT;
            if (is_message) {
                levels[depth++] = MESSAGE;
                continue;
            }
        }
        while (depth > 0 && levels[depth - 1] == MESSAGE) {
            if (!copy_next_item(&r, &item) || !skip_to_end(&r))
                return ERR_CORRUPT;
            depth--;
        }
    } while (depth > 0);
    return r.rest.n != 0 ? ERR_CORRUPT : str_error(out);
}
