/* random.h: octets from the kernel's generator. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fill buf; panics if the kernel cannot (it always can after boot). Works in
 * every sandbox that allows getrandom(2). Any thread. */
void random_bytes(void *buf, size_t n);
uint64_t random_u64(void);
/* Uniform in [0, limit); limit > 0. */
uint32_t random_below(uint32_t limit);

#endif
