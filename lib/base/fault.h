/*
 * fault.h: named fault points in journal, queue and store, compiled out of
 * normal builds (./configure --enable-faults, or CPPFLAGS=-DWAYPOST_FAULTS).
 *
 * WAYPOST_FAULT="name:count:action[,...]" in the environment arms them: at the
 * count-th pass of point "name", do "kill" (SIGKILL to itself), "eio", "enospc"
 * or "crash" (abort). FAULT(name) is 0 or the negative errno to behave as if
 * the next system call had failed with.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#ifdef WAYPOST_FAULTS
int fault_check(const char *name);
#define FAULT(name) fault_check(name)
#else
#define FAULT(name) 0
#endif

#endif
