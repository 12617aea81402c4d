/*
 * boot.h: which boot of the machine a tail hint belongs to. A hint was never
 * synced, so it counts only in the boot that wrote it, or in the next one when
 * that boot's processes ended cleanly (exactly one boot is named as clean).
 */
#ifndef JOURNAL_BOOT_H
#define JOURNAL_BOOT_H

#include <stdbool.h>

#include "journal/format.h"

struct journal_boot {
    unsigned char current[BOOT_ID_SIZE];
    unsigned char clean[BOOT_ID_SIZE]; /* the boot before, if it ended clean; else zero */
};

/* Start of the suite, before anything appends to a journal below dirfd: reads
 * and durably rewrites the file "boot" there. */
int journal_boot_start(int dirfd, struct journal_boot *out);
/* Before a sandbox that hides /proc: remember which boot this is. 0 or -errno. */
int journal_boot_preload(void);
/* For every process that opens journals: what the last start wrote. A missing
 * or stale file gives the current boot alone. */
int journal_boot_read(int dirfd, struct journal_boot *out);
/* A clean stop, after the last process ended: syncs the file system of dirfd,
 * then marks this boot clean. */
int journal_boot_stop(int dirfd);

#endif
