/* crc32c.h: CRC-32C (Castagnoli, RFC 3720 12.1); SSE4.2 where the CPU has it. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue from seed (0 to begin); pre- and post-inverted, so that
 * crc32c(crc32c(0, a), b) is the CRC of a followed by b. */
uint32_t crc32c(uint32_t seed, const void *data, size_t n);

#endif
