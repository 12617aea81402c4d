/*
 * rewrite.c: completing header addresses; see rewrite.h.
 *
 * The value is read token by token, from left to right and once. Tokens feed an element
 * (what stands between commas, or inside angle brackets), which knows whether it still
 * is an address. The field is copied up to each comma as an item, so that folds come
 * between items only.
 */
#include "intake/rewrite.h"

#include <errno.h>

#include "mail/address.h"
#include "mail/token.h"

bool intake_is_address_field(struct span name)
{
    static const char *const names[] = {
        "from",
        "sender",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "resent-from",
        "resent-sender",
        "resent-to",
        "resent-cc",
        "resent-bcc",
        "resent-reply-to",
        "errors-to",
        "return-receipt-to",
        "disposition-notification-to",
        "apparently-to",
        "mail-followup-to",
    };

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_ieq(name, span_cstr(names[i])))
            return true;
    return false;
}

/* --- tokens --- */

enum token_kind {
    TOKEN_END,     /* of the text, or of what may be looked at */
    TOKEN_BROKEN,  /* a comment, quoted string or literal that does not end */
    TOKEN_ATOM,    /* atext */
    TOKEN_QUOTED,  /* text: without the quotes, pairs still in it */
    TOKEN_LITERAL, /* text: with the brackets */
    TOKEN_SPECIAL, /* text: one octet of .@,:;<> */
    TOKEN_OTHER,   /* one octet that means nothing here */
};

struct token {
    enum token_kind kind;
    const char *start, *end; /* as it stands */
    struct span text;
};

struct scanner {
    const char *p, *end;
    unsigned left; /* tokens that may be read */
};

/* At the octet behind an opening delimiter: skip to behind the closing one. Comments
 * nest. False: it does not close. */
static bool skip_delimited(struct scanner *s, char open, char close)
{
    unsigned depth = 1;

    for (; s->p < s->end; s->p++) {
        if (*s->p == '\\') {
            if (++s->p == s->end)
                return false;
        } else if (*s->p == close && --depth == 0) {
            s->p++;
            return true;
        } else if (*s->p == open && open == '(') {
            depth++;
        }
    }
    return false;
}

/* Skip blanks, folds and comments. False: a comment does not end. */
static bool skip_blanks(struct scanner *s)
{
    while (s->p < s->end) {
        if (*s->p == '(') {
            s->p++;
            if (!skip_delimited(s, '(', ')'))
                return false;
        } else if (!ascii_is_space(*s->p)) {
            break;
        } else {
            s->p++;
        }
    }
    return true;
}

static struct token read_token(struct scanner *s)
{
    struct token t = {.kind = TOKEN_BROKEN, .start = s->p};

    if (*s->p == '"' || *s->p == '[') {
        bool is_quoted = *s->p++ == '"';

        if (skip_delimited(s, is_quoted ? '"' : '[', is_quoted ? '"' : ']'))
            t.kind = is_quoted ? TOKEN_QUOTED : TOKEN_LITERAL;
        t.text = is_quoted ? span_make(t.start + 1, (size_t)(s->p - t.start) - 2)
                           : span_make(t.start, (size_t)(s->p - t.start));
    } else if (token_is_atext(*s->p)) {
        while (s->p < s->end && token_is_atext(*s->p))
            s->p++;
        t.kind = TOKEN_ATOM;
        t.text = span_make(t.start, (size_t)(s->p - t.start));
    } else {
        bool is_special = *s->p != '\0' && strchr(".@,:;<>", *s->p) != NULL;

        t.kind = is_special ? TOKEN_SPECIAL : TOKEN_OTHER;
        t.text = span_make(s->p++, 1);
    }
    t.end = s->p;
    return t;
}

static struct token next_token(struct scanner *s)
{
    struct token none = {.kind = TOKEN_END, .start = s->p, .end = s->p};

