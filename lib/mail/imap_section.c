/* BODY[section] (RFC 3501 6.4.5). */
#include <errno.h>

#include "base/error.h"
#include "mail/header.h"
#include "mail/imap.h"

/* A list of field names holds at most so many. */
enum { NAMES_MAX = 1000 };

/* "1.2." off the front; *text stands behind it. */
static int parse_path(struct arena *arena, struct span *text, struct imap_section *out)
{
    uint32_t numbers[IMAP_SECTION_DEPTH_MAX];
    struct span rest = *text;

    while (rest.n > 0 && ascii_is_digit(rest.p[0])) {
        size_t n = 1;

        while (n < rest.n && ascii_is_digit(rest.p[n]))
            n++;
        if (out->depth == IMAP_SECTION_DEPTH_MAX ||
            span_to_u32(span_take(rest, n), &numbers[out->depth]) < 0 || numbers[out->depth] == 0)
            return ERR_SYNTAX;
        out->depth++;
        rest = span_drop(rest, n);
        if (rest.n == 0)
            break;
        if (rest.p[0] != '.' || rest.n == 1)
            return ERR_SYNTAX;
        rest = span_drop(rest, 1);
    }
    *text = rest;
    if (out->depth == 0)
        return 0;
    out->path = ARENA_NEW_N(arena, uint32_t, out->depth);
    if (out->path == NULL)
        return -ENOMEM;
    memcpy(out->path, numbers, out->depth * sizeof(numbers[0]));
    return 0;
}

/* A quoted string or atom at the front of *rest, as a span of the arena. */
static int parse_name(struct arena *arena, struct span *rest, struct span *name)
{
    struct str text;
    size_t i = 0;
    int error;

    if (rest->n == 0 || rest->p[0] != '"') {
        while (i < rest->n && ascii_is_print(rest->p[i]) && strchr(" ()\"{", rest->p[i]) == NULL)
            i++;
        *name = span_take(*rest, i);
        *rest = span_drop(*rest, i);
        return i == 0 ? ERR_SYNTAX : 0;
    }
    str_init(&text, arena->budget);
    for (i = 1; i < rest->n && rest->p[i] != '"'; i++) {
        if (rest->p[i] == '\\' && i + 1 < rest->n)
            i++;
        str_append_char(&text, rest->p[i]);
    }
    error = i == rest->n ? ERR_SYNTAX : str_error(&text);
    if (error == 0)
        error = arena_copy(arena, str_span(&text), name);
    *rest = span_drop(*rest, i + 1);
    str_fini(&text);
    return error;
}

/* " (name name ...)"; nothing at all when the caller brings the names. */
static int parse_names(struct arena *arena, struct span rest, struct imap_section *out)
{
    if (rest.n == 0)
        return 0;
    if (!span_starts(rest, SPAN_LIT(" (")))
        return ERR_SYNTAX;
    rest = span_drop(rest, 2);
    for (;;) {
        struct span name, *slot;
        int error = parse_name(arena, &rest, &name);

        if (error < 0)
            return error;
        if (out->names.len == NAMES_MAX)
            return ERR_TOO_LONG;
        slot = array_push(&out->names);
        if (slot == NULL)
            return -ENOMEM;
        *slot = name;
        if (span_eq(rest, SPAN_LIT(")")))
            return 0;
        if (!span_starts(rest, SPAN_LIT(" ")))
            return ERR_SYNTAX;
        rest = span_drop(rest, 1);
    }
}

static int parse_kind(struct arena *arena, struct span text, struct imap_section *out)
{
    static const struct {
        struct span word;
        enum imap_section_kind kind;
    } words[] = {
        {SPAN_LIT("HEADER"), IMAP_SECTION_HEADER},
        {SPAN_LIT("TEXT"), IMAP_SECTION_TEXT},
        {SPAN_LIT("MIME"), IMAP_SECTION_MIME},
        {SPAN_LIT("HEADER.FIELDS"), IMAP_SECTION_FIELDS},
        {SPAN_LIT("HEADER.FIELDS.NOT"), IMAP_SECTION_FIELDS_NOT},
    };
    ptrdiff_t blank = span_find(text, ' ');
    struct span word = blank < 0 ? text : span_take(text, (size_t)blank);

    if (text.n == 0)
        return 0;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!span_ieq(word, words[i].word))
            continue;
        out->kind = words[i].kind;
        if (out->kind == IMAP_SECTION_MIME && out->depth == 0)
            return ERR_SYNTAX;
        if (out->kind == IMAP_SECTION_FIELDS || out->kind == IMAP_SECTION_FIELDS_NOT)
            return parse_names(arena, span_drop(text, word.n), out);
        return word.n == text.n ? 0 : ERR_SYNTAX;
    }
    return ERR_SYNTAX;
}

int imap_section_parse(struct arena *arena, struct span text, struct imap_section *out)
{
    int error;

    *out = (struct imap_section){0};
    error = parse_path(arena, &text, out);
    if (error == 0)
        error = parse_kind(arena, text, out);
    if (error != 0)
        imap_section_free(out);
    return error;
}

void imap_section_free(struct imap_section *s)
{
    array_free(&s->names);
}

bool imap_section_is_header_only(const struct imap_section *s)
{
    return s->depth == 0 && s->kind != IMAP_SECTION_ALL && s->kind != IMAP_SECTION_TEXT;
}

/* The part a path names: in a multipart the nth child; otherwise 1 is the body itself. A
 * message is looked into when the path goes on. */
