/* Content-Type and Content-Disposition with their parameters (RFC 2045 5.1, RFC 2231). */
#include <errno.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/error.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/token.h"

/* One piece of a continued parameter: "name*index[*]=value". */
struct piece {
    struct span name, value;
    unsigned index;
    bool is_extended;
    struct piece *next;
};

struct value_parser {
    struct arena *arena;
    struct str text; /* scratch */
    struct mime_param **tail;
    struct piece *pieces; /* sorted by name and index */
    unsigned left;        /* parameters that may still be read */
};

/* What text holds, as a span of the arena. */
static int take_text(struct value_parser *v, struct span *out)
{
    if (str_error(&v->text) != 0)
        return -ENOMEM;
    return arena_copy(v->arena, str_span(&v->text), out);
}

static int add_param(struct value_parser *v, struct span name, struct span value)
{
    struct mime_param *p = ARENA_NEW(v->arena, struct mime_param);

    if (p == NULL)
        return -ENOMEM;
    p->name = name;
    p->value = value;
    *v->tail = p;
    v->tail = &p->next;
    return 0;
}

static int piece_cmp(const struct piece *a, const struct piece *b)
{
    int order = span_icmp(a->name, b->name);

    if (order != 0)
        return order;
    return a->index < b->index ? -1 : a->index > b->index;
}

static int add_piece(struct value_parser *v, const struct piece *piece)
{
    struct piece **at = &v->pieces, *p = ARENA_NEW(v->arena, struct piece);

    if (p == NULL)
        return -ENOMEM;
    *p = *piece;
    while (*at != NULL && piece_cmp(*at, p) <= 0)
        at = &(*at)->next;
    p->next = *at;
    *at = p;
    return 0;
}

/* "name*", "name*0", "name*0*" (RFC 2231 3 and 4): true with the piece filled in. */
static bool parse_piece_name(struct span name, struct piece *piece)
{
    ptrdiff_t star = span_find(name, '*');
    struct span rest;

    if (star < 0)
        return false;
    rest = span_drop(name, (size_t)star + 1);
    piece->name = span_take(name, (size_t)star);
    piece->index = 0;
    piece->is_extended = rest.n == 0;
    while (rest.n > 0 && ascii_is_digit(rest.p[0])) {
        piece->index = piece->index * 10 + (unsigned)(rest.p[0] - '0');
        rest = span_drop(rest, 1);
    }
    if (rest.n == 1 && rest.p[0] == '*') {
        piece->is_extended = true;
        rest.n = 0;
    }
    return rest.n == 0;
}

/* The value behind '='. An unquoted encoded word is taken up to the next blank. */
static int read_param_value(struct token_reader *r, struct str *out)
{
    int left = token_skip_blanks(r);

    if (left <= 0)
        return left;
    if (*r->p == '"')
        return token_quoted(r, out);
    if (*r->p == '=') {
        while (r->p < r->end && *r->p != ';' && !ascii_is_space(*r->p))
            str_append_char(out, *r->p++);
        return token_skip_blanks(r);
    }
    return token_mime(r, out);
}

/* At ';'. 0, -ENOMEM, or ERR_SYNTAX when this is no parameter. */
static int read_param(struct value_parser *v, struct token_reader *r)
{
    struct piece piece;
    struct span name;
    int error;

    if (*r->p != ';')
        return ERR_SYNTAX;
    r->p++;
    if (token_skip_blanks(r) <= 0)
        return ERR_SYNTAX;
    str_clear(&v->text);
    if (token_mime(r, &v->text) <= 0 || *r->p != '=')
        return ERR_SYNTAX;
    r->p++;
    error = take_text(v, &name);
    if (error < 0)
        return error;
    str_clear(&v->text);
    if (read_param_value(r, &v->text) < 0)
        return ERR_SYNTAX;
    error = take_text(v, &piece.value);
    if (error < 0)
        return error;
    return parse_piece_name(name, &piece) ? add_piece(v, &piece) : add_param(v, name, piece.value);
}

/* Pieces first to before end are of one name, but not numbered 0, 1, 2 ...: they stay
 * parameters of their own. */
