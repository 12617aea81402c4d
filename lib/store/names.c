#include "store/names.h"

#include "base/error.h"

int name_normalise(struct str *out, struct span name)
{
    struct span inbox = SPAN_LIT("INBOX");

    if (name.n > 1 && name.p[name.n - 1] == '/')
        name.n--;
    if (span_istarts(name, inbox) && (name.n == inbox.n || name.p[inbox.n] == '/')) {
        str_append(out, inbox);
        name = span_drop(name, inbox.n);
    }
    return str_append(out, name);
}

/* The length of the UTF-8 character at s (RFC 3629), 0 when there is none or it is a
 * control character. */
static size_t character(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    uint32_t code;
    size_t n;

    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n)
        return 0;
    code = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < 0xa0 || (n == 3 && code < 0x800) || (n == 4 && code < 0x10000) || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff))
        return 0;
    /* Line and paragraph separators would break a line elsewhere. */
    return code == 0x2028 || code == 0x2029 ? 0 : n;
}

int name_check(struct span name, size_t length_limit, unsigned depth_limit)
{
    unsigned depth = 1;

    if (name.n == 0 || name.p[0] == '/' || name.p[name.n - 1] == '/')
        return ERR_SYNTAX;
    if (name.n > length_limit)
        return ERR_TOO_LONG;
    for (size_t i = 0; i < name.n;) {
        size_t n = character(span_drop(name, i));
        if (n == 0 || (name.p[i] == '/' && name.p[i - 1] == '/'))
            return ERR_SYNTAX;
        depth += name.p[i] == '/';
        i += n;
    }
    return depth > depth_limit ? ERR_TOO_LONG : 0;
}

bool name_is_below(struct span name, struct span parent)
{
    return name.n > parent.n && name.p[parent.n] == '/' && span_starts(name, parent);
}

bool name_is_special_use(struct span use)
{
    static const char *const uses[] = {"\\All",  "\\Archive", "\\Drafts", "\\Flagged",
                                       "\\Junk", "\\Sent",    "\\Trash",  "\\Important"};

    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        if (span_ieq(use, span_cstr(uses[i])))
            return true;
    }
    return false;
}

struct span name_special_use(struct span name)
{
    static const struct {
        const char *name, *use;
    } usual[] = {{"Drafts", "\\Drafts"},  {"Sent", "\\Sent"}, {"Sent Messages", "\\Sent"},
                 {"Trash", "\\Trash"},    {"Junk", "\\Junk"}, {"Spam", "\\Junk"},
                 {"Archive", "\\Archive"}};

    for (size_t i = 0; i < COUNT_OF(usual); i++) {
        if (span_eq(name, span_cstr(usual[i].name)))
            return span_cstr(usual[i].use);
    }
    return span_make("", 0);
}
