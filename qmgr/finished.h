/*
 * finished.h: the last messages that left the queue, for whoever asks whether its commit
 * arrived (ledger_was_committed).
 */
#ifndef QMGR_FINISHED_H
#define QMGR_FINISHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct finished {
    uint64_t number, commit_hash;
};

void finished_note(uint64_t number, uint64_t commit_hash);
/* The i-th, the oldest first; NULL behind the last. */
const struct finished *finished_get(size_t i);

#endif
