/*
 * simdisk.h: a disk that loses what was not synced, and processes that run on it.
 *
 * Processes are coroutines; every disk call is a point where another one may go
 * on. A killed process gets -EIO from every further call, without effect, and so
 * unwinds by its error path. A power cut kills all and leaves of every sector some
 * prefix of the writes since its last sync, by one of several patterns; names are
 * lost or kept singly.
 */
#ifndef TESTS_SIM_SIMDISK_H
#define TESTS_SIM_SIMDISK_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/disk.h"

/* Deterministic numbers; one state for everything in a life. */
void sim_seed(uint64_t seed);
uint64_t sim_random(void);
uint64_t sim_below(uint64_t limit);

struct sim_options {
    unsigned sector; /* 512 or 4096 */
    bool destroys;   /* a power cut destroys a sector that was being written */
    bool stale;      /* new files show blocks of deleted ones */
    bool fresh;      /* the directory was just made: until its name is synced all may go */
};

void sim_start(const struct sim_options *options);
void sim_end(void);
struct disk *sim_disk(void);

/* --- processes --- */

typedef void sim_fn(void *arg);
enum { SIM_PROCESSES = 12 };
/* Start a process or a thread of one: those of a group die together. Returns false
 * when there is no room. */
bool sim_spawn(unsigned group, sim_fn *fn, void *arg);
/* Run until nothing is left; with steps > 0 stop after so many disk calls (true:
 * processes are still running). */
bool sim_run(uint64_t steps);
/* Let others go on, from inside a process. */
void sim_yield(void);
bool sim_is_dead(void);
/* Kill a group (or everything: UINT32_MAX) and let it unwind. */
void sim_kill(unsigned group);
bool sim_is_running(unsigned group);
void sim_power_cut(void);
/* How many disk calls there were. */
uint64_t sim_calls(void);

#endif
