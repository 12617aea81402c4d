/* expand.c: a recursive reader of references, with bounds on depth, work and
 * output. */
#include "conf/expand.h"

#include "base/error.h"

/* Names that are being expanded, innermost first. */
struct frame {
    struct span name;
    const struct frame *up;
};

struct expander {
    struct str *out;
    const struct expand_source *source;
    struct str *why;
    unsigned steps, depth;
};

static int expand_piece(struct expander *e, struct span text, const struct frame *up);

static int fail(struct expander *e, int code, const char *what, struct span at)
{
    str_printf(e->why, "%s: \"%.*s\"", what, SPAN_ARG(span_take(at, 60)));
    return code;
}

static struct span skip_blanks(struct span s)
{
    while (s.n > 0 && ascii_is_space(s.p[0]))
        s = span_drop(s, 1);
    return s;
}

static bool is_name_octet(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '_';
}

/* The text inside the bracket that opens s, up to its partner; *s is what
 * follows. False when the bracket is not closed. */
static bool take_bracketed(struct span *s, char open, char close, struct span *inside)
{
    size_t level = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (s->p[i] == open)
            level++;
        else if (s->p[i] == close && --level == 0) {
            *inside = span_make(s->p + 1, i - 1);
            *s = span_drop(*s, i + 1);
            return true;
        }
    }
    return false;
}

/* "{text}" and the blanks behind it. */
static bool take_braces(struct span *s, struct span *inside)
{
    if (!take_bracketed(s, '{', '}', inside))
        return false;
    *s = skip_blanks(*s);
    return true;
}

/* What stands behind "?" or ":": {text}, or everything to the end. */
static int take_operand(struct expander *e, struct span *s, struct span *operand)
{
    struct span ahead = skip_blanks(*s);

    if (ahead.n == 0 || ahead.p[0] != '{') {
        *operand = *s;
        *s = span_make(s->p + s->n, 0);
        return 0;
    }
    if (!take_braces(&ahead, operand))
        return fail(e, ERR_SYNTAX, "unbalanced {}", *s);
    *s = ahead;
    return 0;
}

/* --- comparisons --- */

enum compare { EQ = 1, LT = 2, GT = 4 };

static unsigned compare_result(int64_t delta)
{
    return delta == 0 ? EQ : delta < 0 ? LT : GT;
}

/* "3.6" or "2" as one number that compares right; -1 when it is none. */
static int64_t compatibility_number(struct span text)
{
    int64_t result = 0;
    struct span part;
    uint64_t n;
    int parts = 0;

    for (; parts < 3 && span_next(&text, '.', &part); parts++) {
        if (span_to_u64(part, &n) < 0 || n > 9999)
            return -1;
        result = result * 10000 + (int64_t)n;
    }
    if (text.p != NULL)
        return -1;
    for (; parts < 3; parts++)
        result *= 10000;
    return result;
}

static int take_operator(struct expander *e, struct span *s, unsigned *accepts, struct span *suffix)
{
    static const struct {
        const char *text;
        unsigned accepts;
    } operators[] = {
        {"==", EQ}, {"!=", LT | GT}, {"<=", LT | EQ}, {">=", GT | EQ}, {"<", LT}, {">", GT},
    };
    size_t n = 0;

    while (n < s->n && strchr("<>!=?+-*/~&|%", s->p[n]) != NULL && s->p[n] != '\0')
        n++;
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (!span_eq(span_take(*s, n), span_cstr(operators[i].text)))
            continue;
        *accepts = operators[i].accepts;
        *s = span_drop(*s, n);
        for (n = 0; n < s->n && is_name_octet(s->p[n]); n++)
            ;
        *suffix = span_take(*s, n);
        *s = skip_blanks(span_drop(*s, n));
        return 0;
    }
    return fail(e, ERR_SYNTAX, "one of == != < <= >= > expected", *s);
}

static int expand_operand(struct expander *e, struct span text, struct str *to,
                          const struct frame *up)
{
    struct str *out = e->out;
    int error;

    to->max = EXPAND_LENGTH_MAX;
    e->out = to;
    error = expand_piece(e, text, up);
    e->out = out;
    return error;
}

static int compare(struct expander *e, struct span left, struct span right, struct span suffix,
                   unsigned *result)
{
    if (suffix.n == 0) {
        int64_t a, b;
        bool is_numeric = left.n > 0 && right.n > 0 && ascii_is_digit(left.p[0]) &&
                          ascii_is_digit(right.p[0]) && span_to_i64(left, &a) == 0 &&
                          span_to_i64(right, &b) == 0;

        *result =
            is_numeric ? compare_result(a < b ? -1 : a > b) : compare_result(span_cmp(left, right));
        return 0;
    }
    if (span_eq(suffix, SPAN_LIT("level"))) {
        int64_t a = compatibility_number(left), b = compatibility_number(right);

        if (a < 0 || b < 0)
            return fail(e, ERR_SYNTAX, "bad compatibility level", a < 0 ? left : right);
        *result = compare_result(a - b);
        return 0;
    }
    return fail(e, ERR_SYNTAX, "unknown operator suffix", suffix);
}

