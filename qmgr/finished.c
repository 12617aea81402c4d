#include "qmgr/finished.h"

enum { FINISHED_MAX = 65536 };

/* A ring. */
static struct finished ring[FINISHED_MAX];
static size_t begun; /* ever noted */

void finished_note(uint64_t number, uint64_t commit_hash)
{
    ring[begun++ % FINISHED_MAX] = (struct finished){number, commit_hash};
}

const struct finished *finished_get(size_t i)
{
    size_t oldest = begun > FINISHED_MAX ? begun - FINISHED_MAX : 0;

    return oldest + i < begun ? &ring[(oldest + i) % FINISHED_MAX] : NULL;
}
