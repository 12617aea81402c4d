/* Queue mode on a real directory. */
#include "support_journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KIND = JOURNAL_KIND_USER };

struct seen {
    uint64_t count, last, moved;
};

static int see(void *arg, const struct journal_record *record)
{
    struct seen *seen = arg;

    if (record->kind < JOURNAL_KIND_USER)
        return 0;
    seen->count++;
    if (record->flags & JOURNAL_MOVED) {
        seen->moved++;
        return 0;
    }
    assert_int_equal(record->count, 1);
    assert_true(record->number > seen->last);
    seen->last = record->number;
    assert_true(span_eq(record->head, SPAN_LIT("envelope")));
    assert_true(span_eq(record->body, place_body(record->number, record->body.n)));
    return 0;
}

static int setup(void **state)
{
    static struct place place;

    place_make(&place);
    *state = &place;
    return 0;
}

static int teardown(void **state)
{
    place_remove(*state);
    return 0;
}

static void write_waiting(struct journal_writer *w)
{
    struct journal_batch *b;

    while ((b = journal_writer_take(w)) != NULL) {
        int rc = journal_batch_write(b);
        if (rc == 0)
            rc = journal_batch_sync(b);
        journal_writer_settle(w, b, rc);
    }
}

static void make_slot(struct journal_writer *w)
{
    struct journal_slot_job job;

    journal_slot_start(w, &job);
    journal_slot_run(&job);
    assert_int_equal(journal_slot_finish(&job), 0);
}

static uint64_t next_number(struct journal_writer *w)
{
    struct journal_writer_stats stats;

    journal_writer_get_stats(w, &stats);
    return stats.number + 1;
}

static struct journal_record add(struct journal_writer *w, size_t length)
{
    struct journal_record record = {.kind = KIND, .count = 1, .head = SPAN_LIT("envelope")};
    uint64_t number = next_number(w);
    int64_t sequence;

    for (;;) {
        struct span body = place_body(number, length);
        record.body = span_take(body, length / 3);
        record.body_more = span_drop(body, length / 3);
        sequence = journal_writer_add(w, &record);
        if (sequence != -EAGAIN)
            break;
        write_waiting(w);
        if (journal_writer_needs_slot(w))
            make_slot(w);
    }
    assert_true(sequence > 0);
    assert_int_equal(record.number, number);
    return record;
}

static void records_come_back_after_a_restart(void **state)
{
    struct place *p = *state;
    struct journal_writer *w, *second;
    struct journal_writer_stats stats;
    struct seen seen = {0};
    uint64_t first, last = 0;

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &w), 0);
    assert_int_equal(seen.count, 0);
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &second), -EAGAIN);
    first = next_number(w);
    for (int i = 0; i < 100; i++) {
        last = add(w, (size_t)(i * 37 % 5000)).number;
        if (i % 7 == 0)
            write_waiting(w);
    }
    write_waiting(w);
    assert_int_equal(journal_writer_confirmed(w), journal_writer_last(w));
    journal_writer_get_stats(w, &stats);
    assert_true(stats.segments > 3);
    journal_writer_close(w);

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &w), 0);
    assert_int_equal(seen.count, 100);
    assert_int_equal(seen.last, last);
    assert_int_equal(last - first, 99);
    assert_true(next_number(w) > last + 1); /* the range of the last run is not used again */
    journal_writer_get_stats(w, &stats);
    assert_int_equal(stats.damaged, 0);
    journal_writer_close(w);
}

