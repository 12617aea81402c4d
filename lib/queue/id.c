#include "queue/id.h"

#include <stdbool.h>

#include "base/error.h"

/* No vowels, so that ids spell no words; "z" separates and is not a digit of the
 * number's base 51. */
static const char digits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";

enum { TIME_BASE = 52, NUMBER_BASE = 51, SECONDS_DIGITS = 6, MICROSECONDS_DIGITS = 4 };

/* Writes value with at least `least` digits; returns where the text ends. */
static char *put_number(char *at, uint64_t value, unsigned base, int least)
{
    char reversed[16];
    int n = 0;

    for (; value > 0 || n < least; value /= base)
        reversed[n++] = digits[value % base];
    while (n > 0)
        *at++ = reversed[--n];
    return at;
}

const char *queue_id_format(char text[QUEUE_ID_TEXT_MAX], struct queue_id id)
{
    uint64_t us = id.time_us > 0 ? (uint64_t)id.time_us : 0;
    char *at = text;

    at = put_number(at, us / 1000000, TIME_BASE, SECONDS_DIGITS);
    at = put_number(at, us % 1000000, TIME_BASE, MICROSECONDS_DIGITS);
    *at++ = 'z';
    at = put_number(at, id.number, NUMBER_BASE, 1);
    *at = '\0';
    return text;
}

static bool get_number(struct span s, unsigned base, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *digit = s.p[i] != '\0' ? strchr(digits, s.p[i]) : NULL;
        unsigned v = digit != NULL ? (unsigned)(digit - digits) : base;

        if (v >= base || __builtin_mul_overflow(*value, (uint64_t)base, value) ||
            __builtin_add_overflow(*value, (uint64_t)v, value))
            return false;
    }
    return s.n > 0;
}

int queue_id_parse(struct span text, struct queue_id *id)
{
    /* The number holds no "z", the time may. */
    ptrdiff_t mark = span_rfind(text, 'z');
    char again[QUEUE_ID_TEXT_MAX];
    uint64_t seconds, microseconds;

    if (text.n >= QUEUE_ID_TEXT_MAX || mark < SECONDS_DIGITS + MICROSECONDS_DIGITS)
        return ERR_SYNTAX;
    size_t seconds_n = (size_t)mark - MICROSECONDS_DIGITS;
    if (!get_number(span_take(text, seconds_n), TIME_BASE, &seconds) ||
        !get_number(span_make(text.p + seconds_n, MICROSECONDS_DIGITS), TIME_BASE, &microseconds) ||
        !get_number(span_drop(text, (size_t)mark + 1), NUMBER_BASE, &id->number))
        return ERR_SYNTAX;
    if (microseconds >= 1000000 || seconds > INT64_MAX / 1000000 - 1)
        return ERR_SYNTAX;
    id->time_us = (int64_t)(seconds * 1000000 + microseconds);
    queue_id_format(again, *id);
    return span_eq(span_cstr(again), text) ? 0 : ERR_SYNTAX;
}
