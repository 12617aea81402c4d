/*
 * contain.h: what happens after a process has died. Pure; time is an argument.
 *
 * A crash is a process that was ready and ended by a signal other than SIGKILL (which
 * others send) or with a status. Two in a minute: for ten minutes the service runs one
 * client per process, and the client that the crash note names is refused. A start
 * failure is a process that ended before it was ready: the next start waits, longer
 * each time.
 */
#ifndef MASTER_CONTAIN_H
#define MASTER_CONTAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum {
    CONTAIN_WINDOW_MS = 60 * 1000,
    CONTAIN_PERIOD_MS = 10 * 60 * 1000,
    CONTAIN_CRASHES = 2,
    CONTAIN_REFUSED_MAX = 16,
    CONTAIN_ADDRESS_MAX = 46,
    CONTAIN_PAUSE_MIN_MS = 1000,
};

struct containment {
    int64_t crashes_ms[CONTAIN_CRASHES]; /* the latest ones; 0 none */
    int64_t until_ms;                    /* 0: not contained */
    struct {
        char address[CONTAIN_ADDRESS_MAX];
        int64_t until_ms;
    } refused[CONTAIN_REFUSED_MAX];
    uint32_t failures;      /* starts that failed in a row */
    int64_t start_again_ms; /* no start before */
};

/* A crash at now_ms while a client of that address ("" unknown) was served. True
 * when containment begins, or when it begins for one more client. */
bool contain_crash(struct containment *c, int64_t now_ms, const char *address);
bool contain_is_active(const struct containment *c, int64_t now_ms);
/* The index-th client refused at this time, as processes are told: "SECONDS ADDRESS".
 * False when there is none. */
bool contain_refused(const struct containment *c, int64_t now_ms, unsigned index, struct str *out);

/* A start failed: no next one before ... (throttle_ms: the longest pause). */
void contain_start_failed(struct containment *c, int64_t now_ms, int64_t throttle_ms);
void contain_started(struct containment *c);
bool contain_may_start(const struct containment *c, int64_t now_ms);

#endif