static void a_record_is_read_again_by_its_position(void **state)
{
    struct place *p = *state;
    struct journal_record record, again;
    struct journal_free_job freeing;
    struct journal_read_job job;
    struct journal_position at;
    struct journal_writer *w;
    struct str out = {0};

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    add(w, 10);
    record = add(w, 9000);
    write_waiting(w);
    assert_int_equal(journal_read_start(w, record.at.segment, &job), 0);
    assert_int_equal(journal_read_one(&job, &record.at, &out, &again), 0);
    assert_int_equal(again.number, record.number);
    assert_true(span_eq(again.head, SPAN_LIT("envelope")));
    assert_true(span_eq(again.body, place_body(record.number, 9000)));
    at = record.at;
    at.offset += 8;
    assert_int_equal(journal_read_one(&job, &at, &out, &again), ERR_CORRUPT);
    at = record.at;
    at.length = UINT32_MAX;
    assert_int_equal(journal_read_one(&job, &at, &out, &again), ERR_CORRUPT);

    /* Once read, its file stays open, until the segment goes. */
    assert_int_equal(journal_read_at_once(w, &record.at, &out, &again), -EAGAIN);
    journal_read_finish(&job);
    int rc = journal_read_at_once(w, &record.at, &out, &again);
    assert_true(rc == 0 || rc == -EAGAIN); /* not every file system can */
    if (rc == 0) {
        assert_int_equal(again.number, record.number);
        assert_true(span_eq(again.body, place_body(record.number, 9000)));
        at = record.at;
        at.offset += 8;
        assert_int_equal(journal_read_at_once(w, &at, &out, &again), ERR_CORRUPT);
    }
    for (int i = 0; i < 10; i++)
        add(w, 9000);
    write_waiting(w);
    assert_int_equal(journal_free_start(w, record.at.segment, &freeing), 0);
    assert_int_equal(journal_read_at_once(w, &record.at, &out, &again), -EAGAIN);
    journal_free_run(&freeing);
    assert_int_equal(journal_free_finish(&freeing), 0);
    assert_int_equal(journal_read_at_once(w, &record.at, &out, &again), -EAGAIN);
    assert_int_equal(journal_read_start(w, 999, &job), ERR_NOT_FOUND);
    str_fini(&out);
    journal_writer_close(w);
}

static void a_freed_segment_is_used_again(void **state)
{
    struct place *p = *state;
    struct journal_segment_info info;
    struct journal_writer_stats stats;
    struct journal_free_job job;
    struct journal_writer *w;
    struct seen seen = {0};
    uint64_t slots = 0;

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 20; i++)
            add(w, 5000);
        write_waiting(w);
        while (journal_writer_segment(w, 0, &info) && !info.is_active) {
            assert_int_equal(journal_free_start(w, info.number, &job), 0);
            assert_int_equal(journal_free_start(w, info.number, &job), -EBUSY);
            journal_free_run(&job);
            assert_int_equal(journal_free_finish(&job), 0);
        }
        assert_int_equal(journal_free_start(w, info.number, &job), -EBUSY);
        journal_writer_get_stats(w, &stats);
        if (stats.segments + stats.slots_free > slots)
            slots = stats.segments + stats.slots_free;
    }
    assert_true(slots <= 4);
    journal_writer_close(w);
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &w), 0);
    assert_true(seen.count > 0 && seen.count < 20);
    journal_writer_close(w);
}

/* Where the file system tells blocks that were only allocated from written ones. */
static void a_new_slot_has_no_unwritten_blocks(void **state)
{
    struct place *place = *state;
    struct journal_writer *w;

    assert_int_equal(journal_writer_open(&place->real.disk, &place->queue, NULL, NULL, &w), 0);
    make_slot(w);
    journal_writer_close(w);
    for (int slot = 0; slot < 2; slot++) {
        char name[32];
        snprintf(name, sizeof(name), "slot.%d", slot);
        int fd = openat(place->dirfd, name, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(lseek(fd, 0, SEEK_HOLE), place->queue.segment_size);
        close(fd);
    }
}

static void a_torn_tail_ends_quietly(void **state)
{
    struct place *p = *state;
    struct journal_record record = {0};
    struct journal_writer_stats stats;
    struct journal_writer *w;
    struct seen seen = {0};

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    add(w, 100);
    write_waiting(w);
    record = add(w, 6000);
    write_waiting(w);
    journal_writer_close(w);
    place_damage(p, "slot.0", record.at.offset + 5000, "damage");
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &w), 0);
    assert_int_equal(seen.count, 1);
    journal_writer_get_stats(w, &stats);
    assert_int_equal(stats.damaged, 0);
    add(w, 100);
    write_waiting(w);
    journal_writer_close(w);
    seen = (struct seen){0};
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &w), 0);
    assert_int_equal(seen.count, 2);
    journal_writer_close(w);
}

