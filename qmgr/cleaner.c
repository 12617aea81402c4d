/*
 * The cleaner: what is still needed of a segment that is nearly dead is copied,
 * the copies are made durable, then the segment is freed; one at a time.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "journal/batch.h"
#include "qmgr/ledger.h"
#include "queue/attr.h"

enum {
    CLEAN_MS = 500,
    LIVE_PERCENT = 25, /* segments with less are worth copying */
    KEEP_SEGMENTS = 4, /* so few segments are left alone unless nothing lives in them */
    COPY_AT_ONCE = 256,
};

/* A record of the segment, as far as the decision needs it. */
struct found {
    struct journal_position at;
    uint16_t kind;
    uint64_t number;
    uint32_t sequence;
    uint64_t oldest, newest;
};

struct survey {
    ARRAY(struct found) records;
};

/* On a worker: touches nothing of the loop's. */
static int note_record(void *arg, const struct journal_record *r)
{
    struct survey *survey = arg;
    struct found f = {.at = r->at, .kind = r->kind};

    if (r->kind == RECORD_MESSAGE) {
        if (queue_attr_get_u64(r->head, "id", &f.number) < 0) /* near the front */
            return 0;
    } else if (r->kind >= RECORD_RESULT && r->kind <= RECORD_REMOVED) {
        struct record_summary s;

        if (record_summarise(r->head, &s) < 0)
            return 0;
        f.number = s.number;
        f.sequence = s.sequence;
        f.oldest = s.oldest;
        f.newest = s.newest;
    } else {
        return 0;
    }
    struct found *slot = array_push(&survey->records);
    if (slot == NULL)
        return -ENOMEM;
    *slot = f;
    return 0;
}

static bool is_at(const struct journal_position *a, const struct journal_position *b)
{
    return a->segment == b->segment && a->offset == b->offset && a->length > 0;
}

/* A segment that may hold a copy of a removed message, other than this one. */
static bool is_copy_possible(const struct found *f)
{
    struct journal_writer *w = journal_writer_of(ledger_journal());
    struct journal_segment_info info;

    for (size_t i = 0; journal_writer_segment(w, i, &info); i++)
        if (info.number >= f->oldest && info.number <= f->newest && info.number != f->at.segment)
            return true;
    return false;
}

static bool is_needed(const struct found *f)
{
    struct entry *e = entry_find(f->number);

    if (f->kind == RECORD_REMOVED)
        return is_copy_possible(f);
    if (e == NULL)
        return false;
    if (f->kind == RECORD_MESSAGE)
        return is_at(&e->message, &f->at);
    for (uint32_t i = 0; i < e->change_count; i++)
        if (is_at(&e->changes[i].at, &f->at))
            return true;
    return false;
}

/* The copy is durable: the entry points to it. A message that was removed while
 * this waited gets a second REMOVED record that covers the copy. */
static int settle_copy(const struct found *f, const struct journal_record *copy)
{
    struct entry *e = entry_find(f->number);

    if (f->kind == RECORD_REMOVED)
        return 0;
    if (e == NULL) {
        struct str head = {0};

        record_removed(&head, f->number, f->at.segment, copy->at.segment);
        struct journal_record r = {.kind = RECORD_REMOVED, .head = str_span(&head)};
        int rc = str_error(&head) < 0 ? str_error(&head) : journal_commit(ledger_journal(), &r, 1);
        str_fini(&head);
        return rc;
    }
    if (f->kind == RECORD_MESSAGE) {
        entry_set_message(e, &copy->at);
        e->oldest_segment = copy->at.segment;
        return 0;
    }
    struct change c = {copy->at, f->sequence, f->kind == RECORD_STATE};
    return entry_add_change(e, &c);
}

static int copy_some(const struct found *list, size_t count)
{
    struct journal_record *records = mem_new(count * sizeof(*records));
    struct str *octets = mem_new(count * sizeof(*octets));
    int rc = records == NULL || octets == NULL ? -ENOMEM : 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = journal_read(ledger_journal(), &list[i].at, &octets[i], &records[i]);
        records[i].flags |= JOURNAL_MOVED;
        records[i].count = 0;
    }
    if (rc == 0)
        rc = journal_commit(ledger_journal(), records, count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = settle_copy(&list[i], &records[i]);
    for (size_t i = 0; octets != NULL && i < count; i++)
        str_fini(&octets[i]);
    free(octets);
    free(records);
    return rc;
}

static int clean(uint64_t segment)
{
    struct survey survey = {0};
    int rc = journal_walk(ledger_journal(), segment, note_record, &survey);
    size_t needed = 0;

    /* Those that are needed move to the front. */
    for (size_t i = 0; rc == 0 && i < survey.records.len; i++)
        if (is_needed(&survey.records.items[i]))
            survey.records.items[needed++] = survey.records.items[i];
    for (size_t at = 0; rc == 0 && at < needed; at += COPY_AT_ONCE)
        rc = copy_some(survey.records.items + at,
                       needed - at < COPY_AT_ONCE ? needed - at : COPY_AT_ONCE);
    if (rc == 0)
        rc = journal_flush(ledger_journal());
    if (rc == 0)
        rc = journal_free_segment(ledger_journal(), segment);
    if (rc == 0)
        segment_forget(segment);
    array_free(&survey.records);
    return rc;
}

/* The segment with the smallest live part, if it is worth it. */
static bool choose(uint64_t *segment)
{
    struct journal_writer *w = journal_writer_of(ledger_journal());
    uint64_t best = UINT64_MAX, unsettled = ledger_first_unsettled_segment();
    struct journal_segment_info info;
    size_t count = 0;

    for (size_t i = 0; journal_writer_segment(w, i, &info); i++, count++) {
        uint64_t live = segment_live(info.number);

        if (info.is_active || !info.is_settled || info.is_damaged || info.number >= unsettled ||
            live >= best || live > info.size / 100 * LIVE_PERCENT)
            continue;
        best = live;
        *segment = info.number;
    }
    return best != UINT64_MAX && (best == 0 || count > KEEP_SEGMENTS);
}

int ledger_clean(void)
{
    uint64_t segment = 0;
    int rc = 0;

    while (rc == 0 && ledger_error() == 0 && choose(&segment)) {
        rc = clean(segment);
        if (rc < 0 && rc != -EBUSY && rc != -ECANCELED)
            log_warn("queue: segment %llu cannot be cleaned: %s", (unsigned long long)segment,
                     error_text(rc));
    }
    return rc;
}

void ledger_run_cleaner(void *arg)
{
    while (task_sleep(deadline_in(CLEAN_MS)) == 0)
        ledger_clean();
}