static const struct mime_part *find_part(const struct mime_part *part, const struct imap_section *s)
{
    for (unsigned i = 0; i < s->depth && part != NULL; i++) {
        bool is_last = i + 1 == s->depth;

        if ((part->flags & MIME_MULTIPART) != 0) {
            const struct mime_part *child = part->children;

            for (uint32_t n = s->path[i]; n > 1 && child != NULL; n--)
                child = child->next;
            part = child;
        } else if (s->path[i] != 1 || (!is_last && (part->flags & MIME_MESSAGE) == 0)) {
            return NULL;
        }
        if (part != NULL && !is_last && (part->flags & MIME_MESSAGE) != 0)
            part = part->children;
    }
    return part;
}

static int add_sized_range(struct imap_ranges *out, struct span text, struct mime_size size)
{
    struct span *last = out->items.len > 0 ? array_last(&out->items) : NULL;

    if (text.n == 0)
        return 0;
    /* Fields next to each other make one piece. */
    if (last != NULL && last->p + last->n == text.p) {
        last->n += text.n;
    } else {
        last = array_push(&out->items);
        if (last == NULL)
            return -ENOMEM;
        *last = text;
    }
    out->size.physical += size.physical;
    out->size.virtual_size += size.virtual_size;
    out->size.lines += size.lines;
    return 0;
}

static int add_range(struct imap_ranges *out, struct span text)
{
    return add_sized_range(out, text, mime_measure(text));
}

static int add_header(struct imap_ranges *out, struct span message, const struct mime_part *part)
{
    return add_sized_range(out, mime_part_header(message, part), part->header);
}

static int add_body(struct imap_ranges *out, struct span message, const struct mime_part *part)
{
    return add_sized_range(out, mime_part_body(message, part), part->body);
}

static bool is_named(const struct imap_section *s, struct span name)
{
    for (size_t i = 0; i < s->names.len; i++)
        if (span_ieq(s->names.items[i], name))
            return true;
    return false;
}

/* The fields that are (not) named, and the empty line at the end. */
static int add_fields(struct span header, const struct imap_section *s, struct imap_ranges *out)
{
    static const char crlf[] = "\r\n";
    struct header_walk walk = header_begin(header);
    struct header_field field;
    int error = 0;

    while (error == 0 && header_next(&walk, &field)) {
        if (is_named(s, field.name) != (s->kind == IMAP_SECTION_FIELDS))
            continue;
        error = add_range(out, field.raw);
        if (error == 0 && field.raw.p[field.raw.n - 1] != '\n')
            error = add_range(out, span_make(crlf, 2));
    }
    return error == 0 ? add_range(out, span_make(crlf, 2)) : error;
}

int imap_section_find(struct span message, const struct mime_part *root,
                      const struct imap_section *s, struct imap_ranges *out)
{
    const struct mime_part *part = find_part(root, s);
    bool is_about_message = s->kind != IMAP_SECTION_ALL && s->kind != IMAP_SECTION_MIME;

    *out = (struct imap_ranges){0};
    if (part != NULL && s->depth > 0 && is_about_message)
        part = (part->flags & MIME_MESSAGE) != 0 ? part->children : NULL;
    if (part == NULL)
        return ERR_NOT_FOUND;
    switch (s->kind) {
    case IMAP_SECTION_ALL:
        if (s->depth == 0 && add_header(out, message, part) < 0)
            return -ENOMEM;
        return add_body(out, message, part);
    case IMAP_SECTION_HEADER:
    case IMAP_SECTION_MIME:
        return add_header(out, message, part);
    case IMAP_SECTION_TEXT:
        return add_body(out, message, part);
    case IMAP_SECTION_FIELDS:
    case IMAP_SECTION_FIELDS_NOT:
        return add_fields(mime_part_header(message, part), s, out);
    }
    return ERR_NOT_FOUND;
}

/* Append count octets from offset of text with bare LF as CRLF. Returns octets appended. */
static uint64_t append_virtual(struct str *out, struct span text, uint64_t offset, uint64_t count)
{
    uint64_t at = 0, done = 0;

    for (size_t i = 0; i < text.n && done < count; i++) {
        bool is_bare = text.p[i] == '\n' && (i == 0 || text.p[i - 1] != '\r');

        if (is_bare && at++ >= offset) {
            str_append_char(out, '\r');
            if (++done == count)
                break;
        }
        if (at++ >= offset) {
            str_append_char(out, text.p[i]);
            done++;
        }
    }
    return done;
}

/* A literal may not hold NUL (RFC 3501 9). */
static void replace_nul(struct str *out, size_t from)
{
    char *p = out->data + from, *end = out->data + out->len;

    while (p < end && (p = memchr(p, '\0', (size_t)(end - p))) != NULL)
        *p++ = (char)0x80;
}

int imap_ranges_append(struct str *out, const struct imap_ranges *ranges, uint64_t offset,
                       uint64_t count)
{
    bool is_as_sent = ranges->size.virtual_size == ranges->size.physical;
    size_t start = out->len;

    for (size_t i = 0; i < ranges->items.len && count > 0; i++) {
        struct span text = ranges->items.items[i];
        uint64_t size = is_as_sent ? text.n : mime_measure(text).virtual_size;

        if (offset >= size) {
            offset -= size;
            continue;
        }
        if (size == text.n) {
            struct span piece = span_take(span_drop(text, offset), count);

            str_append(out, piece);
            count -= piece.n;
        } else {
            count -= append_virtual(out, text, offset, count);
        }
        offset = 0;
    }
    if (out->len > start)
        replace_nul(out, start);
    return str_error(out);
}
