#include "queue/attr.h"

#include "base/error.h"

static void put_length(struct str *out, uint64_t n)
{
    do {
        unsigned char octet = n & 0x7f;

        n >>= 7;
        str_append_char(out, (char)(octet | (n != 0 ? 0x80 : 0)));
    } while (n != 0);
}

static int get_length(struct span *rest, uint64_t *n)
{
    *n = 0;
    for (unsigned shift = 0; shift < 35 && rest->n > 0; shift += 7) {
        unsigned char octet = (unsigned char)rest->p[0];

        *rest = span_drop(*rest, 1);
        *n |= (uint64_t)(octet & 0x7f) << shift;
        if ((octet & 0x80) == 0)
            return 0;
    }
    return ERR_SYNTAX;
}

void queue_attr_put_span(struct str *out, struct span name, struct span value)
{
    put_length(out, name.n);
    str_append(out, name);
    put_length(out, value.n);
    str_append(out, value);
}

void queue_attr_put(struct str *out, const char *name, struct span value)
{
    queue_attr_put_span(out, span_cstr(name), value);
}

void queue_attr_put_u64(struct str *out, const char *name, uint64_t value)
{
    char text[24];
    size_t n = sizeof(text);

    do
        text[--n] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    queue_attr_put(out, name, span_make(text + n, sizeof(text) - n));
}

void queue_attr_put_i64(struct str *out, const char *name, int64_t value)
{
    char text[24];
    size_t n = sizeof(text);
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

    do
        text[--n] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0)
        text[--n] = '-';
    queue_attr_put(out, name, span_make(text + n, sizeof(text) - n));
}

static int get_text(struct span *rest, uint64_t max, struct span *text)
{
    uint64_t n;

    if (get_length(rest, &n) < 0 || n > max || n > rest->n)
        return ERR_SYNTAX;
    *text = span_take(*rest, n);
    *rest = span_drop(*rest, n);
    return 0;
}

int queue_attr_next(struct span *rest, struct span *name, struct span *value)
{
    if (rest->n == 0)
        return 0;
    if (get_text(rest, QUEUE_ATTR_NAME_MAX, name) < 0 || name->n == 0 ||
        get_text(rest, UINT32_MAX, value) < 0)
        return ERR_SYNTAX;
    return 1;
}

int queue_attr_get(struct span list, const char *name, struct span *value)
{
    struct span n, v;
    int rc;

    while ((rc = queue_attr_next(&list, &n, &v)) == 1) {
        if (span_eq(n, span_cstr(name))) {
            *value = v;
            return 0;
        }
    }
    return rc < 0 ? rc : ERR_NOT_FOUND;
}

int queue_attr_get_u64(struct span list, const char *name, uint64_t *value)
{
    struct span text;
    int rc = queue_attr_get(list, name, &text);

    return rc < 0 ? rc : span_to_u64(text, value);
}
