/*
 * snapshot.h: the entries as a clean stop left them, in a file beside the journal's
 * segments, so that the next start need not read the records: with 1,000,000 deferred
 * messages 0.8 s instead of 2.6, most of it CPU.
 *
 * It is derived from the journal and believed only while the journal's end is the one
 * that it names (journal_writer_mark) and its checksum is right; else it is as if it
 * were not there. A start removes it. Its octets are for this machine alone.
 */
#ifndef QMGR_SNAPSHOT_H
#define QMGR_SNAPSHOT_H

#include "base/str.h"

struct snapshot {
    struct str octets;
    struct span rest; /* behind the mark */
    uint64_t finished, entries;
};

/* All block; directory: of the journal. */

/* ERR_NOT_FOUND, ERR_CORRUPT; appends the mark. */
int snapshot_read(struct snapshot *s, int directory, struct str *mark);
/* Make the entries (recovery_settle() comes next), and what finished.h knows. ERR_CORRUPT,
 * -ENOMEM: some may have been made, and recovery makes the same ones again. */
int snapshot_restore(struct snapshot *s);
void snapshot_fini(struct snapshot *s);
/* Durable when it returns; replaces an older one. */
int snapshot_save(int directory, struct span mark);
void snapshot_remove(int directory);

#endif
