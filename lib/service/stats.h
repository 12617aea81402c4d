/*
 * stats.h: the page of statistics that every process owns.
 *
 * master makes it (a memory file of fixed size, sealed), the process maps it
 * writable, and nobody else may write. master, waypost and the metrics read it
 * without asking; they read it as hostile input, through stats_read().
 */
#ifndef SERVICE_STATS_H
#define SERVICE_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "task/task.h"

enum {
    STATS_MAGIC = 0x57505354, /* "WPST" */
    STATS_VERSION = 2,
};

enum stats_state { STATS_STARTING, STATS_READY, STATS_DRAINING, STATS_STATES };

/* Written by one thread; every field on its own, so a reader may see fields of
 * different moments but never half a field. */
struct stats_page {
    uint32_t magic, version;
    uint32_t state;    /* enum stats_state */
    uint32_t kind;     /* enum service_kind */
    uint64_t clients;  /* connections now */
    uint64_t limit;    /* most clients or deliveries, as the process knows it */
    uint64_t work;     /* deliveries now (agents) */
    uint64_t capacity; /* deliveries it could do at once, as it says */
    uint64_t accepted; /* connections ever */
    uint64_t refused;  /* connections closed because of a crash note */
    uint64_t accept_errors;
    uint64_t full_times; /* times the limit was reached */
    uint64_t log_dropped;
    /* From the task runtime, brought up to date when clients come and go. */
    uint64_t turns, switches, jobs, busy_us, longest_turn_us, tasks;
    struct task_crash_note note; /* what runs now; stays behind after a crash */
};

/* master: a new page as descriptor (close-on-exec) that cannot change size.
 * Negative code on failure. */
int stats_create(void);
/* The owner: map fd writable and fill in the head. NULL with errno. */
struct stats_page *stats_map(int fd);
/* A reader: map fd read-only. NULL with errno; also when it is not such a page. */
const struct stats_page *stats_map_readonly(int fd);
void stats_unmap(const struct stats_page *page);

/* Copy a page and make the copy safe to use: enumerations in range, texts
 * terminated and printable. ERR_VERSION when it is not our version,
 * ERR_CORRUPT when no process has filled it in. */
int stats_read(const struct stats_page *page, struct stats_page *copy);
/* The client's address out of a crash note such as "name[192.0.2.1]"; empty when
 * there is none. Borrowed from note; only octets that can be in an address. */
struct span stats_note_address(const struct task_crash_note *note);

#endif
