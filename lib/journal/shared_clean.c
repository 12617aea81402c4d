/* Store mode: what the cleaner needs. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fault.h"
#include "journal/rules.h"
#include "journal/shared_internal.h"

static int describe(struct journal_shared *j, uint64_t number, struct journal_shared_segment *out)
{
    struct open_segment *s;
    int rc = segment_open(j->disk, number, DISK_READ, &s);

    *out = (struct journal_shared_segment){.number = number, .is_leftover = true};
    if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    rc = segment_begins(s, &out->has_snapshot);
    out->is_leftover = rc == 0;
    if (rc >= 0)
        rc = s->file->ops->size(s->file, &out->size);
    segment_close(&s);
    return rc;
}

int journal_shared_segments(struct journal_shared *j, struct journal_shared_segment **out,
                            size_t *count)
{
    struct segment_list list = {0};
    struct journal_shared_segment *all = NULL;
    int rc = segment_list_read(j->disk, &list);

    if (rc == 0) {
        all = calloc(list.numbers.len + 1, sizeof(*all));
        rc = all == NULL ? -ENOMEM : 0;
    }
    for (size_t i = 0; rc == 0 && i < list.numbers.len; i++)
        rc = describe(j, list.numbers.items[i], &all[i]);
    for (size_t i = list.numbers.len; rc == 0 && i > 0; i--) {
        all[i - 1].is_active = !all[i - 1].is_leftover;
        if (all[i - 1].is_active)
            break;
    }
    *count = list.numbers.len;
    array_free(&list.numbers);
    if (rc < 0) {
        free(all);
        return rc;
    }
    *out = all;
    return 0;
}

int journal_shared_clean_begin(struct journal_shared *j)
{
    int rc = j->tail->ops->lock(j->tail, DISK_LOCK_CLEANER, false);

    j->is_cleaning = rc == 0;
    return rc;
}

void journal_shared_clean_end(struct journal_shared *j)
{
    if (j->is_cleaning)
        j->tail->ops->unlock(j->tail, DISK_LOCK_CLEANER);
    j->is_cleaning = false;
}

int journal_shared_seal(struct journal_shared *j, bool snapshot)
{
    bool was_locked = j->is_locked;
    int rc = was_locked ? shared_find_end(j) : journal_shared_lock(j, NULL);

    if (rc < 0)
        return rc;
    rc = shared_seal(j, snapshot);
    if (rc == 0)
        rc = shared_write_hint(j);
    if (!was_locked)
        journal_shared_unlock(j);
    return rc;
}

/* Whether a segment behind this one begins with a snapshot, whole and readable. */
static int is_superseded(struct journal_shared *j, uint64_t segment, bool *yes)
{
    struct journal_shared_segment *all;
    size_t count;
    int rc = journal_shared_segments(j, &all, &count);

    if (rc < 0)
        return rc;
    *yes = false;
    for (size_t i = 0; i < count; i++)
        *yes = *yes || (all[i].number > segment && all[i].has_snapshot);
    free(all);
    return 0;
}

int journal_shared_remove(struct journal_shared *j, uint64_t segment)
{
    char name[SEGMENT_NAME_SIZE];
    bool yes = false;
    int rc = journal_shared_lock(j, NULL);

    if (rc < 0)
        return rc;
    rc = segment >= j->end.header.number ? -EBUSY : is_superseded(j, segment, &yes);
    if (rc == 0 && !yes)
        rc = -EBUSY;
    /* The snapshot that replaces it may be in the active segment, not yet synced. */
    if (rc == 0 && RULE(RULE_SNAPSHOT_SYNC))
        rc = shared_sync_active(j);
    if (rc == 0)
        rc = FAULT("journal_remove");
    if (rc == 0) {
        segment_name(name, segment);
        rc = j->disk->ops->unlink(j->disk, name);
    }
    journal_shared_unlock(j);
    return rc == -ENOENT ? ERR_NOT_FOUND : rc;
}
