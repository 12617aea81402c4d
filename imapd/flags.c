#include "imapd/flags.h"

#include <errno.h>

#include "base/error.h"

enum { KEYWORD_LENGTH_MAX = 255 };

static const struct {
    struct span name;
    uint32_t flag;
} system_flags[] = {
    {SPAN_LIT("\\Answered"), STORE_ANSWERED}, {SPAN_LIT("\\Flagged"), STORE_FLAGGED},
    {SPAN_LIT("\\Deleted"), STORE_DELETED},   {SPAN_LIT("\\Seen"), STORE_SEEN},
    {SPAN_LIT("\\Draft"), STORE_DRAFT},
};

/* --- from the wire --- */

static bool add_system_flag(struct session *s, struct span name, struct flag_list *out)
{
    for (size_t i = 0; i < COUNT_OF(system_flags); i++) {
        if (span_ieq(name, system_flags[i].name)) {
            out->flags |= system_flags[i].flag;
            return true;
        }
    }
    session_bad(s, arena_printf(&s->arena, "Invalid system flag %.*s", SPAN_ARG(name)));
    return false;
}

static bool has_keyword(const struct flag_list *list, struct span name)
{
    for (size_t i = 0; i < list->keyword_count; i++) {
        if (span_ieq(list->keywords[i], name))
            return true;
    }
    return false;
}

static bool add_keyword(struct session *s, struct span name, struct flag_list *out)
{
    int rc = 0;

    if (name.n > KEYWORD_LENGTH_MAX) {
        session_bad(s, "Keyword is too long");
        return false;
    }
    if (has_keyword(out, name))
        return true;
    if (out->keywords == NULL)
        out->keywords = ARENA_NEW_N(&s->arena, struct span, STORE_KEYWORDS_MAX);
    if (out->keywords == NULL)
        rc = -ENOMEM;
    else if (out->keyword_count == STORE_KEYWORDS_MAX)
        rc = ERR_LIMIT;
    else
        rc = arena_copy(&s->arena, name, &out->keywords[out->keyword_count++]);
    if (rc < 0)
        flags_say_error(s, out, rc, "keywords");
    return rc == 0;
}

void flags_say_error(struct session *s, const struct flag_list *list, int rc, const char *what)
{
    if (rc == ERR_LIMIT && list->keyword_count > 0)
        session_no(s, "[LIMIT] Too many different keywords in this account.");
    else
        session_store_error(s, rc, what);
}

static bool take_flag(struct session *s, struct parse *p, struct flag_list *out)
{
    const char *start = p->rest.p;
    bool is_system = parse_char(p, '\\');
    struct span name;

    if (parse_atom(p, &name) < 0) {
        session_bad(s, "Flags list contains non-atoms.");
        return false;
    }
    if (is_system)
        return add_system_flag(s, span_make(start, name.n + 1), out);
    return add_keyword(s, name, out);
}

bool flags_take(struct session *s, struct parse *p, bool is_bare, struct flag_list *out)
{
    bool is_list = parse_char(p, '(');

    *out = (struct flag_list){0};
    if (!is_list && !is_bare) {
        session_bad(s, "Invalid arguments.");
        return false;
    }
    if (is_list && parse_char(p, ')'))
        return true;
    do {
        if (!take_flag(s, p, out))
            return false;
    } while (parse_space(p));
    if (is_list && !parse_char(p, ')')) {
        session_bad(s, "Invalid arguments.");
        return false;
    }
    return true;
}

/* --- to the wire --- */

static void append_word(struct str *out, size_t start, struct span word)
{
    if (out->len > start)
        str_append_char(out, ' ');
    str_append(out, word);
}

int flags_append(const struct store_view *v, struct str *out, uint32_t flags, uint64_t keywords,
                 bool is_recent)
{
    size_t start = out->len;

    for (size_t i = 0; i < COUNT_OF(system_flags); i++) {
        if ((flags & system_flags[i].flag) != 0)
            append_word(out, start, system_flags[i].name);
    }
    if (is_recent)
        append_word(out, start, SPAN_LIT("\\Recent"));
    for (unsigned i = 0; i < v->keyword_count; i++) {
        if ((keywords >> i & 1) != 0 && v->keywords[i].p != NULL)
            append_word(out, start, v->keywords[i]);
    }
    return str_error(out);
}

bool flags_is_recent(const struct store_view *v, uint32_t uid)
{
    size_t low = 0, high = v->recent.len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->recent.items[middle] < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < v->recent.len && v->recent.items[low] == uid;
}

void flags_say(struct session *s)
{
    const uint32_t all = STORE_ANSWERED | STORE_FLAGGED | STORE_DELETED | STORE_SEEN | STORE_DRAFT;
    struct str list = {0};
    int rc = flags_append(s->view, &list, all, s->shown_keywords, false);

    if (rc == 0) {
        session_say(s, "* FLAGS (%s)", str_cstr(&list));
        if (s->is_read_only)
            session_say(s, "* OK [PERMANENTFLAGS ()] Read-only mailbox.");
        else
            session_say(s, "* OK [PERMANENTFLAGS (%s \\*)] Flags permitted.", str_cstr(&list));
    } else {
        session_out_of_memory(s);
    }
    str_fini(&list);
}