static void damage_in_a_sealed_segment_is_kept_and_told(void **state)
{
    struct place *p = *state;
    struct journal_record record = {0};
    struct journal_writer_stats stats;
    struct journal_free_job job;
    struct journal_writer *w;
    struct seen seen = {0};

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    record = add(w, 6000);
    for (int i = 0; i < 50; i++)
        add(w, 5000);
    write_waiting(w);
    journal_writer_close(w);
    place_damage(p, "slot.0", record.at.offset + 5000, "damage");
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &w), 0);
    journal_writer_get_stats(w, &stats);
    assert_int_equal(stats.damaged, 1);
    assert_int_equal(journal_free_start(w, record.at.segment, &job), -EBUSY);
    journal_writer_close(w);
}

/* Else the highest limit could be lost with it, and numbers be given twice. */
static void a_segment_is_not_freed_before_a_later_one_holds_the_limit(void **state)
{
    struct place *p = *state;
    struct journal_free_job job;
    struct journal_batch *batch, *ahead;
    struct journal_writer *w;
    uint64_t first;

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    first = add(w, 5000).at.segment;
    while (add(w, 5000).at.segment == first)
        ;
    /* What belongs to the first segment, and not what follows. */
    batch = journal_writer_take(w);
    ahead = journal_writer_take(w);
    assert_int_equal(journal_batch_write(batch), 0);
    assert_int_equal(journal_batch_sync(batch), 0);
    journal_writer_settle(w, batch, 0);
    assert_int_equal(journal_free_start(w, first, &job), -EBUSY);
    if (ahead != NULL) {
        assert_int_equal(journal_batch_write(ahead), 0);
        assert_int_equal(journal_batch_sync(ahead), 0);
        journal_writer_settle(w, ahead, 0);
    }
    write_waiting(w);
    assert_int_equal(journal_free_start(w, first, &job), 0);
    journal_free_run(&job);
    assert_int_equal(journal_free_finish(&job), 0);
    journal_writer_close(w);
}

/* Rule 18. */
static void a_slot_that_shows_another_one_is_none(void **state)
{
    struct place *p = *state;
    struct journal_writer_stats stats;
    struct journal_writer *w;
    struct seen seen = {0};
    char name[32];
    uint64_t count = 0;

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    for (; count < 40; count++)
        add(w, 5000);
    write_waiting(w);
    journal_writer_get_stats(w, &stats);
    journal_writer_close(w);
    for (uint64_t slot = 1; slot <= 3; slot++) {
        snprintf(name, sizeof(name), "slot.%llu", (unsigned long long)(stats.segments + slot));
        place_copy(p, "slot.0", name);
    }
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, see, &seen, &w), 0);
    assert_int_equal(seen.count, count);
    add(w, 100);
    write_waiting(w);
    journal_writer_close(w);
}

static void a_newer_format_is_refused(void **state)
{
    struct place *p = *state;
    struct journal_writer *w;

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    journal_writer_close(w);
    place_damage(p, "slot.0", 7, "\x02");
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), ERR_VERSION);
}

static void a_record_larger_than_a_segment_is_refused(void **state)
{
    struct place *p = *state;
    struct journal_record record = {.kind = KIND, .count = 1};
    struct journal_writer *w;

    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    record.body = place_body(1, 60 * 1024);
    assert_int_equal(journal_writer_add(w, &record), ERR_TOO_LONG);
    journal_writer_close(w);
}

static void numbers_pass_the_limit_only_when_it_is_durable(void **state)
{
    struct place *p = *state;
    struct journal_writer_stats stats;
    struct journal_writer *w;

    p->queue.reserve = 8;
    assert_int_equal(journal_writer_open(&p->real.disk, &p->queue, NULL, NULL, &w), 0);
    for (int i = 0; i < 100; i++) {
        uint64_t number = add(w, 10).number;
        journal_writer_get_stats(w, &stats);
        assert_true(number < stats.limit);
    }
    journal_writer_close(w);
}

/* An owner that keeps nothing but the mark. */
struct keeper {
    struct seen seen;
    struct str mark;
    int restored;
    int answer; /* of restore() */
};

static int see_kept(void *arg, const struct journal_record *record)
{
    return see(&((struct keeper *)arg)->seen, record);
}

static int find_mark(void *arg, struct str *mark)
{
    struct keeper *k = arg;

    return k->mark.len == 0 ? ERR_NOT_FOUND : str_append(mark, str_span(&k->mark));
}

