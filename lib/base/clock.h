/*
 * clock.h: the one way to ask for the time.
 * Deadlines use the monotonic clock, the queue and mail the wall clock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds on the monotonic clock. */
typedef int64_t deadline_t;

#define DEADLINE_NONE INT64_MAX

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Since 1970-01-01 UTC. */
int64_t clock_wall_us(void);
int64_t clock_wall_s(void);

/* CPU time of the calling process. */
int64_t clock_cpu_us(void);

/* The deadline after_ms from now; a negative value means none. */
deadline_t deadline_in(int64_t after_ms);
/* The earlier of two. */
static inline deadline_t deadline_min(deadline_t a, deadline_t b)
{
    return a < b ? a : b;
}

#endif
