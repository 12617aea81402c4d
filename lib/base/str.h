/*
 * str.h: the one growable string. Always NUL-terminated, may hold any octet,
 * bounded by max and by a budget.
 *
 * Errors stick: after a failed append the content is as before, every further
 * append fails too, and str_error() tells why. So a sequence of appends is
 * checked once, at its end. str_clear() resets the error.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/span.h"

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

struct str {
    char *data; /* NULL while nothing was appended */
    size_t len;
    size_t cap; /* allocated octets, the final NUL included */
    size_t max; /* largest len; 0 = no limit of its own */
    struct budget *budget;
    int error;
};

/* A zeroed struct str is valid as well: no budget, no maximum. */
void str_init(struct str *s, struct budget *budget);
void str_fini(struct str *s);
/* Overwrites the memory first: for secrets. */
void str_fini_secret(struct str *s);
/* len = 0 and error = 0; keeps the memory. */
void str_clear(struct str *s);
/* Cut to len octets (no-op when shorter). */
void str_truncate(struct str *s, size_t len);

/* All return 0, or -ENOMEM (budget, memory) or ERR_TOO_LONG (max). */
int str_reserve(struct str *s, size_t more);
int str_append(struct str *s, struct span text);
int str_append_cstr(struct str *s, const char *text);
int str_append_char(struct str *s, char c);
int str_append_fill(struct str *s, char c, size_t n);
int str_append_u64(struct str *s, uint64_t value);
/* No floating point: its printing needs too much of a task's stack. */
int str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
int str_vprintf(struct str *s, const char *fmt, va_list ap);
/* clear + append */
int str_set(struct str *s, struct span text);
/* Drop n octets from the front. */
void str_drop_front(struct str *s, size_t n);

static inline struct span str_span(const struct str *s)
{
    return (struct span){s->data ? s->data : "", s->len};
}

/* Never NULL. */
static inline const char *str_cstr(const struct str *s)
{
    return s->data ? s->data : "";
}

static inline int str_error(const struct str *s)
{
    return s->error;
}

/* The text as malloc'ed C string, s is empty afterwards; NULL when s has an
 * error or memory is short. The budget no longer counts it. */
char *str_steal(struct str *s);

#endif
