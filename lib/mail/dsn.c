#include "mail/dsn.h"

#include "base/error.h"

/* One to three digits without a leading zero before others (RFC 3463 2). */
static bool take_number(struct span *s, uint16_t *value)
{
    size_t n = 0;

    *value = 0;
    for (; n < 3 && n < s->n && ascii_is_digit(s->p[n]); n++)
        *value = (uint16_t)(*value * 10 + (s->p[n] - '0'));
    if (n == 0 || (n > 1 && s->p[0] == '0'))
        return false;
    *s = span_drop(*s, n);
    return true;
}

static bool take_dot(struct span *s)
{
    bool is_dot = span_starts(*s, SPAN_LIT("."));

    if (is_dot)
        *s = span_drop(*s, 1);
    return is_dot;
}

static bool take_status(struct span *s, struct dsn_status *out)
{
    return take_number(s, &out->class) && (out->class == 2 || out->class == 4 || out->class == 5) &&
           take_dot(s) && take_number(s, &out->subject) && take_dot(s) &&
           take_number(s, &out->detail);
}

int dsn_parse(struct span text, struct dsn_status *out)
{
    return take_status(&text, out) && text.n == 0 ? 0 : ERR_SYNTAX;
}

bool dsn_take(struct span *text, unsigned reply_code, struct dsn_status *out)
{
    struct span rest = *text;

    if (!take_status(&rest, out) || out->class != reply_code / 100)
        return false;
    if (rest.n > 0 && !ascii_is_blank(rest.p[0]))
        return false;
    while (rest.n > 0 && ascii_is_blank(rest.p[0]))
        rest = span_drop(rest, 1);
    *text = rest;
    return true;
}

struct dsn_status dsn_of_reply(unsigned reply_code)
{
    unsigned class = reply_code / 100;

    return (struct dsn_status){.class = (uint16_t)(class == 2 || class == 4 ? class : 5)};
}

int dsn_append(struct str *out, struct dsn_status status)
{
    return str_printf(out, "%u.%u.%u", status.class, status.subject, status.detail);
}
