/* BODYSTRUCTURE, and BODY made from it (RFC 3501 7.4.2). */
#include <errno.h>

#include "base/error.h"
#include "mail/imap.h"
#include "mail/imap_internal.h"
#include "mail/token.h"

#define DEFAULT_CHARSET "\"charset\" \"us-ascii\""
/* What a multipart without parts is shown to hold: the grammar asks for one. */
#define EMPTY_PART "(\"text\" \"plain\" (" DEFAULT_CHARSET ") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)"

struct writer {
    struct arena *arena;
    struct str *out;
    struct str scratch;
    struct span message;
    int error;
};

static void append_params(struct writer *w, const struct mime_value *v, bool is_text)
{
    bool has_charset = false;
    char before = '(';

    for (const struct mime_param *p = v->params; p != NULL; p = p->next) {
        has_charset = has_charset || span_ieq(p->name, SPAN_LIT("charset"));
        str_append_char(w->out, before);
        imap_append_string(w->out, p->name);
        str_append_char(w->out, ' ');
        imap_append_string(w->out, p->value);
        before = ' ';
    }
    if (is_text && !has_charset) {
        str_append_char(w->out, before);
        str_append(w->out, SPAN_LIT(DEFAULT_CHARSET));
        before = ' ';
    }
    str_append(w->out, before == '(' ? SPAN_LIT("NIL") : SPAN_LIT(")"));
}

static void append_disposition(struct writer *w, struct span value)
{
    struct mime_value v;
    int error;

    if (value.p == NULL) {
        str_append(w->out, SPAN_LIT("NIL"));
        return;
    }
    error = mime_value_parse(w->arena, value, false, &v);
    if (error < 0) {
        w->error = error;
        return;
    }
    if (v.type.p == NULL || v.is_broken) {
        str_append(w->out, SPAN_LIT("NIL"));
        return;
    }
    str_append_char(w->out, '(');
    imap_append_string(w->out, v.type);
    str_append_char(w->out, ' ');
    append_params(w, &v, false);
    str_append_char(w->out, ')');
}

/* Content-Language: a list of atoms (RFC 3282). */
static void append_language(struct writer *w, struct span value)
{
    struct token_reader r = token_begin(value);
    char before = '(';

    if (value.p != NULL) {
        (void)token_skip_blanks(&r);
        for (;;) {
            str_clear(&w->scratch);
            if (token_atom(&r, &w->scratch) < 0)
                break;
            str_append_char(w->out, before);
            imap_append_string(w->out, str_span(&w->scratch));
            before = ' ';
            if (token_at_end(&r) || *r.p != ',')
                break;
            r.p++;
            (void)token_skip_blanks(&r);
        }
    }
    str_append(w->out, before == '(' ? SPAN_LIT("NIL") : SPAN_LIT(")"));
}

/* One token, and nothing behind it; "7bit" otherwise. */
static void append_encoding(struct writer *w, struct span value)
{
    struct token_reader r = token_begin(value);

    str_clear(&w->scratch);
    if (value.p == NULL || token_skip_blanks(&r) < 0 || token_mime(&r, &w->scratch) < 0 ||
        !token_at_end(&r) || w->scratch.len == 0)
        str_append(w->out, SPAN_LIT("\"7bit\""));
    else
        imap_append_string(w->out, str_span(&w->scratch));
}

static void append_unfolded(struct writer *w, struct span value)
{
    int error = imap_append_unfolded(w->out, value, &w->scratch);

    if (error != 0)
        w->error = error;
}

static void append_common_extension(struct writer *w, const struct mime_part *part)
{
    str_append_char(w->out, ' ');
    append_disposition(w, part->disposition);
    str_append_char(w->out, ' ');
    append_language(w, part->language);
    str_append_char(w->out, ' ');
    append_unfolded(w, part->location);
}

static bool shows_as_text(const struct mime_part *part)
{
    return part->type.type.p == NULL || span_ieq(part->type.type, SPAN_LIT("text"));
}

