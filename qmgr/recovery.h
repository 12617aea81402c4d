/*
 * recovery.h: the entries from the journal's records, when there is no snapshot of
 * them (snapshot.h).
 */
#ifndef QMGR_RECOVERY_H
#define QMGR_RECOVERY_H

#include "journal/journal.h"

/* A record, in the journal's order: makes or changes its entry. */
int recovery_record(void *arg, const struct journal_record *r);
/* All are read, or restored: what was removed goes, the rest takes its place. */
void recovery_settle(void);

#endif
