/*
 * spool.h: a message on its way in: in memory while it is small, in a nameless file
 * when it is not. Bare LF becomes CRLF and NUL 0x80 (RFC 3501 4.3.1: not allowed in
 * literals), so that what is kept can be sent as it is.
 */
#ifndef IMAPD_SPOOL_H
#define IMAPD_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "task/task.h"

enum { SPOOL_MEMORY_OCTETS = 131072 };

struct spool {
    struct str text; /* what is not in the file */
    int directory;   /* where the file would be made */
    int fd;          /* -1: none yet */
    uint64_t length; /* octets in the file */
    bool was_cr;
};

/* directory: where the file is made, if it comes to one. Memory draws on budget. */
void spool_init(struct spool *s, int directory, struct budget *budget);
void spool_fini(struct spool *s);
/* 0, -ENOMEM, or what writing gave. */
TASK_WAITS int spool_feed(struct spool *s, struct span octets);
/* Everything into the file, if there is one. */
TASK_WAITS int spool_finish(struct spool *s);

#endif