/* {left} operator {right}; *s is what follows. */
static int take_comparison(struct expander *e, struct span *s, const struct frame *up,
                           bool *is_true)
{
    struct span left, right, suffix = SPAN_NONE;
    struct str a = {0}, b = {0};
    unsigned accepts = 0, result = 0;
    int error;

    if (!take_braces(s, &left))
        return fail(e, ERR_SYNTAX, "unbalanced {}", *s);
    if ((error = take_operator(e, s, &accepts, &suffix)) < 0)
        return error;
    if (s->n == 0 || s->p[0] != '{')
        return fail(e, ERR_SYNTAX, "\"{text}\" expected", *s);
    if (!take_braces(s, &right))
        return fail(e, ERR_SYNTAX, "unbalanced {}", *s);
    if ((error = expand_operand(e, left, &a, up)) == 0 &&
        (error = expand_operand(e, right, &b, up)) == 0)
        error = compare(e, str_span(&a), str_span(&b), suffix, &result);
    *is_true = (result & accepts) != 0;
    str_fini(&a);
    str_fini(&b);
    return error;
}

/* --- references --- */

/* The value of a name in place of its reference. */
static int put_value(struct expander *e, struct span name, struct span value,
                     const struct frame *up)
{
    struct frame frame = {name, up};

    if (e->source->is_flat)
        return str_append(e->out, value);
    for (const struct frame *f = up; f != NULL; f = f->up)
        if (span_eq(f->name, name))
            return fail(e, ERR_LIMIT, "the parameter refers to itself", name);
    return expand_piece(e, value, &frame);
}

/* The part behind "?" or ":" that applies. s begins with the operator. */
static int put_choice(struct expander *e, struct span s, bool is_true, const struct frame *up)
{
    struct span text;
    int error;

    if (s.p[0] == '?') {
        s = span_drop(s, 1);
        if ((error = take_operand(e, &s, &text)) < 0)
            return error;
        if (is_true && (error = expand_piece(e, text, up)) < 0)
            return error;
        if (s.n == 0)
            return 0;
        if (s.p[0] != ':')
            return fail(e, ERR_SYNTAX, "\":\" expected", s);
    }
    s = span_drop(s, 1);
    if ((error = take_operand(e, &s, &text)) < 0)
        return error;
    if (s.n != 0)
        return fail(e, ERR_SYNTAX, "unexpected text", s);
    return is_true ? 0 : expand_piece(e, text, up);
}

/* What stood between the brackets, or the bare name. */
static int expand_reference(struct expander *e, struct span s, const struct frame *up)
{
    struct span whole = s, name = SPAN_NONE, value = SPAN_NONE;
    bool is_defined = false, is_true;
    size_t n = 0;
    int error;

    if (++e->steps > EXPAND_STEPS_MAX)
        return fail(e, ERR_LIMIT, "too many references", whole);
    s = skip_blanks(s);
    if (s.n > 0 && s.p[0] == '{') {
        if ((error = take_comparison(e, &s, up, &is_true)) < 0)
            return error;
        value = is_true ? SPAN_LIT("true") : SPAN_NONE;
        is_defined = true;
    } else {
        while (n < s.n && is_name_octet(s.p[n]))
            n++;
        name = span_take(s, n);
        s = skip_blanks(span_drop(s, n));
        if (s.n > 0 && s.p[0] != '?' && s.p[0] != ':')
            return fail(e, ERR_SYNTAX, "bad name in a reference", whole);
        is_defined = e->source->lookup(e->source->arg, name, &value);
    }
    if (s.n == 0)
        return !is_defined  ? 0
               : name.n > 0 ? put_value(e, name, value, up)
                            : str_append(e->out, value);
    if (s.p[0] != '?' && s.p[0] != ':')
        return fail(e, ERR_SYNTAX, "\"?\" or \":\" expected", s);
    return put_choice(e, s, is_defined && value.n > 0, up);
}

/* Take the reference off text, which begins with "$". */
static int take_reference(struct expander *e, struct span *text, struct span *inside)
{
    struct span whole = *text, s = span_drop(*text, 1);

    if (s.n > 0 && (s.p[0] == '{' || s.p[0] == '(')) {
        if (!take_bracketed(&s, s.p[0], s.p[0] == '{' ? '}' : ')', inside))
            return fail(e, ERR_SYNTAX, "a reference is not closed", whole);
    } else {
        size_t n = 0;

        while (n < s.n && is_name_octet(s.p[n]))
            n++;
        *inside = span_take(s, n);
        s = span_drop(s, n);
    }
    if (inside->n == 0)
        return fail(e, ERR_SYNTAX, "\"$\" without a name (write \"$$\" for a dollar sign)", whole);
    *text = s;
    return 0;
}

static int expand_piece(struct expander *e, struct span text, const struct frame *up)
{
    int error = 0;

    if (++e->depth > EXPAND_DEPTH_MAX)
        return fail(e, ERR_LIMIT, "references are nested too deeply", text);
    while (text.n > 0 && error == 0) {
        ptrdiff_t dollar = span_find(text, '$');
        struct span inside;

        error = str_append(e->out, span_take(text, dollar < 0 ? text.n : (size_t)dollar));
        if (error < 0 || dollar < 0)
            break;
        text = span_drop(text, (size_t)dollar);
        if (text.n > 1 && text.p[1] == '$') {
            error = str_append_char(e->out, '$');
            text = span_drop(text, 2);
            continue;
        }
        error = take_reference(e, &text, &inside);
        if (error == 0)
            error = expand_reference(e, inside, up);
    }
    e->depth--;
    if (error == ERR_TOO_LONG && e->why->len == 0)
        str_append_cstr(e->why, "the value is too long");
    return error;
}

int expand_text(struct str *out, struct span text, const struct expand_source *source,
                struct str *why)
{
    struct expander e = {.out = out, .source = source, .why = why};

    if (out->max == 0)
        out->max = EXPAND_LENGTH_MAX;
    return expand_piece(&e, text, NULL);
}
