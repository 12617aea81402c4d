#include "imapd/fetch_items.h"

#include <errno.h>

#include "base/error.h"

static const struct {
    struct span name;
    unsigned items;
} simple_items[] = {
    {SPAN_LIT("FLAGS"), FETCH_FLAGS},       {SPAN_LIT("UID"), FETCH_UID},
    {SPAN_LIT("INTERNALDATE"), FETCH_DATE}, {SPAN_LIT("RFC822.SIZE"), FETCH_SIZE},
    {SPAN_LIT("ENVELOPE"), FETCH_ENVELOPE}, {SPAN_LIT("BODYSTRUCTURE"), FETCH_STRUCTURE},
    {SPAN_LIT("BODY"), FETCH_BODY},
};

static const struct {
    struct span name;
    unsigned items;
} macros[] = {
    {SPAN_LIT("ALL"), FETCH_FLAGS | FETCH_DATE | FETCH_SIZE | FETCH_ENVELOPE},
    {SPAN_LIT("FAST"), FETCH_FLAGS | FETCH_DATE | FETCH_SIZE},
    {SPAN_LIT("FULL"), FETCH_FLAGS | FETCH_DATE | FETCH_SIZE | FETCH_ENVELOPE | FETCH_BODY},
};

static const struct {
    struct span name;
    enum imap_section_kind kind;
    bool sets_seen;
} old_sections[] = {
    {SPAN_LIT("RFC822"), IMAP_SECTION_ALL, true},
    {SPAN_LIT("RFC822.HEADER"), IMAP_SECTION_HEADER, false},
    {SPAN_LIT("RFC822.TEXT"), IMAP_SECTION_TEXT, true},
};

static int fail(struct fetch_items *out, const char *why)
{
    out->why = why;
    return ERR_SYNTAX;
}

static struct span take_name(struct parse *p)
{
    size_t n = 0;
    struct span name;

    while (n < p->rest.n && (ascii_is_alpha(p->rest.p[n]) || ascii_is_digit(p->rest.p[n]) ||
                             p->rest.p[n] == '.' || p->rest.p[n] == '-'))
        n++;
    name = span_take(p->rest, n);
    p->rest = span_drop(p->rest, n);
    return name;
}

static struct fetch_section *add_section(struct fetch_items *out)
{
    if (out->sections.len == FETCH_SECTIONS_MAX) {
        out->why = "Too many body sections.";
        return NULL;
    }
    return array_push(&out->sections);
}

/* --- BODY[section]<partial> --- */

static void append_quoted(struct str *out, struct span text)
{
    str_append_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            str_append_char(out, '\\');
        str_append_char(out, text.p[i]);
    }
    str_append_char(out, '"');
}

/* Up to the closing bracket; literals become quoted strings. */
static int take_section_text(struct parse *p, struct str *text)
{
    struct span string;

    while (p->rest.n > 0 && p->rest.p[0] != ']') {
        if (p->rest.p[0] == '"' || p->rest.p[0] == '{') {
            if (parse_string(p, &string) < 0)
                return ERR_SYNTAX;
            append_quoted(text, string);
        } else {
            str_append_char(text, p->rest.p[0]);
            p->rest = span_drop(p->rest, 1);
        }
    }
    return parse_char(p, ']') ? str_error(text) : ERR_SYNTAX;
}

/* "<10.20>" */
static int take_partial(struct parse *p, struct fetch_section *section)
{
    if (!parse_char(p, '<'))
        return 0;
    section->is_partial = true;
    if (parse_number(p, &section->offset) < 0 || !parse_char(p, '.') ||
        parse_nz_number(p, &section->count) < 0 || !parse_char(p, '>'))
        return ERR_SYNTAX;
    return 0;
}

