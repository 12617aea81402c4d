/* life.h: one simulated life of a journal: work, crash, recover, again and again. */
#ifndef TESTS_SIM_LIFE_H
#define TESTS_SIM_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/rules.h"
#include "simdisk.h"

struct life {
    uint64_t seed;
    unsigned crashes; /* power cuts and kills in this life */
    uint32_t alignment;
    uint64_t reserve; /* numbers reserved at a time; 0: the usual */
    struct sim_options disk;
    /* What came of it. */
    char failure[200]; /* empty: nothing was lost */
    uint64_t confirmed, cleaned, returned, restored, cuts, kills;
};

void life_queue(struct life *life);
void life_store(struct life *life);

/* Notes the first failure of the life that is going on. */
void life_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
extern struct life *the_life;

#endif
