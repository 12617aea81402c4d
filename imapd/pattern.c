#include "imapd/pattern.h"

#include "base/mem.h"

/* Where in the name the part of the pattern read so far can end. */
struct ends {
    unsigned char at[PATTERN_NAME_MAX + 1];
};

static void follow_wildcard(struct ends *e, struct span name, bool crosses_levels)
{
    bool is_open = false;

    for (size_t i = 0; i <= name.n; i++) {
        if (e->at[i])
            is_open = true;
        e->at[i] = is_open;
        if (!crosses_levels && i < name.n && name.p[i] == '/')
            is_open = false;
    }
}

static bool is_same(char a, char b, bool folds)
{
    return a == b || (folds && ascii_lower(a) == ascii_lower(b));
}

static void follow_char(struct ends *e, struct span name, char c, size_t folded)
{
    for (size_t i = name.n; i > 0; i--)
        e->at[i] = e->at[i - 1] && is_same(name.p[i - 1], c, i <= folded);
    e->at[0] = 0;
}

/* How much of the name is INBOX, whose case does not count. */
static size_t inbox_length(struct span name)
{
    const size_t n = SPAN_LIT("INBOX").n;

    if (!span_istarts(name, SPAN_LIT("INBOX")))
        return 0;
    return name.n == n || name.p[n] == '/' ? n : 0;
}

bool pattern_matches(struct span pattern, struct span name)
{
    struct ends e;
    size_t folded = inbox_length(name);

    if (name.n > PATTERN_NAME_MAX)
        return false;
    memset(e.at, 0, name.n + 1);
    e.at[0] = 1;
    for (size_t i = 0; i < pattern.n; i++) {
        char c = pattern.p[i];
        if (c == '*' || c == '%')
            follow_wildcard(&e, name, c == '*');
        else
            follow_char(&e, name, c, folded);
    }
    return e.at[name.n] != 0;
}