/* The name in the response, all of it in capitals. */
static int make_name(struct arena *arena, struct fetch_section *section, struct span text)
{
    struct str name;
    int rc;

    str_init(&name, arena->budget);
    str_append_cstr(&name, "BODY[");
    for (size_t i = 0; i < text.n; i++)
        str_append_char(&name, ascii_upper(text.p[i]));
    str_append_char(&name, ']');
    if (section->is_partial)
        str_printf(&name, "<%u>", section->offset);
    rc = str_error(&name);
    if (rc == 0)
        rc = arena_copy(arena, str_span(&name), &section->name);
    str_fini(&name);
    return rc;
}

static int take_section(struct parse *p, bool sets_seen, struct fetch_items *out)
{
    struct fetch_section *section = add_section(out);
    struct str text;
    struct span kept;
    int rc;

    if (section == NULL)
        return out->why != NULL ? ERR_SYNTAX : -ENOMEM;
    section->sets_seen = sets_seen;
    str_init(&text, p->arena->budget);
    rc = take_section_text(p, &text);
    if (rc == 0)
        rc = arena_copy(p->arena, str_span(&text), &kept);
    if (rc == 0)
        rc = imap_section_parse(p->arena, kept, &section->section);
    if (rc == 0 &&
        (section->section.kind == IMAP_SECTION_FIELDS ||
         section->section.kind == IMAP_SECTION_FIELDS_NOT) &&
        section->section.names.len == 0)
        rc = ERR_SYNTAX;
    if (rc == 0)
        rc = take_partial(p, section);
    if (rc == 0)
        rc = make_name(p->arena, section, kept);
    str_fini(&text);
    return rc == -ENOMEM ? rc : rc < 0 ? fail(out, "Invalid BODY[..] parameter.") : 0;
}

/* --- items --- */

static int take_old_section(struct span name, struct fetch_items *out)
{
    for (size_t i = 0; i < COUNT_OF(old_sections); i++) {
        struct fetch_section *section;
        if (!span_ieq(name, old_sections[i].name))
            continue;
        section = add_section(out);
        if (section == NULL)
            return out->why != NULL ? ERR_SYNTAX : -ENOMEM;
        section->section.kind = old_sections[i].kind;
        section->sets_seen = old_sections[i].sets_seen;
        section->name = old_sections[i].name;
        return 0;
    }
    return fail(out, "Unknown parameter");
}

static int take_item(struct parse *p, struct fetch_items *out)
{
    struct span name = take_name(p);

    if (parse_char(p, '[')) {
        if (span_ieq(name, SPAN_LIT("BODY")))
            return take_section(p, true, out);
        if (span_ieq(name, SPAN_LIT("BODY.PEEK")))
            return take_section(p, false, out);
        return fail(out, "Unknown parameter");
    }
    for (size_t i = 0; i < COUNT_OF(simple_items); i++) {
        if (span_ieq(name, simple_items[i].name)) {
            out->items |= simple_items[i].items;
            return 0;
        }
    }
    return take_old_section(name, out);
}

static bool take_macro(struct parse *p, struct fetch_items *out)
{
    for (size_t i = 0; i < COUNT_OF(macros); i++) {
        if (span_ieq(p->rest, macros[i].name)) {
            out->items |= macros[i].items;
            p->rest = span_drop(p->rest, macros[i].name.n);
            return true;
        }
    }
    return false;
}

int fetch_items_take(struct parse *p, struct fetch_items *out)
{
    bool is_list;
    int rc;

    if (take_macro(p, out))
        return 0;
    is_list = parse_char(p, '(');
    if (is_list && parse_char(p, ')'))
        return fail(out, "Missing arguments.");
    do {
        rc = take_item(p, out);
    } while (rc == 0 && is_list && parse_space(p));
    if (rc == 0 && is_list && !parse_char(p, ')'))
        rc = fail(out, "Invalid arguments.");
    if (rc == 0 && !parse_end(p))
        rc = fail(out, "Invalid arguments.");
    return rc;
}

void fetch_items_free(struct fetch_items *f)
{
    for (size_t i = 0; i < f->sections.len; i++)
        imap_section_free(&f->sections.items[i].section);
    array_free(&f->sections);
}
