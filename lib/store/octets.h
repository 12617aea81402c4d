/* octets.h: numbers in records and index values; little endian, in keys big endian. */
#ifndef STORE_OCTETS_H
#define STORE_OCTETS_H

#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

static inline void octets_put(unsigned char *p, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(value >> (8 * i));
}

static inline uint64_t octets_get(const void *at, size_t n)
{
    const unsigned char *p = at;
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static inline void octets_put_key(unsigned char *p, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(value >> (8 * (n - 1 - i)));
}

static inline uint64_t octets_get_key(const void *at, size_t n)
{
    const unsigned char *p = at;
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

static inline int octets_append(struct str *out, uint64_t value, size_t n)
{
    unsigned char octets[8];

    octets_put(octets, value, n);
    return str_append(out, span_make(octets, n));
}

/* Take n octets off *in; false when there are fewer. */
static inline bool octets_take(struct span *in, size_t n, uint64_t *value)
{
    if (in->n < n)
        return false;
    *value = octets_get(in->p, n);
    *in = span_drop(*in, n);
    return true;
}

static inline bool octets_take_span(struct span *in, size_t n, struct span *out)
{
    if (in->n < n)
        return false;
    *out = span_take(*in, n);
    *in = span_drop(*in, n);
    return true;
}

#endif