    if (s->left == 0)
        return none;
    s->left--;
    if (!skip_blanks(s)) {
        none.kind = TOKEN_BROKEN;
        return none;
    }
    return s->p == s->end ? none : read_token(s);
}

/* --- an element --- */

/* What an element is so far. */
enum shape {
    EMPTY,
    LOCAL_WORD,
    LOCAL_DOT,
    AT,
    DOMAIN_WORD,
    DOMAIN_DOT,
    DOMAIN_LITERAL,
    NO_ADDRESS, /* a display name, or broken */
};

struct element {
    enum shape shape;
    const char *start, *end; /* from the first to the last token */
    struct str address;      /* internal form: local part, '@', domain */
    size_t local_length;
    bool is_quoted, has_route, has_at;
};

static void reset(struct element *e)
{
    str_clear(&e->address);
    e->shape = EMPTY;
    e->start = e->end = NULL;
    e->is_quoted = e->has_route = e->has_at = false;
}

static void append_unquoted(struct str *out, struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\' && i + 1 < text.n)
            i++;
        if (text.p[i] != '\r' && text.p[i] != '\n') /* of a fold */
            str_append_char(out, text.p[i]);
    }
}

static enum shape after_word(const struct element *e, const struct token *t)
{
    switch (e->shape) {
    case EMPTY:
    case LOCAL_DOT:
        return LOCAL_WORD;
    case AT:
    case DOMAIN_DOT:
        return t->kind == TOKEN_ATOM ? DOMAIN_WORD : NO_ADDRESS;
    default:
        return NO_ADDRESS; /* two words side by side */
    }
}

static enum shape after_special(const struct element *e, char c)
{
    if (c == '@')
        return e->shape == LOCAL_WORD || e->shape == LOCAL_DOT ? AT : NO_ADDRESS;
    if (c != '.')
        return NO_ADDRESS;
    switch (e->shape) {
    case EMPTY:
    case LOCAL_WORD:
    case LOCAL_DOT:
        return LOCAL_DOT;
    case DOMAIN_WORD:
    case DOMAIN_DOT:
        return DOMAIN_DOT;
    default:
        return NO_ADDRESS;
    }
}

static void add_token(struct element *e, const struct token *t)
{
    if (e->start == NULL)
        e->start = t->start;
    e->end = t->end;
    if (t->kind == TOKEN_LITERAL)
        e->shape = e->shape == AT ? DOMAIN_LITERAL : NO_ADDRESS;
    else if (t->kind == TOKEN_SPECIAL)
        e->shape = after_special(e, *t->start);
    else if (t->kind == TOKEN_OTHER)
        e->shape = NO_ADDRESS;
    else
        e->shape = after_word(e, t);
    if (*t->start == '@')
        e->has_at = true;
    if (e->shape == AT)
        e->local_length = e->address.len;
    if (t->kind != TOKEN_QUOTED) {
        str_append(&e->address, t->text);
        return;
    }
    e->is_quoted = true;
    append_unquoted(&e->address, t->text);
}

/* --- the field --- */

struct rewriter {
    const struct route *route;
    enum route_context context;
    struct scanner scan;
    const char *copied; /* the field up to here is in out or item */
    struct str *out, item;
    struct str full, printed; /* the address at hand, internal form and RFC 5322 */
    struct str again;         /* full, completed once more */
    struct element element;
    size_t column; /* of the last line of out */
    bool is_changed, has_item;
    bool in_angle, in_route, is_done; /* is_done: behind the brackets, until the comma */
};

/* Comments inside an address that is written anew stand behind it. */
static void keep_comments(struct rewriter *w, const struct element *e)
{
    struct scanner s = {.p = e->start, .end = e->end, .left = UINT32_MAX};

    while (s.p < s.end) {
        const char *start = s.p;

        if (*s.p == '(') {
            s.p++;
            if (!skip_delimited(&s, '(', ')'))
                return;
            str_append_char(&w->item, ' ');
            str_append(&w->item, span_make(start, (size_t)(s.p - start)));
        } else if (ascii_is_space(*s.p)) {
            s.p++;
        } else {
            (void)read_token(&s);
        }
    }
}

