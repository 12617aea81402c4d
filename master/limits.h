/*
 * limits.h: arithmetic of limits and of scaling. Pure: what master knows goes in,
 * what it should do comes out; time is an argument.
 */
#ifndef MASTER_LIMITS_H
#define MASTER_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/service.h"

/* What a machine can carry. */
struct limits_machine {
    uint64_t memory_bytes; /* of the machine or the control group */
    uint64_t descriptors;  /* per process */
    uint32_t cores;
};

/* maxproc as an admin means it: the most clients or deliveries of a service.
 * maxproc -1 is "-" (default_process_limit if main.cf sets it: pass that as
 * default_limit, else 0, and the machine decides); 0 is "without limit", which
 * also is what the machine can carry. */
uint32_t limits_service(int64_t maxproc, int64_t default_limit,
                        const struct limits_machine *machine);
/* What one process can carry with its descriptors. */
uint32_t limits_process(const struct limits_machine *machine);

/* One process of a service as limits_share() sees it. */
struct limits_share {
    uint32_t clients; /* now, as it says */
    uint32_t granted; /* it may believe that it has this limit */
    uint32_t target;  /* out: the limit it should have */
};
/* Divide total among processes: nobody below what it has, the rest evenly,
 * nobody above per_process. Σ target <= total unless Σ clients is more already. */
void limits_divide(struct limits_share *shares, size_t count, uint32_t total, uint32_t per_process);
/* What may be granted to one more process, or on top of one that has own, at
 * this moment: what others were told counts until they have confirmed less. */
uint32_t limits_grantable(const struct limits_share *shares, size_t count, size_t self,
                          uint32_t total);

/* A service as limits_wanted_processes() sees it. */
struct limits_load {
    enum service_kind kind;
    uint32_t total;         /* most clients */
    uint32_t client_limit;  /* most clients of one process, fixed by parameter; 0: not fixed */
    uint32_t process_count; /* fixed by parameter; 0: by load */
    uint32_t processes;     /* that accept now */
    uint64_t clients;       /* of those */
    uint64_t capacity;      /* Σ limits of those */
    uint32_t busy_permille; /* mean use of a core by those over the last second */
    uint32_t busy_seconds;  /* for how long that was process_busy_share or more */
    uint32_t idle_seconds;  /* for how long one process less would have done */
    uint32_t cores;
    bool has_waiting;  /* somebody waits at a listener that nobody reads */
    bool is_contained; /* after crashes: one client per process */
    bool is_kept;      /* one process at least */
};
/* Number of accepting processes there should be, 0 to ...: at most one more or
 * one less than now, except with client_limit 1. max_idle in seconds. */
uint32_t limits_wanted_processes(const struct limits_load *load, uint32_t max_idle);

/* Which line about a limit is due: 0 none, 80 or 100 (percent); each is due once
 * until use has fallen below 70 percent. *told is the memory between calls. */
int limits_warning(uint64_t used, uint64_t limit, int *told);

#endif
