/*
 * store_life.c: an account over journal/shared.h on the simulated disk.
 *
 * Several processes deliver and expunge, one cleans (seals with a snapshot, moves
 * live bodies, removes segments), some only read; processes are killed singly and
 * all lose power at any disk call. A number means one change for ever, once any
 * reader saw it; what was confirmed is found whole by every later reader.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "journal/rules.h"
#include "journal/shared.h"
#include "life.h"

enum { DELIVER = JOURNAL_KIND_USER, EXPUNGE, MOVE };
enum { FIRST_NUMBER = 5 }; /* the journal begins at it */
enum { WRITERS = 3, CLEANER = WRITERS, READER, PROCESSES, SEGMENT = 12 * 1024 };

/* What the world knows: one entry per operation that was ever tried. */
struct operation {
    uint64_t number; /* it was shown with; 0: never seen */
    uint32_t target; /* EXPUNGE: the operation that delivered */
    uint32_t length;
    bool is_expunge;
    bool confirmed;
    bool expunge_tried, expunged; /* of a delivery: tried, confirmed */
};
static ARRAY(struct operation) operations;
static ARRAY(uint32_t) shown; /* operation + 1, by number */
static struct journal_boot boot;
static unsigned boots;

/* An account's state as a reader makes it: what a snapshot holds. What the account began
 * with is an item too. */
#define BEGINNING UINT32_MAX
struct item {
    uint32_t operation;
    uint32_t length;
    uint64_t segment, offset;
};
struct state {
    ARRAY(struct item) items;
    uint64_t number;
};

static unsigned char body_octets[4096];

static struct span make_body(uint32_t operation, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        body_octets[i] = (unsigned char)(operation * 37 + i * 11 + (i >> 8));
    return span_make(body_octets, length);
}

static uint32_t operation_of(const struct journal_record *record)
{
    uint32_t n = UINT32_MAX;

    if (record->head.n == sizeof(n))
        memcpy(&n, record->head.p, sizeof(n));
    return n;
}

/* --- applying --- */

static void note_shown(const struct journal_record *record, uint32_t operation)
{
    uint64_t number = record->number;

    while (shown.len <= number)
        *array_push(&shown) = 0;
    if (shown.items[number] != 0 && shown.items[number] != operation + 1)
        life_fail("number %llu means %u and %u", (unsigned long long)number,
                  shown.items[number] - 1, operation);
    shown.items[number] = operation + 1;
    operations.items[operation].number = number;
}

static struct item *find_item(struct state *s, uint32_t operation)
{
    for (size_t i = 0; i < s->items.len; i++) {
        if (s->items.items[i].operation == operation)
            return &s->items.items[i];
    }
    return NULL;
}

static void apply_snapshot(struct state *s, const struct journal_record *record)
{
    size_t count = record->body.n / sizeof(struct item);

    array_clear(&s->items);
    for (size_t i = 0; i < count; i++)
        memcpy(array_push(&s->items), record->body.p + i * sizeof(struct item),
               sizeof(struct item));
}

static void apply(struct state *s, const struct journal_record *record)
{
    uint32_t operation = operation_of(record);
    struct item *item;

    if (record->kind == JOURNAL_OPEN && (record->flags & JOURNAL_SNAPSHOT))
        apply_snapshot(s, record);
    if (record->kind < JOURNAL_KIND_USER)
        return;
    if (operation >= operations.len) {
        life_fail("an operation that never was");
        return;
    }
    if (find_item(s, BEGINNING) == NULL || record->number <= FIRST_NUMBER)
        life_fail("an account without its beginning");
    if (record->kind != MOVE) {
        if (record->number <= s->number)
            life_fail("numbers go backwards");
        s->number = record->number;
        note_shown(record, operation);
    }
    if (record->kind == EXPUNGE) {
        item = find_item(s, operations.items[operation].target);
        if (item != NULL)
            *item = *array_last(&s->items), s->items.len--;
        return;
    }
    if (!span_eq(record->body, make_body(operation, operations.items[operation].length)))
        life_fail("the content of %u is damaged", operation);
    item = find_item(s, operation);
    if (record->kind == MOVE && item == NULL)
        return; /* it was expunged meanwhile */
    if (item == NULL)
        item = array_push(&s->items);
    *item = (struct item){.operation = operation,
                          .length = record->at.length,
                          .segment = record->at.segment,
                          .offset = record->at.offset};
}

/* The whole state. 0, or what the reader said (a removed segment: try again). */
static int replay(struct state *s)
{
    struct journal_record record;
    struct journal_reader *r;
    int rc = journal_reader_open(sim_disk(), NULL, false, &r);

    array_clear(&s->items);
    s->number = 0;
    if (rc < 0)
        return rc;
    while ((rc = journal_reader_next(r, &record)) > 0)
        apply(s, &record);
    journal_reader_close(r);
    return rc;
}

/* --- processes --- */