static void copy_to(struct rewriter *w, const char *to)
{
    str_append(&w->item, span_make(w->copied, (size_t)(to - w->copied)));
    w->copied = to;
}

/* Is only something added to what stands there? A local part that should have been quoted
 * (".joe") is written anew. */
static bool is_longer(const struct element *e, struct span full, struct span printed)
{
    return !e->has_route && span_starts(full, str_span(&e->address)) &&
           (e->is_quoted || span_starts(printed, str_span(&e->address)));
}

/* Atoms and dots between them, or a literal (RFC 5322 3.4.1). */
static bool is_domain(struct span text)
{
    if (text.n > 1 && text.p[0] == '[')
        return text.p[text.n - 1] == ']';
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '.' ? i == 0 || i + 1 == text.n || text.p[i - 1] == '.'
                             : !token_is_atext(text.p[i]))
            return false;
    return text.n > 0;
}

/* Complete the parts of an address into w->full. An operator inside quotes is none. */
static void complete(struct rewriter *w, struct span local, struct span domain)
{
    str_clear(&w->full);
    if (w->element.is_quoted || domain.n > 0)
        route_complete(w->route, w->context, local, domain, &w->full);
    else
        route_rewrite(w->route, w->context, local, &w->full);
}

/* Is w->full an address that would stay as it is if it were completed again? Not so where an
 * operator has nothing on one of its sides ("%%"), nor for the bare name of "joe@host.". */
static bool is_settled(struct rewriter *w)
{
    struct span full = str_span(&w->full), domain;
    ptrdiff_t at = span_rfind(full, '@');

    str_clear(&w->again);
    if (at < 0) {
        /* Nothing is appended here; in quotes, it would look the same as an operator. */
        if (!w->element.is_quoted)
            route_rewrite(w->route, w->context, full, &w->again);
    } else {
        domain = span_drop(full, (size_t)at + 1);
        if (at == 0 || !is_domain(domain))
            return false;
        route_complete(w->route, w->context, span_take(full, (size_t)at), domain, &w->again);
    }
    return span_eq(str_span(&w->again), full);
}

/* The element has ended: when it is an address that is not complete, write it anew. */
static void finish_element(struct rewriter *w)
{
    struct element *e = &w->element;
    struct span old = str_span(&e->address), local = old, domain = SPAN_NONE;
    struct address address;
    bool stays;

    if (e->shape == EMPTY || e->shape == AT || e->shape == NO_ADDRESS)
        return;
    if (e->shape > AT) {
        local = span_take(old, e->local_length);
        domain = span_drop(old, e->local_length + 1);
    }
    if (local.n == 0)
        return;
    complete(w, local, domain);
    stays = (!e->has_route && span_eq(old, str_span(&w->full))) || !is_settled(w);
    if (str_error(&e->address) < 0 || str_error(&w->full) < 0 || str_error(&w->again) < 0) {
        w->item.error = -ENOMEM;
        return;
    }
    if (stays)
        return;
    address_from_internal(str_span(&w->full), &address);
    str_clear(&w->printed);
    address_print(&w->printed, &address);
    w->is_changed = true;
    if (is_longer(e, str_span(&w->full), str_span(&w->printed))) {
        copy_to(w, e->end);
        str_append(&w->item, span_drop(str_span(&w->full), old.n));
        return;
    }
    copy_to(w, e->start);
    str_append(&w->item, str_span(&w->printed));
    keep_comments(w, e);
    w->copied = e->end;
}

