/* support_journal.h: a journal in a temporary directory. */
#ifndef TESTS_UNIT_JOURNAL_SUPPORT_H
#define TESTS_UNIT_JOURNAL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/error.h"
#include "journal/batch.h"
#include "journal/shared.h"
#include "journal/writer.h"

struct place {
    char path[64];
    int dirfd;
    struct disk_real real;
    struct journal_options queue, store;
    struct journal_boot boot;
};

/* Small segments, so that sealing and cleaning happen. */
void place_make(struct place *p);
void place_remove(struct place *p);
/* Change octets of a file. */
void place_damage(struct place *p, const char *name, uint64_t offset, const char *text);

/* As a block that shows an older file's content: a copy under another name. */
void place_copy(struct place *p, const char *from, const char *to);

/* Octets that differ for each n. */
struct span place_body(uint64_t n, size_t length);

#endif
