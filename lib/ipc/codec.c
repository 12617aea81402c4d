#include "ipc/codec.h"

#include "base/error.h"

enum { DIGITS_MAX = 6 }; /* 192 KiB has no more */

static bool is_name_octet(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_' || c == '.';
}

bool ipc_name_is_valid(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (!is_name_octet(name.p[i]))
            return false;
    }
    return name.n > 0 && name.n <= IPC_NAME_MAX;
}

/* Canonical decimal digits up to end (which is dropped). */
static int take_number(struct span *rest, char end, size_t *value)
{
    size_t n = 0, result = 0;

    while (n < rest->n && n < DIGITS_MAX && ascii_is_digit(rest->p[n]))
        result = result * 10 + (size_t)(rest->p[n++] - '0');
    if (n == 0 || n == rest->n || rest->p[n] != end || (n > 1 && rest->p[0] == '0'))
        return ERR_PROTOCOL;
    *value = result;
    *rest = span_drop(*rest, n + 1);
    return 0;
}

/* A name and the octet behind it (both dropped). */
static int take_name(struct span *rest, struct span *name, char *end)
{
    size_t n = 0;

    while (n < rest->n && n <= IPC_NAME_MAX && is_name_octet(rest->p[n]))
        n++;
    if (n == rest->n || !ipc_name_is_valid(span_take(*rest, n)))
        return ERR_PROTOCOL;
    *name = span_take(*rest, n);
    *end = rest->p[n];
    *rest = span_drop(*rest, n + 1);
    return 0;
}

static int take_value(struct span *rest, struct ipc_walk *w)
{
    size_t length;
    char end;

    if (take_name(rest, &w->name, &end) < 0)
        return ERR_PROTOCOL;
    w->is_descriptor = end == '@';
    length = 0;
    if (!w->is_descriptor && (end != '=' || take_number(rest, ':', &length) < 0))
        return ERR_PROTOCOL;
    if (length >= rest->n || rest->p[length] != '\n')
        return ERR_PROTOCOL;
    w->value = span_take(*rest, length);
    *rest = span_drop(*rest, length + 1);
    return 0;
}

bool ipc_value_next(struct span values, struct ipc_walk *w)
{
    struct span rest = span_drop(values, w->at);

    if (rest.n == 0 || take_value(&rest, w) < 0)
        return false;
    w->at = values.n - rest.n;
    return true;
}

static int check_values(const struct ipc_frame *f)
{
    struct span rest = f->values;
    struct ipc_walk w;
    size_t count = 0, descriptors = 0;

    while (rest.n > 0) {
        if (take_value(&rest, &w) < 0 || ++count > IPC_VALUES_MAX)
            return ERR_PROTOCOL;
        descriptors += w.is_descriptor;
    }
    return descriptors == f->descriptors ? 0 : ERR_PROTOCOL;
}

int ipc_decode(struct span packet, struct ipc_frame *f)
{
    struct span rest = packet;
    size_t values, content;
    char end;

    if (take_name(&rest, &f->kind, &end) < 0 || end != ' ' ||
        take_number(&rest, ' ', &values) < 0 || take_number(&rest, ' ', &content) < 0 ||
        take_number(&rest, '\n', &f->descriptors) < 0)
        return ERR_PROTOCOL;
    if (values > IPC_ATTRIBUTES_MAX || content > IPC_CONTENT_MAX || f->descriptors > IPC_FDS_MAX ||
        values + content > rest.n)
        return ERR_PROTOCOL;
    f->values = span_take(rest, values);
    f->content = span_take(span_drop(rest, values), content);
    f->size = packet.n - rest.n + values + content;
    return check_values(f);
}

size_t ipc_encoded_size(const struct ipc_out *m)
{
    return strlen(m->kind) + m->text.len + m->content.n + (1 + DIGITS_MAX) * 3 + 1;
}

int ipc_encode(struct str *out, const struct ipc_out *m)
{
    if (m->error != 0)
        return m->error;
    /* Room first: a message is appended whole or not at all. */
    if (str_reserve(out, ipc_encoded_size(m)) < 0)
        return str_error(out);
    str_append_cstr(out, m->kind);
    str_append_char(out, ' ');
    str_append_u64(out, m->text.len);
    str_append_char(out, ' ');
    str_append_u64(out, m->content.n);
    str_append_char(out, ' ');
    str_append_u64(out, m->fd_count);
    str_append_char(out, '\n');
    str_append(out, str_span(&m->text));
    str_append(out, m->content);
    return str_error(out);
}
