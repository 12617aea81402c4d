/* What an admin does with a message: flush, hold, release, requeue, delete. */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "qmgr/active.h"
#include "qmgr/transport.h"

/* Write what changed about a message that is not active: load, change, write. */
static int change(struct entry *e, void (*edit)(struct loaded *l))
{
    enum entry_place place = e->place == ENTRY_PARKED ? ENTRY_INCOMING : e->place;
    uint64_t number = e->id.number;
    struct loaded l;

    entry_move(e, ENTRY_NOWHERE); /* nobody else takes it while this waits */
    int rc = ledger_load(e, &l, false);
    if (rc == 0) {
        edit(&l);
        rc = ledger_write_state(e, &l);
    }
    loaded_fini(&l);
    if (entry_find(number) == e) {
        entry_move(e, place);
        active_kick();
    }
    return rc;
}

/* Take waiting jobs back, so that the pass ends with those that are out. */
static void recall(struct active *a)
{
    LIST_FOR_SAFE(item, &a->jobs)
    {
        struct job *job = LIST_ITEM(item, struct job, link);

        if (job->schedule.lane == NULL)
            continue;
        bool is_last = a->job_count == 1 && a->pins == 0;
        struct schedule_destination *d = job->schedule.destination;
        uint64_t lane_key = job->lane_key;

        schedule_remove(&job->schedule);
        transport_unpark(d, lane_key);
        active_recall_job(job);
        if (is_last)
            return; /* a is gone */
    }
}

void active_flush(struct entry *e)
{
    if (e->under_way > 0)
        return; /* it is being delivered */
    if (e->place == ENTRY_DEFERRED) {
        e->is_forced = true;
        e->next_attempt_s = 0;
        entry_move(e, ENTRY_DEFERRED);
        active_kick();
    } else if (e->place == ENTRY_ACTIVE) {
        e->is_flush_wanted = true;
    }
}

int active_delete(struct entry *e)
{
    if (e->active != NULL) {
        e->active->is_delete_wanted = true;
        recall(e->active);
        return 0;
    }
    char id[QUEUE_ID_TEXT_MAX];
    log_info("%s: removed", queue_id_format(id, e->id));
    return ledger_remove(e);
}

static void edit_hold(struct loaded *l)
{
    l->flags |= ENTRY_HOLD;
}

static void edit_release(struct loaded *l)
{
    l->flags &= ~(uint32_t)ENTRY_HOLD;
    l->next_attempt_s = clock_wall_s();
}

int active_hold(struct entry *e, bool on)
{
    if ((e->place == ENTRY_ON_HOLD) == on)
        return ERR_EXISTS;
    if (e->active != NULL) {
        e->active->is_hold_wanted = true;
        recall(e->active);
        return 0;
    }
    int rc = change(e, on ? edit_hold : edit_release);
    if (rc == 0) {
        e->next_attempt_s = clock_wall_s();
        entry_move(e, on ? ENTRY_ON_HOLD : ENTRY_DEFERRED);
        active_kick();
    }
    return rc;
}

static void edit_requeue(struct loaded *l)
{
    l->flags = (l->flags | ENTRY_ROUTE_ANEW) & ~(uint32_t)ENTRY_HOLD;
    l->next_attempt_s = clock_wall_s();
}

int active_requeue(struct entry *e)
{
    if (e->active != NULL) {
        e->active->is_requeue_wanted = true;
        recall(e->active);
        return 0;
    }
    int rc = change(e, edit_requeue);
    if (rc == 0) {
        e->next_attempt_s = clock_wall_s();
        entry_move(e, ENTRY_DEFERRED);
        active_kick();
    }
    return rc;
}

static void edit_expire(struct loaded *l)
{
    l->flags |= ENTRY_EXPIRE;
}

int active_expire(struct entry *e)
{
    if (e->active != NULL) {
        e->active->loaded.flags |= ENTRY_EXPIRE;
        return 0;
    }
    return change(e, edit_expire);
}