static int restore(void *arg)
{
    struct keeper *k = arg;

    k->restored++;
    return k->answer;
}

static struct journal_writer *open_kept(struct place *p, struct keeper *k)
{
    struct journal_owner owner = {
        .each = see_kept, .find_mark = find_mark, .restore = restore, .arg = k};
    struct journal_writer *w;

    k->seen = (struct seen){0};
    k->restored = 0;
    assert_int_equal(journal_writer_open_kept(&p->real.disk, &p->queue, &owner, &w), 0);
    return w;
}

static void records_are_not_read_where_a_mark_still_holds(void **state)
{
    struct place *p = *state;
    struct keeper k = {0};
    struct journal_writer *w = open_kept(p, &k);
    struct journal_writer_stats before, after;

    for (int i = 0; i < 60; i++)
        add(w, 3000);
    assert_int_equal(journal_writer_mark(w, &k.mark), -EBUSY); /* not yet durable */
    write_waiting(w);
    str_clear(&k.mark);
    assert_int_equal(journal_writer_mark(w, &k.mark), 0);
    journal_writer_get_stats(w, &before);
    assert_true(before.segments > 2);
    journal_writer_close(w);

    w = open_kept(p, &k);
    assert_int_equal(k.restored, 1);
    assert_int_equal(k.seen.count, 0);
    journal_writer_get_stats(w, &after);
    assert_int_equal(after.segments, before.segments);
    assert_true(after.number >= before.limit); /* as after every start */
    add(w, 3000);
    write_waiting(w);
    journal_writer_close(w);

    /* That start went on behind the mark. */
    w = open_kept(p, &k);
    assert_int_equal(k.restored, 0);
    assert_int_equal(k.seen.count, 61);
    journal_writer_close(w);
    str_fini(&k.mark);
}

/* 60 records and a mark behind them; returns the last one. */
static struct journal_record add_marked(struct journal_writer *w, struct keeper *k)
{
    struct journal_record last = {0};

    for (int i = 0; i < 60; i++)
        last = add(w, 3000);
    write_waiting(w);
    assert_int_equal(journal_writer_mark(w, &k->mark), 0);
    return last;
}

/* The file system lost what was synced, or a copy of the slot is short. */
static void records_are_read_when_the_last_one_is_torn(void **state)
{
    struct place *p = *state;
    struct keeper k = {0};
    struct journal_writer *w = open_kept(p, &k);
    struct journal_read_job job;
    struct journal_record last;
    char name[32];

    last = add_marked(w, &k);
    assert_int_equal(journal_read_start(w, last.at.segment, &job), 0);
    snprintf(name, sizeof(name), "slot.%d", (int)job.slot);
    journal_writer_close(w);

    place_damage(p, name, last.at.offset + last.at.length - 1, "?");
    w = open_kept(p, &k);
    assert_int_equal(k.restored, 0);
    assert_int_equal(k.seen.count, 59);
    journal_writer_close(w);
    str_fini(&k.mark);
}

static void records_are_read_when_what_was_kept_cannot_be_used(void **state)
{
    struct place *p = *state;
    struct keeper k = {.answer = ERR_CORRUPT};
    struct journal_writer *w = open_kept(p, &k);

    (void)add_marked(w, &k);
    journal_writer_close(w);

    w = open_kept(p, &k);
    assert_int_equal(k.restored, 1);
    assert_int_equal(k.seen.count, 60);
    journal_writer_close(w);
    str_fini(&k.mark);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_come_back_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_is_read_again_by_its_position, setup, teardown),
        cmocka_unit_test_setup_teardown(a_freed_segment_is_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_slot_has_no_unwritten_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_tail_ends_quietly, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_in_a_sealed_segment_is_kept_and_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_segment_is_not_freed_before_a_later_one_holds_the_limit,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_slot_that_shows_another_one_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_larger_than_a_segment_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_pass_the_limit_only_when_it_is_durable, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(records_are_not_read_where_a_mark_still_holds, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(records_are_read_when_the_last_one_is_torn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(records_are_read_when_what_was_kept_cannot_be_used, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("journal/writer", tests, NULL, NULL);
}
