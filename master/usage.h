/*
 * usage.h: what the kernel says of a process (proc(5)). A process may write what it
 * likes into its page of statistics, but not there. 0 when the process is gone.
 */
#ifndef MASTER_USAGE_H
#define MASTER_USAGE_H

#include <stdint.h>
#include <sys/types.h>

/* CPU time of its first thread, the one of the loop, in clock ticks (sysconf(3)). */
uint64_t usage_cpu_ticks(pid_t pid);
/* Resident memory in KiB. */
uint64_t usage_resident_kib(pid_t pid);

#endif