static void append_type(struct writer *w, const struct mime_part *part)
{
    if ((part->flags & MIME_MESSAGE) != 0) {
        str_append(w->out, SPAN_LIT("\"message\" \"rfc822\""));
        return;
    }
    if (part->type.type.p == NULL) {
        str_append(w->out, SPAN_LIT("\"text\" \"plain\""));
        return;
    }
    imap_append_string(w->out, part->type.type);
    str_append_char(w->out, ' ');
    imap_append_string(w->out, part->type.subtype);
}

/* What stands in front of a part's children. */
static void open_part(struct writer *w, const struct mime_part *part)
{
    bool is_message = (part->flags & MIME_MESSAGE) != 0;

    str_append_char(w->out, '(');
    if ((part->flags & MIME_MULTIPART) != 0) {
        if (part->children == NULL)
            str_append(w->out, SPAN_LIT(EMPTY_PART));
        return;
    }
    append_type(w, part);
    str_append_char(w->out, ' ');
    append_params(w, &part->type, !is_message && shows_as_text(part));
    str_append_char(w->out, ' ');
    append_unfolded(w, part->id);
    str_append_char(w->out, ' ');
    append_unfolded(w, part->description);
    str_append_char(w->out, ' ');
    append_encoding(w, part->transfer_encoding);
    str_append_char(w->out, ' ');
    str_append_u64(w->out, part->body.virtual_size);
    if (is_message) {
        str_append_char(w->out, ' ');
        w->error =
            imap_append_envelope(w->arena, w->out, mime_part_header(w->message, part->children));
        str_append_char(w->out, ' ');
    }
}

/* What stands behind them. */
static void close_part(struct writer *w, const struct mime_part *part)
{
    if ((part->flags & MIME_MULTIPART) != 0) {
        str_append_char(w->out, ' ');
        imap_append_string(w->out, part->type.subtype);
        str_append_char(w->out, ' ');
        append_params(w, &part->type, false);
    } else {
        if ((part->flags & MIME_MESSAGE) != 0 || shows_as_text(part)) {
            str_append_char(w->out, ' ');
            str_append_u64(w->out, part->body.lines);
        }
        str_append_char(w->out, ' ');
        append_unfolded(w, part->md5);
    }
    append_common_extension(w, part);
    str_append_char(w->out, ')');
}

static int append_structure(struct arena *arena, struct str *out, struct span message,
                            const struct mime_part *root)
{
    struct writer w = {.arena = arena, .out = out, .message = message};
    const struct mime_part *part = root;

    str_init(&w.scratch, out->budget);
    open_part(&w, part);
    while (w.error == 0) {
        if (part->children != NULL) {
            part = part->children;
            open_part(&w, part);
            continue;
        }
        close_part(&w, part);
        while (part != root && part->next == NULL) {
            part = part->parent;
            close_part(&w, part);
        }
        if (part == root)
            break;
        part = part->next;
        open_part(&w, part);
    }
    str_fini(&w.scratch);
    return w.error != 0 ? w.error : str_error(out);
}

int imap_bodystructure(struct str *out, struct span message, const struct mime_part *root)
{
    struct arena arena;
    int error;

    arena_init(&arena, out->budget);
    error = append_structure(&arena, out, message, root);
    arena_reset(&arena);
    return error;
}

static int describe_opaque(struct span message, struct str *envelope, struct str *bodystructure)
{
    str_clear(envelope);
    str_clear(bodystructure);
    str_append_cstr(envelope, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    str_printf(bodystructure,
               "(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" %llu NIL NIL NIL NIL)",
               (unsigned long long)mime_measure(message).virtual_size);
    return str_error(envelope) < 0 ? str_error(envelope) : str_error(bodystructure);
}

int imap_describe(struct arena *scratch, struct span message, struct str *envelope,
                  struct str *bodystructure)
{
    struct mime_part *root;
    int error = mime_parse(scratch, message, NULL, &root);

    if (error == 0)
        error = imap_append_envelope(scratch, envelope, mime_part_header(message, root));
    if (error == 0)
        error = append_structure(scratch, bodystructure, message, root);
    if (error == -ENOMEM || envelope->len + bodystructure->len > IMAP_DESCRIPTION_MAX) {
        arena_reset(scratch);
        error = describe_opaque(message, envelope, bodystructure);
    }
    return error;
}
