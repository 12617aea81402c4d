/* Addresses of the SMTP envelope: parsing (RFC 5321 4.1.2). */
#include "mail/address.h"

#include <errno.h>

#include "base/error.h"
#include "mail/charset.h"
#include "mail/token.h"

/* --- paths --- */

static bool is_ctl(char c)
{
    return (unsigned char)c < 32 || c == 127;
}

/* Index of the first c outside of quotes, from start on; -1. */
static ptrdiff_t find_unquoted(struct span s, size_t start, char c)
{
    bool in_quotes = false;

    for (size_t i = start; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n)
            i++;
        else if (s.p[i] == '"')
            in_quotes = !in_quotes;
        else if (s.p[i] == c && !in_quotes)
            return (ptrdiff_t)i;
    }
    return -1;
}

/* The '@' that divides: the last one outside of quotes. */
static ptrdiff_t find_at(struct span s)
{
    ptrdiff_t at = -1, next = find_unquoted(s, 0, '@');

    while (next >= 0) {
        at = next;
        next = find_unquoted(s, (size_t)next + 1, '@');
    }
    return at;
}

/* "@one,@two:" off the front (RFC 5321 C; ignored). */
static int drop_route(struct span *s, struct address *out)
{
    ptrdiff_t colon;

    if (s->n == 0 || s->p[0] != '@')
        return 0;
    colon = find_unquoted(*s, 0, ':');
    if (colon < 0)
        return ERR_SYNTAX;
    *s = span_drop(*s, (size_t)colon + 1);
    out->flags |= ADDRESS_ROUTED;
    return 0;
}

/* Dot-string of RFC 5321 4.1.2: atoms with single dots between. */
static bool is_dot_string(struct span local)
{
    bool after_dot = true;

    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] == '.' ? after_dot : !token_is_atext(local.p[i]))
            return false;
        after_dot = local.p[i] == '.';
    }
    return !after_dot;
}

/* A local part with quotes in it: the quotes and backslashes go. Strict: one quoted string
 * and nothing else. */
static int unquote_local(struct arena *arena, struct span text, bool is_strict, struct address *out)
{
    struct str local;
    bool in_quotes = false;
    int error;

    if (is_strict && (text.n < 2 || text.p[0] != '"' || text.p[text.n - 1] != '"'))
        return ERR_SYNTAX;
    str_init(&local, arena->budget);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\' && i + 1 < text.n) {
            str_append_char(&local, text.p[++i]);
        } else if (text.p[i] == '"') {
            in_quotes = !in_quotes;
            if (is_strict && !in_quotes && i + 1 < text.n)
                break;
        } else {
            str_append_char(&local, text.p[i]);
        }
    }
    out->flags |= ADDRESS_QUOTED;
    error = in_quotes || (is_strict && text.p[text.n - 1] != '"') ? ERR_SYNTAX : str_error(&local);
    if (error == 0)
        error = arena_copy(arena, str_span(&local), &out->local);
    str_fini(&local);
    return error;
}

static int parse_local(struct arena *arena, struct span text, unsigned flags, struct address *out)
{
    bool is_strict = (flags & ADDRESS_STRICT) != 0;

    for (size_t i = 0; i < text.n; i++)
        if (is_ctl(text.p[i]))
            return ERR_SYNTAX;
    if (memchr(text.p, '"', text.n) != NULL || memchr(text.p, '\\', text.n) != NULL)
        return unquote_local(arena, text, is_strict, out);
    if (is_strict && !is_dot_string(text))
        return ERR_SYNTAX;
    if (memchr(text.p, ' ', text.n) != NULL)
        return ERR_SYNTAX;
    out->local = text;
    return text.n == 0 ? ERR_SYNTAX : 0;
}