static int begin(void *arg, struct str *snapshot, uint64_t *number)
{
    struct item item = {.operation = BEGINNING};

    *number = FIRST_NUMBER;
    return str_append(snapshot, span_make(&item, sizeof(item)));
}

static int open_journal(struct journal_shared **j)
{
    struct journal_options options = {.segment_size = SEGMENT,
                                      .alignment = the_life->alignment,
                                      .reserve = the_life->reserve ? the_life->reserve : 32,
                                      .write_ahead_max = 2048};

    int rc = journal_shared_open(sim_disk(), &options, &boot, true, j);

    if (rc == 0)
        journal_shared_set_begin(*j, begin, NULL);
    return rc;
}

/* As every reader does: without a hint nothing may be durable yet. */
static int need_begun(void)
{
    struct journal_shared *j;
    uint64_t segment, offset;
    int rc = open_journal(&j);

    if (rc < 0)
        return rc;
    rc = journal_shared_peek(j, &segment, &offset);
    if (rc == ERR_NOT_FOUND) {
        rc = journal_shared_lock(j, NULL);
        if (rc == 0)
            journal_shared_unlock(j);
    }
    journal_shared_close(j);
    return rc;
}

static void complain(const char *what, int rc)
{
    if (!sim_is_dead() && rc != -EIO)
        life_fail("%s: %d", what, rc);
}

static uint32_t new_delivery(void)
{
    struct operation *o = array_push(&operations);

    *o = (struct operation){.length = (uint32_t)sim_below(sim_below(5) == 0 ? 2500 : 120)};
    return (uint32_t)(operations.len - 1);
}

/* A confirmed message to expunge, or UINT32_MAX. */
static uint32_t new_expunge(void)
{
    uint32_t target = operations.len > 0 ? (uint32_t)sim_below(operations.len) : 0;

    if (operations.len == 0 || operations.items[target].is_expunge ||
        !operations.items[target].confirmed || operations.items[target].expunge_tried)
        return UINT32_MAX;
    operations.items[target].expunge_tried = true;
    *array_push(&operations) = (struct operation){.is_expunge = true, .target = target};
    return (uint32_t)(operations.len - 1);
}

static void commit_one(struct journal_shared *j, uint32_t operation)
{
    struct operation *o = &operations.items[operation];
    struct journal_record record = {.kind = o->is_expunge ? EXPUNGE : DELIVER,
                                    .count = 1,
                                    .head = span_make(&operation, sizeof(operation))};
    struct journal_commit commit = {0};
    unsigned char copy[4096];
    int rc;

    if (!o->is_expunge) {
        record.body = make_body(operation, o->length);
        memcpy(copy, record.body.p, record.body.n);
        record.body.p = (const char *)copy;
    }
    rc = journal_shared_append(j, &record, 1, &commit);
    if (rc < 0) {
        complain("append", rc);
        return;
    }
    rc = journal_shared_sync(&commit);
    if (rc < 0) {
        complain("sync", rc == ERR_READ_ONLY ? -EIO : rc);
        return;
    }
    if (sim_is_dead())
        return;
    o = &operations.items[operation];
    o->confirmed = true;
    if (o->is_expunge)
        operations.items[o->target].expunged = true;
    note_shown(&record, operation);
    the_life->confirmed++;
}

static void writer_main(void *arg)
{
    struct journal_shared *j;
    int rc = open_journal(&j);

    if (rc < 0) {
        complain("open", rc);
        return;
    }
    for (unsigned n = 1 + (unsigned)sim_below(12); n > 0 && !sim_is_dead(); n--) {
        uint32_t operation = sim_below(3) == 0 ? new_expunge() : new_delivery();
        if (operation != UINT32_MAX)
            commit_one(j, operation);
        if (the_life->failure[0] != '\0')
            break;
    }
    journal_shared_close(j);
}

static void reader_main(void *arg)
{
    struct state s = {0};
    int rc = need_begun();

    if (rc == 0)
        rc = replay(&s);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        complain("reading", rc);
    array_free(&s.items);
}

/* --- cleaner --- */

static int snapshot(void *arg, bool is_wanted, const struct journal_cursor *as_of, struct str *out)
{
    struct state s = {0};
    int rc;

    if (!is_wanted)
        return 1;
    rc = replay(&s);
    if (rc == 0)
        str_append(out, span_make(s.items.items, s.items.len * sizeof(struct item)));
    if (rc == 0 && s.items.len == 1)
        rc = 1; /* of the beginning alone there is one already */
    array_free(&s.items);
    return rc;
}

