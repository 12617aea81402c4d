/*
 * log_order.h: lines of many processes, put into the order of their times. Each
 * process has a connection of its own to postlogd, so that what was sent later may
 * be read sooner; lines are held a few milliseconds and sorted. Pure.
 */
#ifndef SERVICES_LOG_ORDER_H
#define SERVICES_LOG_ORDER_H

#include <sys/types.h>

#include "base/array.h"
#include "base/log.h"
#include "base/span.h"

struct log_line {
    enum log_level level;
    int64_t wall_us;
    pid_t pid;
    struct span tag, text;
};

struct log_held {
    struct log_line line;
    char *copy; /* of tag and text */
    int64_t taken_ms;
    uint64_t number;
};

/* Zero-initialise. */
struct log_order {
    ARRAY(struct log_held) lines;
    size_t octets;  /* held */
    uint64_t count; /* of lines, ever */
};

/* The line is copied; now_ms is of the monotonic clock. -ENOMEM, ERR_LIMIT (too
 * much is held): write it now. */
int log_order_add(struct log_order *o, const struct log_line *line, int64_t now_ms);
/* Hand out, in order, the lines up to the last one that was taken before until_ms. */
void log_order_release(struct log_order *o, int64_t until_ms,
                       void (*write)(const struct log_line *line));

#endif