static int add_broken_pieces(struct value_parser *v, struct piece *first, struct piece *end)
{
    int error = 0;

    for (struct piece *p = first; p != end && error == 0; p = p->next) {
        struct span name;

        str_clear(&v->text);
        str_append(&v->text, p->name);
        str_printf(&v->text, "*%u%s", p->index, p->is_extended ? "*" : "");
        error = take_text(v, &name);
        if (error == 0)
            error = add_param(v, name, p->value);
    }
    return error;
}

static int join_pieces(struct value_parser *v, struct piece *first, struct piece *end,
                       bool is_extended)
{
    struct span name = first->name, value;
    int error;

    str_clear(&v->text);
    if (is_extended && !first->is_extended)
        str_append_cstr(&v->text, "''");
    for (struct piece *p = first; p != end; p = p->next) {
        for (size_t i = 0; i < p->value.n; i++) {
            if (is_extended && !p->is_extended && p->value.p[i] == '%')
                str_append_cstr(&v->text, "%25");
            else
                str_append_char(&v->text, p->value.p[i]);
        }
    }
    error = take_text(v, &value);
    if (error < 0)
        return error;
    if (is_extended) {
        str_clear(&v->text);
        str_append(&v->text, first->name);
        str_append_char(&v->text, '*');
        error = take_text(v, &name);
    }
    return error < 0 ? error : add_param(v, name, value);
}

static int add_pieces(struct value_parser *v)
{
    struct piece *first = v->pieces, *end;
    int error = 0;

    for (; first != NULL && error == 0; first = end) {
        bool is_extended = false, is_complete = true;
        unsigned index = 0;

        for (end = first; end != NULL && span_ieq(end->name, first->name); end = end->next) {
            is_complete = is_complete && end->index == index++;
            is_extended = is_extended || end->is_extended;
        }
        error = is_complete ? join_pieces(v, first, end, is_extended)
                            : add_broken_pieces(v, first, end);
    }
    return error;
}

static int read_params(struct value_parser *v, struct token_reader *r)
{
    while (!token_at_end(r) && v->left > 0) {
        int error = read_param(v, r);

        if (error == -ENOMEM)
            return error;
        if (error == 0)
            v->left--;
        else if (!token_at_end(r))
            r->p++;
    }
    return add_pieces(v);
}

/* "type/subtype" with nothing but parameters behind it. A type alone counts with an empty
 * subtype. */
static int read_type(struct value_parser *v, struct token_reader *r, struct mime_value *out)
{
    int left, error;

    if (token_skip_blanks(r) <= 0)
        return ERR_SYNTAX;
    left = token_mime(r, &v->text);
    if (left < 0 || v->text.len == 0)
        return ERR_SYNTAX;
    error = take_text(v, &out->type);
    if (error < 0 || left == 0)
        return error;
    if (*r->p++ != '/' || token_skip_blanks(r) <= 0)
        return ERR_SYNTAX;
    str_clear(&v->text);
    left = token_mime(r, &v->text);
    if (left < 0 || v->text.len == 0 || (left > 0 && *r->p != ';'))
        return ERR_SYNTAX;
    return take_text(v, &out->subtype);
}

static int read_word(struct value_parser *v, struct token_reader *r, struct mime_value *out)
{
    if (token_skip_blanks(r) < 0 || token_mime(r, &v->text) < 0)
        return ERR_SYNTAX;
    return take_text(v, &out->type);
}

int mime_value_parse(struct arena *arena, struct span value, bool is_type, struct mime_value *out)
{
    struct token_reader r = token_begin(value);
    struct value_parser v = {.arena = arena, .left = MIME_PARAMS_MAX};
    int error;

    *out = (struct mime_value){.type = SPAN_LIT("")};
    if (is_type)
        out->subtype = SPAN_LIT("");
    v.tail = &out->params;
    str_init(&v.text, arena->budget);
    error = is_type ? read_type(&v, &r, out) : read_word(&v, &r, out);
    if (error == 0)
        error = read_params(&v, &r);
    str_fini(&v.text);
    if (error != ERR_SYNTAX)
        return error;
    out->is_broken = true;
    out->type = SPAN_LIT("");
    return 0;
}

const struct mime_param *mime_value_find(const struct mime_value *v, struct span name)
{
    for (const struct mime_param *p = v->params; p != NULL; p = p->next)
        if (span_ieq(p->name, name))
            return p;
    return NULL;
}