/* Under the lock: copy what is still live in the segment. */
static int move_bodies(struct journal_shared *j, uint64_t segment, struct journal_commit *commit)
{
    struct state s = {0};
    int rc = replay(&s);

    for (size_t i = 0; rc == 0 && i < s.items.len; i++) {
        struct item *item = &s.items.items[i];
        struct journal_record record = {.kind = MOVE, .flags = JOURNAL_MOVED};
        struct journal_position at = {item->segment, item->offset, item->length};
        struct journal_record old;
        struct str body = {0};
        if (item->segment != segment)
            continue;
        rc = journal_shared_read(j, &at, &body, &old);
        if (rc == 0) {
            record.head = old.head;
            record.body = old.body;
            journal_shared_forget(commit);
            rc = journal_shared_append(j, &record, 1, commit);
        }
        str_fini(&body);
    }
    array_free(&s.items);
    return rc;
}

static int clean_segment(struct journal_shared *j, uint64_t segment)
{
    struct journal_commit commit = {0};
    int rc = journal_shared_lock(j, NULL);

    if (rc < 0)
        return rc;
    rc = move_bodies(j, segment, &commit);
    journal_shared_unlock(j);
    if (commit.segment != NULL) {
        if (rc == 0 && RULE(RULE_COPY_SYNC))
            rc = journal_shared_sync(&commit);
        else
            journal_shared_forget(&commit);
    }
    if (rc == 0)
        rc = journal_shared_remove(j, segment);
    the_life->cleaned += rc == 0;
    return rc;
}

static void cleaner_main(void *arg)
{
    struct journal_shared_segment *all;
    struct journal_shared *j;
    size_t count;
    int rc = open_journal(&j);

    if (rc < 0) {
        complain("open", rc);
        return;
    }
    journal_shared_set_snapshot(j, snapshot, NULL);
    rc = journal_shared_clean_begin(j);
    if (rc == 0)
        rc = journal_shared_seal(j, true);
    if (rc == 0)
        rc = journal_shared_segments(j, &all, &count);
    if (rc == 0) {
        uint64_t oldest = all[0].number;
        bool is_enough = count > 2;
        free(all);
        rc = is_enough ? clean_segment(j, oldest) : 0;
    }
    if (rc < 0 && rc != -EBUSY && rc != -EAGAIN && rc != ERR_READ_ONLY)
        complain("cleaning", rc);
    journal_shared_clean_end(j);
    journal_shared_close(j);
}

/* --- the life --- */

static void check_state(void)
{
    struct journal_shared *j;
    struct state s = {0};
    int rc = replay(&s);

    if (rc < 0 && !(rc == ERR_NOT_FOUND && s.items.len == 0))
        life_fail("replay: %d", rc);
    if (open_journal(&j) < 0)
        life_fail("open");
    for (uint32_t i = 0; i < operations.len && the_life->failure[0] == '\0'; i++) {
        struct operation *o = &operations.items[i];
        struct item *item = o->is_expunge ? NULL : find_item(&s, i);
        struct journal_record record;
        struct str body = {0};
        if (o->is_expunge || (!o->confirmed && item == NULL))
            continue;
        if (o->confirmed && !o->expunge_tried && item == NULL)
            life_fail("confirmed delivery %u is lost", i);
        if (o->expunged && item != NULL)
            life_fail("delivery %u is back after its expunge", i);
        if (item != NULL) {
            struct journal_position at = {item->segment, item->offset, item->length};
            rc = journal_shared_read(j, &at, &body, &record);
            if (rc < 0 || !span_eq(record.body, make_body(i, o->length)))
                life_fail("the body of %u is gone: %d", i, rc);
        }
        str_fini(&body);
    }
    journal_shared_close(j);
    array_free(&s.items);
}

static void start_processes(void)
{
    for (unsigned group = 0; group < PROCESSES; group++) {
        if (sim_is_running(group) || sim_below(3) == 0)
            continue;
        if (group < WRITERS)
            sim_spawn(group, writer_main, NULL);
        else if (group == READER)
            sim_spawn(group, reader_main, NULL);
        else if (sim_below(3) == 0)
            sim_spawn(group, cleaner_main, NULL);
    }
}

static void next_boot(void)
{
    boots++;
    boot = (struct journal_boot){0};
    memcpy(boot.current, &boots, sizeof(boots));
    boot.current[15] = 1;
}

void life_store(struct life *life)
{
    the_life = life;
    sim_seed(life->seed);
    sim_start(&life->disk);
    boots = 0;
    next_boot();
    while (life->cuts < life->crashes && life->failure[0] == '\0') {
        for (uint64_t n = 1 + sim_below(6); n > 0 && life->failure[0] == '\0'; n--) {
            start_processes();
            sim_run(1 + sim_below(sim_below(3) == 0 ? 20 : 200));
            if (sim_below(3) == 0) {
                sim_kill((unsigned)sim_below(PROCESSES));
                life->kills++;
            }
        }
        if (sim_below(4) == 0) {
            sim_kill(UINT32_MAX);
            life->kills++;
            if (need_begun() < 0)
                life_fail("open");
            check_state();
            continue;
        }
        sim_power_cut();
        life->cuts++;
        next_boot();
        check_state();
    }
    sim_end();
    array_free(&operations);
    array_free(&shown);
}
