/* octets.h: numbers of n (at most 8) octets in records and index values; little endian,
 * in keys big endian. */
#ifndef STORE_OCTETS_H
#define STORE_OCTETS_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"
#include "base/str.h"

/* n is constant nearly everywhere, and then each of these is one instruction or two. */
static inline void octets_put(unsigned char *p, uint64_t value, size_t n)
{
    value = htole64(value);
    memcpy(p, &value, n);
}

static inline uint64_t octets_get(const void *at, size_t n)
{
    uint64_t value = 0;

    memcpy(&value, at, n);
    return le64toh(value);
}

static inline void octets_put_key(unsigned char *p, uint64_t value, size_t n)
{
    value = htobe64(value);
    memcpy(p, (unsigned char *)&value + 8 - n, n);
}

static inline uint64_t octets_get_key(const void *at, size_t n)
{
    uint64_t value = 0;

    memcpy((unsigned char *)&value + 8 - n, at, n);
    return be64toh(value);
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