/* Item is complete: onto the line, or onto one of its own where that is full. */
static void put_item(struct rewriter *w, const char *to)
{
    struct span item, first;
    ptrdiff_t lf;

    copy_to(w, to);
    item = str_span(&w->item);
    lf = span_find(item, '\n');
    first = lf < 0 ? item : span_take(item, (size_t)lf);
    if (first.n > 0 && first.p[first.n - 1] == '\r')
        first.n--;
    if (w->has_item && span_trim(first).n > 0 && w->column + first.n > INTAKE_FOLD_AT) {
        str_append(w->out, SPAN_LIT("\r\n\t"));
        while (ascii_is_blank(item.p[0]))
            item = span_drop(item, 1);
        w->column = 1;
    }
    str_append(w->out, item);
    lf = span_rfind(item, '\n');
    w->column = lf < 0 ? w->column + item.n : item.n - (size_t)lf - 1;
    w->has_item = true;
    if (str_error(&w->item) < 0)
        w->out->error = str_error(&w->item);
    str_clear(&w->item);
}

static void begin_angle(struct rewriter *w)
{
    reset(&w->element); /* what stood in front is a name */
    w->in_angle = true;
    w->in_route = false;
}

/* Between '<' and '>'. A source route ("@a,@b:") belongs to the address. */
static void take_in_angle(struct rewriter *w, const struct token *t)
{
    struct element *e = &w->element;

    if (*t->start == '>' && t->kind == TOKEN_SPECIAL) {
        if (!w->in_route)
            finish_element(w);
        w->in_angle = false;
        w->is_done = true;
    } else if (e->shape == EMPTY && *t->start == '@') {
        w->in_route = e->has_route = true;
        e->start = e->start != NULL ? e->start : t->start;
        e->shape = NO_ADDRESS;
    } else if (!w->in_route) {
        add_token(e, t);
    } else if (*t->start == ':' && t->kind == TOKEN_SPECIAL) {
        w->in_route = false;
        e->shape = EMPTY;
    }
}

static void take_special(struct rewriter *w, const struct token *t)
{
    switch (*t->start) {
    case ',':
    case ';':
        if (!w->is_done)
            finish_element(w);
        w->is_done = false;
        reset(&w->element);
        if (*t->start == ',')
            put_item(w, t->end);
        break;
    case ':': /* the name of a group; a route outside brackets is nothing */
        if (!w->is_done && !w->element.has_at)
            reset(&w->element);
        break;
    case '<':
        if (!w->is_done)
            begin_angle(w);
        break;
    default:
        add_token(&w->element, t);
    }
}

static void rewrite_value(struct rewriter *w)
{
    for (;;) {
        struct token t = next_token(&w->scan);

        if (t.kind == TOKEN_BROKEN)
            return;
        if (t.kind == TOKEN_END) {
            if (w->scan.left > 0 && !w->in_angle && !w->is_done)
                finish_element(w);
            return;
        }
        if (w->in_angle)
            take_in_angle(w, &t);
        else if (t.kind == TOKEN_SPECIAL)
            take_special(w, &t);
        else
            add_token(&w->element, &t);
    }
}

int intake_rewrite_field(const struct route *r, enum route_context context, struct span field,
                         unsigned tokens_max, struct str *out)
{
    size_t name = (size_t)span_find(field, ':') + 1;
    struct rewriter w = {
        .route = r,
        .context = context,
        .scan = {.p = field.p + name, .end = field.p + field.n, .left = tokens_max},
        .copied = field.p,
        .out = out,
    };

    str_init(&w.item, out->budget);
    str_init(&w.full, out->budget);
    str_init(&w.printed, out->budget);
    str_init(&w.again, out->budget);
    str_init(&w.element.address, out->budget);
    reset(&w.element);
    rewrite_value(&w);
    put_item(&w, field.p + field.n);
    str_fini(&w.item);
    str_fini(&w.full);
    str_fini(&w.printed);
    str_fini(&w.again);
    str_fini(&w.element.address);
    return str_error(out) < 0 ? str_error(out) : w.is_changed;
}
