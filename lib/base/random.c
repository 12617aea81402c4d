#include "base/random.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

#include "base/log.h"

void random_bytes(void *buf, size_t n)
{
    unsigned char *p = buf;

    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            panic("getrandom: %m");
        p += got;
        n -= (size_t)got;
    }
}

uint64_t random_u64(void)
{
    uint64_t value;

    random_bytes(&value, sizeof(value));
    return value;
}

uint32_t random_below(uint32_t limit)
{
    uint32_t floor = -limit % limit; /* values below it would favour small results */
    uint32_t value;

    do {
        random_bytes(&value, sizeof(value));
    } while (value < floor);
    return value % limit;
}
