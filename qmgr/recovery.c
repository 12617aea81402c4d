#include "qmgr/recovery.h"

#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "qmgr/finished.h"
#include "qmgr/large.h"
#include "qmgr/ledger.h"

static struct entry *find_or_make(uint64_t number)
{
    struct entry *e = entry_find(number);

    return e != NULL ? e : entry_new(number);
}

static int recover_message(const struct journal_record *r)
{
    struct queue_message m;
    struct entry *e = NULL;

    queue_message_init(&m, NULL);
    int rc = queue_message_decode_envelope(&m, r->head);
    if (rc == 0 && m.id.number != 0) {
        e = find_or_make(m.id.number);
        rc = e == NULL ? -ENOMEM : 0;
    }
    if (e != NULL) {
        e->id = m.id;
        e->file = m.file;
        e->size = m.size;
        e->arrival_us = m.arrival_us;
        e->commit_hash = ledger_commit_hash(m.commit);
        if (e->change_count == 0) { /* no STATE that says otherwise */
            e->next_attempt_s = m.hold_until_s;
            if ((m.flags & QUEUE_MESSAGE_HOLD) != 0)
                e->flags |= ENTRY_HOLD;
        }
        entry_set_message(e, &r->at);
    } else if (rc != -ENOMEM) {
        log_error("queue: message record %llu/%llu cannot be used: %s",
                  (unsigned long long)r->at.segment, (unsigned long long)r->at.offset,
                  error_text(rc));
        rc = rc == ERR_VERSION ? rc : 0;
    }
    queue_message_fini(&m);
    return rc;
}

static int recover_change(const struct journal_record *r)
{
    struct record_summary s;

    if (record_summarise(r->head, &s) < 0) {
        log_error("queue: record %llu/%llu cannot be used", (unsigned long long)r->at.segment,
                  (unsigned long long)r->at.offset);
        return 0;
    }
    struct entry *e = find_or_make(s.number);
    if (e == NULL)
        return -ENOMEM;
    if (r->kind == RECORD_REMOVED) {
        e->is_removed = true;
        return 0;
    }
    struct change c = {r->at, s.sequence, r->kind == RECORD_STATE};
    if (c.is_state && s.sequence >= entry_sequence(e)) {
        e->flags = (uint8_t)(s.flags & ENTRY_FLAGS);
        e->next_attempt_s = s.next_attempt_s;
    }
    return entry_add_change(e, &c);
}

int recovery_record(void *arg, const struct journal_record *r)
{
    switch (r->kind) {
    case RECORD_MESSAGE:
        return recover_message(r);
    case RECORD_RESULT:
    case RECORD_STATE:
    case RECORD_REMOVED:
        return recover_change(r);
    default:
        return 0;
    }
}

/* Also what never had a message goes. */
void recovery_settle(void)
{
    struct hash_walk walk = {0};
    struct entry *e;

    while ((e = entry_walk(&walk)) != NULL) {
        if (e->is_removed || e->message.length == 0) {
            if (e->message.length > 0) {
                finished_note(e->id.number, e->commit_hash);
                large_forget(e->file);
            }
            entry_free(e);
        } else {
            large_use(e->file);
            entry_move(e, e->flags & ENTRY_HOLD ? ENTRY_ON_HOLD : ENTRY_DEFERRED);
        }
    }
}
