#include "smtp/wire.h"

static void put_octet(struct wire *w, char c, struct str *out)
{
    if (w->line_limit > 0 && w->column >= w->line_limit) {
        str_append_cstr(out, "\r\n ");
        w->column = 1;
    }
    if (w->column == 0 && c == '.')
        str_append_char(out, '.');
    /* RFC 5321 2.3.8; and who strips NULs would find a dot at the start of a line. */
    if (c == '\r' || c == '\n' || (c == '\0' && w->column == 0))
        c = ' ';
    str_append_char(out, c);
    w->column++;
}

/* Up to and including the next LF. */
static size_t encode_slowly(struct wire *w, struct span in, struct str *out)
{
    size_t i = 0;

    while (i < in.n) {
        char c = in.p[i++];

        if (w->after_cr) {
            w->after_cr = false;
            if (c == '\n') {
                str_append_cstr(out, "\r\n");
                w->column = 0;
                break;
            }
            put_octet(w, '\r', out);
        }
        if (c == '\r')
            w->after_cr = true;
        else
            put_octet(w, c, out);
        if (c == '\n')
            break;
    }
    return i;
}

/* Octets of the whole line at the front of in that can go as it is; 0: look closer. */
static size_t plain_line(const struct wire *w, struct span in)
{
    const char *cr;
    size_t n;

    if (in.n < 2 || in.p[0] == '.' || in.p[0] == '\0')
        return 0;
    cr = memchr(in.p, '\r', in.n);
    if (cr == NULL)
        return 0;
    n = (size_t)(cr - in.p);
    if (n + 1 >= in.n || cr[1] != '\n' || (w->line_limit > 0 && n > w->line_limit))
        return 0;
    return memchr(in.p, '\n', n) == NULL ? n + 2 : 0;
}

size_t wire_plain(const struct wire *w, struct span in)
{
    size_t plain = 0, n;

    if (w->column > 0 || w->after_cr)
        return 0;
    while ((n = plain_line(w, span_drop(in, plain))) > 0)
        plain += n;
    return plain;
}

int wire_encode(struct wire *w, struct span in, struct str *out)
{
    while (in.n > 0) {
        size_t plain = wire_plain(w, in);

        str_append(out, span_take(in, plain));
        in = span_drop(in, plain);
        in = span_drop(in, encode_slowly(w, in, out));
    }
    return str_error(out);
}

int wire_end(struct wire *w, struct str *out)
{
    if (w->after_cr)
        put_octet(w, '\r', out);
    if (w->column > 0)
        str_append_cstr(out, "\r\n");
    w->after_cr = false;
    w->column = 0;
    return str_append_cstr(out, ".\r\n");
}
