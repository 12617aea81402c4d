#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void str_init(struct str *s, struct budget *budget)
{
    *s = (struct str){.budget = budget};
}

void str_fini(struct str *s)
{
    free(s->data);
    budget_give(s->budget, s->cap);
    *s = (struct str){.budget = s->budget, .max = s->max};
}

void str_fini_secret(struct str *s)
{
    if (s->data != NULL)
        explicit_bzero(s->data, s->cap);
    str_fini(s);
}

void str_clear(struct str *s)
{
    s->error = 0;
    str_truncate(s, 0);
}

void str_truncate(struct str *s, size_t len)
{
    if (s->data == NULL || len >= s->len)
        return;
    s->len = len;
    s->data[len] = '\0';
}

static int grow(struct str *s, size_t need)
{
    size_t cap = s->cap < 32 ? 32 : s->cap;
    char *data;

    while (cap < need) {
        if (__builtin_mul_overflow(cap, (size_t)2, &cap))
            return -ENOMEM;
    }
    if (s->max != 0 && cap > s->max + 1)
        cap = s->max + 1;
    if (budget_take(s->budget, cap - s->cap) < 0)
        return -ENOMEM;
    data = realloc(s->data, cap);
    if (data == NULL) {
        budget_give(s->budget, cap - s->cap);
        return -ENOMEM;
    }
    if (s->data == NULL)
        data[0] = '\0';
    s->data = data;
    s->cap = cap;
    return 0;
}

int str_reserve(struct str *s, size_t more)
{
    size_t need;

    if (s->error != 0)
        return s->error;
    if (__builtin_add_overflow(s->len, more, &need) || (s->max != 0 && need > s->max))
        return s->error = ERR_TOO_LONG;
    if (need + 1 <= s->cap)
        return 0;
    return s->error = grow(s, need + 1);
}

int str_append(struct str *s, struct span text)
{
    int rc = str_reserve(s, text.n);

    if (rc < 0)
        return rc;
    if (text.n > 0)
        memcpy(s->data + s->len, text.p, text.n);
    s->len += text.n;
    s->data[s->len] = '\0';
    return 0;
}

int str_append_cstr(struct str *s, const char *text)
{
    return str_append(s, span_cstr(text));
}

int str_append_char(struct str *s, char c)
{
    return str_append(s, span_make(&c, 1));
}

int str_append_fill(struct str *s, char c, size_t n)
{
    int rc = str_reserve(s, n);

    if (rc < 0)
        return rc;
    memset(s->data + s->len, c, n);
    s->len += n;
    s->data[s->len] = '\0';
    return 0;
}

int str_append_u64(struct str *s, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return str_append(s, span_make(digits + at, sizeof(digits) - at));
}

int str_vprintf(struct str *s, const char *fmt, va_list ap)
{
    va_list again;
    int n, rc;

    if (s->error != 0)
        return s->error;
    va_copy(again, ap);
    n = vsnprintf(s->data ? s->data + s->len : NULL, s->data ? s->cap - s->len : 0, fmt, ap);
    if (n < 0) {
        rc = s->error = -EINVAL;
    } else if (s->data != NULL && s->len + (size_t)n < s->cap) {
        s->len += (size_t)n;
        rc = 0;
    } else {
        if (s->data != NULL)
            s->data[s->len] = '\0';
        rc = str_reserve(s, (size_t)n);
        if (rc == 0) {
            vsnprintf(s->data + s->len, s->cap - s->len, fmt, again);
            s->len += (size_t)n;
        }
    }
    va_end(again);
    return rc;
}

int str_printf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    int rc;

    va_start(ap, fmt);
    rc = str_vprintf(s, fmt, ap);
    va_end(ap);
    return rc;
}

int str_set(struct str *s, struct span text)
{
    str_clear(s);
    return str_append(s, text);
}

void str_drop_front(struct str *s, size_t n)
{
    if (n == 0 || s->data == NULL)
        return;
    if (n > s->len)
        n = s->len;
    s->len -= n;
    memmove(s->data, s->data + n, s->len + 1);
}

char *str_steal(struct str *s)
{
    char *data = NULL;

    if (s->error == 0 && str_reserve(s, 0) == 0) {
        data = s->data;
        budget_give(s->budget, s->cap);
        *s = (struct str){.budget = s->budget, .max = s->max};
    }
    return data;
}
