#include "base/span.h"

#include <errno.h>
#include <pthread.h>

#include "base/error.h"
#include "base/random.h"

bool span_ieq(struct span a, struct span b)
{
    return a.n == b.n && span_icmp(a, b) == 0;
}

bool span_starts(struct span s, struct span prefix)
{
    return s.n >= prefix.n && span_eq(span_take(s, prefix.n), prefix);
}

bool span_istarts(struct span s, struct span prefix)
{
    return s.n >= prefix.n && span_ieq(span_take(s, prefix.n), prefix);
}

bool span_iends(struct span s, struct span suffix)
{
    return s.n >= suffix.n && span_ieq(span_drop(s, s.n - suffix.n), suffix);
}

int span_cmp(struct span a, struct span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    if (order != 0)
        return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

int span_icmp(struct span a, struct span b)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)ascii_lower(a.p[i]);
        unsigned char y = (unsigned char)ascii_lower(b.p[i]);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

ptrdiff_t span_find(struct span s, char c)
{
    const char *hit = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

    return hit != NULL ? hit - s.p : -1;
}

ptrdiff_t span_rfind(struct span s, char c)
{
    const char *hit = s.n > 0 ? memrchr(s.p, c, s.n) : NULL;

    return hit != NULL ? hit - s.p : -1;
}

ptrdiff_t span_search(struct span s, struct span needle)
{
    const char *hit;

    if (needle.n == 0)
        return 0;
    hit = s.n > 0 ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return hit != NULL ? hit - s.p : -1;
}

ptrdiff_t span_isearch(struct span s, struct span needle)
{
    for (size_t i = 0; i + needle.n <= s.n; i++) {
        if (span_ieq(span_make(s.p + i, needle.n), needle))
            return (ptrdiff_t)i;
    }
    return -1;
}

static bool is_trimmed(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span s)
{
    while (s.n > 0 && is_trimmed(s.p[0]))
        s = span_drop(s, 1);
    while (s.n > 0 && is_trimmed(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool span_next(struct span *rest, char sep, struct span *item)
{
    ptrdiff_t at;

    if (rest->p == NULL)
        return false;
    at = span_find(*rest, sep);
    if (at < 0) {
        *item = *rest;
        *rest = SPAN_NONE;
    } else {
        *item = span_take(*rest, (size_t)at);
        *rest = span_drop(*rest, (size_t)at + 1);
    }
    return true;
}

bool span_token(struct span *rest, const char *seps, struct span *token)
{
    size_t start = 0, end;

    while (start < rest->n && strchr(seps, rest->p[start]) != NULL && rest->p[start] != '\0')
        start++;
    end = start;
    while (end < rest->n && (rest->p[end] == '\0' || strchr(seps, rest->p[end]) == NULL))
        end++;
    if (start == end) {
        *rest = SPAN_NONE;
        return false;
    }
    *token = span_make(rest->p + start, end - start);
    *rest = span_drop(*rest, end);
    return true;
}

int span_to_u64(struct span s, uint64_t *value)
{
    uint64_t v = 0;

    if (s.n == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]))
            return ERR_SYNTAX;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return -ERANGE;
    }
    *value = v;
    return 0;
}

int span_to_u32(struct span s, uint32_t *value)
{
    uint64_t wide;
    int rc = span_to_u64(s, &wide);

    if (rc < 0)
        return rc;
    if (wide > UINT32_MAX)
        return -ERANGE;
    *value = (uint32_t)wide;
    return 0;
}

int span_to_i64(struct span s, int64_t *value)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t wide;
    int rc = span_to_u64(negative ? span_drop(s, 1) : s, &wide);

    if (rc < 0)
        return rc;
    if (wide > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return -ERANGE;
    *value = (int64_t)(negative ? 0 - wide : wide);
    return 0;
}

/* SipHash-2-4, Aumasson and Bernstein 2012. */
struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t sip_key[2];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void make_sip_key(void)
{
    random_bytes(sip_key, sizeof(sip_key));
}

static inline uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

static uint64_t sip_hash(struct span s, bool fold)
{
    struct sip h;
    uint64_t word = 0;

    pthread_once(&sip_once, make_sip_key);
    h.v0 = sip_key[0] ^ 0x736f6d6570736575ULL;
    h.v1 = sip_key[1] ^ 0x646f72616e646f6dULL;
    h.v2 = sip_key[0] ^ 0x6c7967656e657261ULL;
    h.v3 = sip_key[1] ^ 0x7465646279746573ULL;
    for (size_t i = 0; i < s.n; i++) {
        char c = fold ? ascii_lower(s.p[i]) : s.p[i];
        word |= (uint64_t)(unsigned char)c << (8 * (i % 8));
        if (i % 8 == 7) {
            sip_word(&h, word);
            word = 0;
        }
    }
    sip_word(&h, word | (uint64_t)s.n << 56);
    h.v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(&h);
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

uint64_t span_hash(struct span s)
{
    return sip_hash(s, false);
}

uint64_t span_ihash(struct span s)
{
    return sip_hash(s, true);
}

size_t span_ascii(struct span s)
{
    size_t i = 0;
    uint64_t word;

    for (; i + sizeof(word) <= s.n; i += sizeof(word)) {
        memcpy(&word, s.p + i, sizeof(word));
        if ((word & 0x8080808080808080) != 0)
            break;
    }
    while (i < s.n && (unsigned char)s.p[i] < 0x80)
        i++;
    return i;
}