static int parse_domain(struct span text, unsigned flags, struct address *out)
{
    bool is_strict = (flags & ADDRESS_STRICT) != 0;

    if (text.n > 0 && text.p[text.n - 1] == '.' && !is_strict)
        text.n--;
    if (text.n > ADDRESS_DOMAIN_MAX)
        return ERR_TOO_LONG;
    out->domain = text;
    if (text.n > 0 && text.p[0] == '[') {
        int family;
        uint8_t ip[16];

        out->flags |= ADDRESS_LITERAL;
        return address_literal_ip(text, !is_strict, &family, ip);
    }
    return address_is_domain(text, !is_strict, true) ? 0 : ERR_SYNTAX;
}

static bool has_8bit(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] >= 0x80)
            return true;
    return false;
}

/* What stands between the angle brackets. */
static int parse_mailbox(struct arena *arena, struct span text, unsigned flags, struct address *out)
{
    bool is_strict = (flags & ADDRESS_STRICT) != 0;
    struct span local;
    ptrdiff_t at;
    int error;

    *out = (struct address){.local = SPAN_LIT(""), .domain = SPAN_LIT("")};
    if (!is_strict)
        text = span_trim(text);
    if (text.n == 0) {
        out->flags = ADDRESS_NULL;
        return (flags & ADDRESS_ALLOW_NULL) != 0 ? 0 : ERR_SYNTAX;
    }
    error = drop_route(&text, out);
    if (error < 0)
        return error;
    if (has_8bit(text)) {
        if ((flags & ADDRESS_ALLOW_UTF8) == 0 || !utf8_is_valid(text))
            return ERR_SYNTAX;
        out->flags |= ADDRESS_UTF8;
    }
    at = find_at(text);
    local = at < 0 ? text : span_take(text, (size_t)at);
    error = parse_local(arena, local, flags, out);
    if (error < 0)
        return error;
    if (is_strict && local.n > ADDRESS_LOCAL_MAX)
        return ERR_TOO_LONG;
    if (at >= 0)
        return parse_domain(span_drop(text, (size_t)at + 1), flags, out);
    if ((is_strict || (flags & ADDRESS_NEED_DOMAIN) != 0) &&
        !span_ieq(out->local, SPAN_LIT("postmaster")))
        return ERR_SYNTAX;
    return 0;
}

/* A display name or comment may stand in front of '<' (and a comment behind '>'): what
 * Postfix tolerates without strict_rfc821_envelopes. Returns where '<' is; -1. */
static ptrdiff_t find_bracket(struct span text, bool is_strict)
{
    ptrdiff_t bracket;

    if (text.n > 0 && text.p[0] == '<')
        return 0;
    if (is_strict)
        return -1;
    bracket = find_unquoted(text, 0, '<');
    /* "user@host SIZE=1" has none; a '<' in a later parameter's value is not ours. */
    if (bracket > 0 && memchr(text.p, '=', (size_t)bracket) != NULL)
        return -1;
    return bracket;
}

int address_parse_path(struct arena *arena, struct span *text, unsigned flags, struct address *out)
{
    bool is_strict = (flags & ADDRESS_STRICT) != 0;
    struct span rest = *text, inside;
    ptrdiff_t bracket, end;
    int error;

    *out = (struct address){0};
    while (rest.n > 0 && rest.p[0] == ' ')
        rest = span_drop(rest, 1);
    bracket = find_bracket(rest, is_strict);
    if (bracket >= 0) {
        rest = span_drop(rest, (size_t)bracket + 1);
        end = find_unquoted(rest, 0, '>');
        if (end < 0)
            return ERR_SYNTAX;
        inside = span_take(rest, (size_t)end);
        rest = span_drop(rest, (size_t)end + 1);
    } else {
        if (is_strict || rest.n == 0)
            return ERR_SYNTAX;
        end = find_unquoted(rest, 0, ' ');
        inside = end < 0 ? rest : span_take(rest, (size_t)end);
        rest = span_drop(rest, inside.n);
    }
    if (rest.n > 0 && rest.p[0] != ' ')
        return ERR_SYNTAX;
    error = parse_mailbox(arena, inside, flags, out);
    if (error == 0)
        *text = rest;
    return error;
}

int address_parse(struct arena *arena, struct span text, unsigned flags, struct address *out)
{
    return parse_mailbox(arena, text, flags, out);
}

void address_from_internal(struct span text, struct address *out)
{
    ptrdiff_t at = span_rfind(text, '@');

    *out = (struct address){.local = text, .domain = SPAN_LIT("")};
    if (text.n == 0)
        out->flags = ADDRESS_NULL;
    if (has_8bit(text))
        out->flags |= ADDRESS_UTF8;
    if (at < 0)
        return;
    out->local = span_take(text, (size_t)at);
    out->domain = span_drop(text, (size_t)at + 1);
    if (out->domain.n > 0 && out->domain.p[0] == '[')
        out->flags |= ADDRESS_LITERAL;
}

/* --- printing and comparing --- */

int address_print(struct str *out, const struct address *a)
{
    if ((a->flags & ADDRESS_NULL) != 0)
        return str_error(out);
    if (is_dot_string(a->local)) {
        str_append(out, a->local);
    } else {
        str_append_char(out, '"');
        for (size_t i = 0; i < a->local.n; i++) {
            if (a->local.p[i] == '"' || a->local.p[i] == '\\' || is_ctl(a->local.p[i]))
                str_append_char(out, '\\');
            str_append_char(out, a->local.p[i]);
        }
        str_append_char(out, '"');
    }
    if (a->domain.n > 0) {
        str_append_char(out, '@');
        str_append(out, a->domain);
    }
    return str_error(out);
}

/* One '@', and nothing in front of it or behind it that would have to be quoted. */
static bool is_plain(struct span text)
{
    ptrdiff_t at = span_find(text, '@');

    if (at < 0 || at != span_rfind(text, '@'))
        return at < 0 && is_dot_string(text);
    return is_dot_string(span_take(text, (size_t)at));
}

int address_print_text(struct str *out, struct span text)
{
    struct arena arena = {0};
    struct address address;
    int rc;

    if (text.n == 0 || is_plain(text))
        return str_append(out, text);
    if (address_parse(&arena, text, ADDRESS_STRICT | ADDRESS_ALLOW_UTF8, &address) < 0)
        address_from_internal(text, &address);
    rc = address_print(out, &address);
    arena_reset(&arena);
    return rc;
}

int address_print_internal(struct str *out, const struct address *a)
{
    if ((a->flags & ADDRESS_NULL) != 0)
        return str_error(out);
    str_append(out, a->local);
    if (a->domain.n > 0) {
        str_append_char(out, '@');
        str_append(out, a->domain);
    }
    return str_error(out);
}

char *address_text(struct arena *arena, const struct address *a)
{
    struct str text;
    char *copy = NULL;

    str_init(&text, arena->budget);
    if (address_print(&text, a) == 0)
        copy = arena_strdup(arena, str_span(&text));
    str_fini(&text);
    return copy;
}

bool address_eq(const struct address *a, const struct address *b)
{
    return span_eq(a->local, b->local) && span_ieq(a->domain, b->domain);
}

bool address_split_extension(struct span local, struct span delimiters, bool owner_request,
                             struct span *user, struct span *extension)
{
    static const struct span reserved[] = {SPAN_LIT("postmaster"), SPAN_LIT("mailer-daemon"),
                                           SPAN_LIT("double-bounce")};
    bool is_list = owner_request && (span_istarts(local, SPAN_LIT("owner-")) ||
                                     span_iends(local, SPAN_LIT("-request")));

    *user = local;
    *extension = SPAN_NONE;
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (span_ieq(local, reserved[i]))
            return false;
    for (size_t i = 1; i < local.n; i++) {
        if (span_find(delimiters, local.p[i]) < 0 || (is_list && local.p[i] == '-'))
            continue;
        *user = span_take(local, i);
        *extension = span_drop(local, i + 1);
        return true;
    }
    return false;
}
