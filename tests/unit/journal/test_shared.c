/* Store mode on a real directory. */
#include "support_journal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KIND = JOURNAL_KIND_USER, CHANGE };

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

static struct journal_shared *open_shared(struct place *p)
{
    struct journal_shared *j;

    assert_int_equal(journal_shared_open(&p->real.disk, &p->store, &p->boot, true, &j), 0);
    return j;
}

/* The body's first octets are the number, so that every reader can check it. */
static uint64_t deliver(struct journal_shared *j, size_t length)
{
    struct journal_record record = {.kind = KIND, .count = 1, .head = SPAN_LIT("hot")};
    struct journal_commit commit;

    record.body = place_body(length, length);
    assert_int_equal(journal_shared_append(j, &record, 1, &commit), 0);
    assert_int_equal(journal_shared_sync(&commit), 0);
    return record.number;
}

struct seen {
    uint64_t changes, last, housekeeping, snapshots;
    struct journal_cursor cursor;
};

static int read_all(struct place *p, const struct journal_cursor *from, bool heads,
                    struct seen *seen)
{
    struct journal_reader *r;
    struct journal_record record;
    int rc = journal_reader_open(&p->real.disk, from, heads, &r);

    if (rc < 0)
        return rc;
    while ((rc = journal_reader_next(r, &record)) > 0) {
        if (record.kind < JOURNAL_KIND_USER) {
            assert_int_equal(record.count, 0);
            seen->housekeeping++;
            seen->snapshots += (record.flags & JOURNAL_SNAPSHOT) != 0;
            continue;
        }
        assert_true(record.number > seen->last);
        seen->last = record.number;
        seen->changes++;
        if (record.body.n > 0)
            assert_true(span_eq(record.body, place_body(record.body.n, record.body.n)));
    }
    journal_reader_cursor(r, &seen->cursor);
    journal_reader_close(r);
    return rc;
}

static void two_handles_append_in_turn(void **state)
{
    struct place *p = *state;
    struct journal_shared *a = open_shared(p), *b = open_shared(p);
    struct journal_cursor from;
    unsigned char octets[JOURNAL_CURSOR_SIZE];
    struct seen seen = {0};
    uint64_t last = 0;

    for (int i = 0; i < 200; i++) {
        uint64_t number = deliver(i % 2 ? a : b, (size_t)(i * 53 % 3000));
        assert_int_equal(number, last == 0 ? number : last + 1);
        last = number;
    }
    assert_int_equal(read_all(p, NULL, false, &seen), 0);
    assert_int_equal(seen.changes, 200);
    assert_int_equal(seen.last, last);
    assert_true(seen.housekeeping > 10); /* sealed several times; takes no numbers */
    journal_cursor_encode(&seen.cursor, octets);
    assert_int_equal(journal_cursor_decode(span_make(octets, sizeof(octets)), &from), 0);
    last = deliver(a, 10);
    seen = (struct seen){0};
    assert_int_equal(read_all(p, &from, false, &seen), 0);
    assert_int_equal(seen.changes, 1);
    assert_int_equal(seen.last, last);
    seen = (struct seen){0};
    assert_int_equal(read_all(p, NULL, true, &seen), 0);
    assert_int_equal(seen.changes, 201);
    journal_shared_close(a);
    journal_shared_close(b);
}

static void the_end_is_known_without_a_wait(void **state)
{
    struct place *p = *state;
    struct journal_shared *a = open_shared(p), *b = open_shared(p);
    uint64_t segment = 0, offset = 0;

    assert_int_equal(journal_shared_peek(b, &segment, &offset), ERR_NOT_FOUND);
    assert_false(journal_shared_is_at(b, segment, offset));
    deliver(a, 10);
    assert_int_equal(journal_shared_peek(b, &segment, &offset), 0);
    assert_true(journal_shared_is_at(b, segment, offset));
    deliver(a, 10);
    assert_false(journal_shared_is_at(b, segment, offset));
    assert_int_equal(journal_shared_peek(b, &segment, &offset), 0);
    place_damage(p, "tail", 20, "??");
    assert_false(journal_shared_is_at(b, segment, offset));
    journal_shared_close(a);
    journal_shared_close(b);
}

static void records_of_one_append_stay_together(void **state)
{
    struct place *p = *state;
    struct journal_shared *j = open_shared(p);
    struct journal_record records[3] = {{.kind = KIND, .count = 1, .head = SPAN_LIT("one")},
                                        {.kind = CHANGE, .count = 100, .head = SPAN_LIT("two")},
                                        {.kind = CHANGE, .count = 0, .head = SPAN_LIT("three")}};
    struct journal_commit commit;
    struct journal_record again;
    struct str out = {0};
    uint64_t before = deliver(j, 1);

    assert_int_equal(journal_shared_append(j, records, 3, &commit), 0);
    assert_int_equal(journal_shared_sync(&commit), 0);
    assert_int_equal(records[0].number, before + 1);
    assert_int_equal(records[1].number, before + 101);
    assert_int_equal(records[2].number, before + 101);
    assert_int_equal(deliver(j, 1), before + 102);
    assert_int_equal(journal_shared_read(j, &records[1].at, &out, &again), 0);
    assert_true(span_eq(again.head, SPAN_LIT("two")));
    str_fini(&out);
    journal_shared_close(j);
}

static int begin_with_seven(void *arg, struct str *snapshot, uint64_t *number)
{
    unsigned *calls = arg;

    ++*calls;
    *number = 7;
    return str_append_cstr(snapshot, "the owner's state");
}

static struct journal_shared *open_beginning(struct place *p, unsigned *calls)
{
    struct journal_shared *j = open_shared(p);

    journal_shared_set_begin(j, begin_with_seven, calls);
    return j;
}

/* Once, under the first lock, with or without an append. */
static void a_journal_begins_with_its_owners_state(void **state)
{
    struct place *p = *state;
    unsigned calls = 0;
    struct journal_shared *j = open_beginning(p, &calls), *other = open_beginning(p, &calls);
    struct seen seen = {0};
    uint64_t segment, offset;
    uint16_t kind;
    char head[9];

    assert_int_equal(journal_shared_peek(other, &segment, &offset), ERR_NOT_FOUND);
    assert_int_equal(journal_shared_lock(j, NULL), 0);
    assert_int_equal(journal_shared_last(j, &kind, head, sizeof(head)), 0);
    assert_int_equal(kind, JOURNAL_OPEN);
    assert_memory_equal(head, "the owner", sizeof(head));
    /* Not durable, so nobody is to know. */
    assert_int_equal(journal_shared_peek(other, &segment, &offset), ERR_NOT_FOUND);
    journal_shared_unlock(j);
    assert_int_equal(journal_shared_peek(other, &segment, &offset), 0);
    assert_int_equal(deliver(other, 100), 8);
    assert_int_equal(deliver(j, 100), 9);
    assert_int_equal(calls, 1);
    assert_int_equal(read_all(p, NULL, false, &seen), 0);
    assert_int_equal(seen.snapshots, 1);
    assert_int_equal(seen.changes, 2);
    journal_shared_close(other);
    journal_shared_close(j);
}

/* What its maker left when it died before it was durable. */
static void a_beginning_without_its_first_record_is_none(void **state)
{
    struct place *p = *state;
    unsigned calls = 0;
    struct journal_shared *j = open_beginning(p, &calls);
    struct journal_record record = {.kind = KIND, .count = 1, .head = SPAN_LIT("hot")};
    struct journal_commit commit = {0};
    struct seen seen = {0};

    deliver(j, 100);
    journal_shared_close(j);
    place_damage(p, "seg.1", 4096 + 60, "damage");
    place_damage(p, "tail", 0, "no hint any more");
    j = open_beginning(p, &calls);
    assert_int_equal(journal_shared_append(j, &record, 1, &commit), 0);
    assert_true(commit.is_durable);
    assert_int_equal(journal_shared_sync(&commit), 0);
    assert_int_equal(record.number, 8);
    assert_int_equal(calls, 2);
    assert_int_equal(journal_shared_append(j, &record, 1, &commit), 0);
    assert_false(commit.is_durable);
    assert_int_equal(journal_shared_sync(&commit), 0);
    assert_int_equal(read_all(p, NULL, false, &seen), 0);
    assert_int_equal(seen.changes, 2);
    journal_shared_close(j);
}

static void change_boot(struct place *p)
{
    memset(p->boot.clean, 0, sizeof(p->boot.clean));
    memcpy(p->boot.current, "boot-two", 8);
}

static int truncate_at(struct place *p, const char *name, off_t size)
{
    int fd = openat(p->dirfd, name, O_WRONLY), rc = ftruncate(fd, size);

    close(fd);
    return rc;
}

/* A hint is written when the beginning is durable: without its first record the journal is
 * damaged, and not one that never was. */
static void a_damaged_beginning_is_not_made_again(void **state)
{
    struct place *p = *state;
    unsigned calls = 0;
    struct journal_shared *j = open_beginning(p, &calls);
    struct journal_record record = {.kind = KIND, .count = 1, .head = SPAN_LIT("hot")};
    struct journal_commit commit = {0};
    struct stat before, after;

    deliver(j, 100);
    journal_shared_close(j);
    place_damage(p, "seg.1", 4096 + 60, "damage");
    assert_int_equal(fstatat(p->dirfd, "seg.1", &before, 0), 0);
    change_boot(p);
    j = open_beginning(p, &calls);
    assert_int_equal(journal_shared_append(j, &record, 1, &commit), ERR_CORRUPT);
    journal_shared_close(j);
    assert_int_equal(calls, 1);
    assert_int_equal(fstatat(p->dirfd, "seg.1", &after, 0), 0);
    assert_int_equal(after.st_size, before.st_size);

    /* A copy made while the journal began: the segment before the hint. */
    assert_int_equal(truncate_at(p, "seg.1", 4096 + 60), 0);
    j = open_beginning(p, &calls);
    assert_int_equal(journal_shared_append(j, &record, 1, &commit), 0);
    assert_int_equal(journal_shared_sync(&commit), 0);
    journal_shared_close(j);
    assert_int_equal(calls, 2);
}

/* A disk whose syncs fail, each once, as the kernel has it. */
static struct disk_ops failing_ops;
static const struct disk_ops *working_ops;
static unsigned failing_syncs;

static int open_failing(struct disk *disk, const char *name, int flags, struct disk_file **out)
{
    int rc = working_ops->open(disk, name, flags, out);

    if (rc == 0)
        (*out)->ops = &failing_ops;
    return rc;
}

static int sync_failing(struct disk_file *file)
{
    if (failing_syncs == 0)
        return working_ops->sync(file);
    failing_syncs--;
    return -EIO;
}

/* The sync that failed is not asked again for the hint. */
static void a_beginning_that_could_not_be_synced_has_no_hint(void **state)
{
    struct place *p = *state;
    unsigned calls = 0;
    struct journal_record record = {.kind = KIND, .head = SPAN_LIT("hot")};
    struct journal_commit commit = {0};
    struct journal_shared *j;
    uint64_t segment, offset;

    working_ops = p->real.disk.ops;
    failing_ops = *working_ops;
    failing_ops.open = open_failing;
    failing_ops.sync = sync_failing;
    p->real.disk.ops = &failing_ops;
    j = open_beginning(p, &calls);
    record.count = (uint32_t)p->store.reserve + 1; /* needs RESERVE, which is synced */
    failing_syncs = 1;
    assert_int_equal(journal_shared_append(j, &record, 1, &commit), ERR_READ_ONLY);
    assert_int_equal(failing_syncs, 0);
    assert_int_equal(journal_shared_peek(j, &segment, &offset), ERR_NOT_FOUND);
    journal_shared_close(j);
    p->real.disk.ops = working_ops;
}

static void numbers_jump_after_another_boot(void **state)
{
    struct place *p = *state;
    struct journal_shared *j = open_shared(p);
    uint64_t first = deliver(j, 100), second;

    journal_shared_close(j);
    j = open_shared(p);
    assert_int_equal(deliver(j, 100), first + 1);
    journal_shared_close(j);

    p->boot.clean[0] = 0;
    memcpy(p->boot.clean, "boot-one", 8);
    memcpy(p->boot.current, "boot-two", 8);
    j = open_shared(p);
    assert_int_equal(deliver(j, 100), first + 2); /* that one ended clean */
    journal_shared_close(j);

    memset(p->boot.clean, 0, sizeof(p->boot.clean));
    memcpy(p->boot.current, "boot-3rd", 8);
    j = open_shared(p);
    second = deliver(j, 100);
    assert_true(second >= first + p->store.reserve - 8);
    journal_shared_close(j);
}

static void a_lost_hint_costs_a_scan_only(void **state)
{
    struct place *p = *state;
    struct journal_shared *j = open_shared(p);
    struct seen seen = {0};
    uint64_t last = 0;

    for (int i = 0; i < 50; i++)
        last = deliver(j, 2000);
    journal_shared_close(j);
    place_damage(p, "tail", 20, "xxxx");
    j = open_shared(p);
    assert_true(deliver(j, 10) > last);
    assert_int_equal(read_all(p, NULL, false, &seen), 0);
    assert_int_equal(seen.changes, 51);
    journal_shared_close(j);
}

static int snapshot(void *arg, bool is_wanted, const struct journal_cursor *as_of, struct str *out)
{
    uint64_t *number = arg;

    if (!is_wanted)
        return 1;
    *number = as_of->number;
    return str_append_fill(out, 's', 40000); /* larger than a segment */
}

static void a_segment_goes_only_behind_a_snapshot(void **state)
{
    struct place *p = *state;
    struct journal_shared *j = open_shared(p), *other = open_shared(p);
    struct journal_shared_segment *segments;
    uint64_t last = 0, as_of = 0;
    struct seen seen = {0}, old = {0};
    size_t count;

    deliver(j, 100);
    assert_int_equal(read_all(p, NULL, false, &old), 0);
    for (int i = 0; i < 60; i++)
        last = deliver(j, 2000);
    assert_int_equal(journal_shared_clean_begin(j), 0);
    assert_int_equal(journal_shared_clean_begin(other), -EAGAIN);
    assert_int_equal(journal_shared_remove(j, 1), -EBUSY);
    assert_int_equal(journal_shared_seal(j, true), ERR_NOT_SUPPORTED);
    journal_shared_set_snapshot(j, snapshot, &as_of);
    assert_int_equal(journal_shared_seal(j, true), 0);
    assert_int_equal(as_of, last);
    assert_int_equal(journal_shared_remove(j, 1), 0);
    assert_int_equal(journal_shared_remove(j, 1), ERR_NOT_FOUND);
    last = deliver(other, 3000);
    assert_int_equal(journal_shared_segments(j, &segments, &count), 0);
    assert_true(segments[count - 1].is_active && segments[count - 1].has_snapshot);
    assert_int_equal(journal_shared_remove(j, segments[count - 1].number), -EBUSY);
    free(segments);
    assert_int_equal(read_all(p, NULL, false, &seen), 0);
    assert_int_equal(seen.snapshots, 1);
    assert_int_equal(seen.changes, 1); /* older ones are in the snapshot */
    assert_int_equal(seen.last, last);
    assert_int_equal(read_all(p, &old.cursor, false, &seen), ERR_NOT_FOUND);
    journal_shared_clean_end(j);
    assert_int_equal(journal_shared_clean_begin(other), 0);
    journal_shared_close(other);
    journal_shared_close(j);
}

/* Rule 18: a power cut may leave a new segment whose blocks show an old one. */
static void a_segment_that_shows_another_one_is_none(void **state)
{
    struct place *p = *state;
    struct journal_shared *j = open_shared(p);
    struct journal_shared_segment *segments;
    struct seen before = {0}, after = {0};
    size_t count;
    char name[32];

    for (int i = 0; i < 20; i++)
        deliver(j, 2000);
    assert_int_equal(read_all(p, NULL, false, &before), 0);
    assert_int_equal(journal_shared_segments(j, &segments, &count), 0);
    snprintf(name, sizeof(name), "seg.%llu", (unsigned long long)segments[count - 1].number + 1);
    free(segments);
    place_copy(p, "seg.1", name);
    assert_int_equal(read_all(p, NULL, false, &after), 0);
    assert_int_equal(after.changes, before.changes);
    for (int i = 0; i < 20; i++)
        deliver(j, 2000);
    after = (struct seen){0};
    assert_int_equal(read_all(p, NULL, false, &after), 0);
    assert_int_equal(after.changes, before.changes + 20);
    journal_shared_close(j);
}

static void damage_in_a_sealed_segment_is_not_its_end(void **state)
{
    struct place *p = *state;
    struct journal_shared *j = open_shared(p);
    struct journal_record record;
    struct journal_reader *r;
    struct seen seen = {0};
    int rc;

    for (int i = 0; i < 40; i++)
        deliver(j, 2000);
    place_damage(p, "seg.1", 9000, "damage");
    assert_int_equal(read_all(p, NULL, false, &seen), ERR_CORRUPT);
    assert_true(seen.changes < 10);
    assert_int_equal(journal_reader_open(&p->real.disk, NULL, false, &r), 0);
    while ((rc = journal_reader_next(r, &record)) > 0)
        ;
    assert_int_equal(rc, ERR_CORRUPT);
    assert_int_equal(journal_reader_skip(r), 0);
    assert_int_equal(journal_reader_next(r, &record), 1);
    assert_int_equal(record.kind, JOURNAL_OPEN);
    journal_reader_close(r);
    journal_shared_close(j);
}

/* Several processes, killed at any moment: what they were told is durable counts. */
static void killed_writers_lose_nothing(void **state)
{
    enum { WRITERS = 3, ROUNDS = 12 };
    struct place *p = *state;
    struct journal_shared *j;
    struct seen seen = {0};
    uint64_t told = 0, highest = 0;

    for (int round = 0; round < ROUNDS; round++) {
        int pipes[2];
        pid_t pids[WRITERS];
        uint64_t number;

        assert_int_equal(pipe(pipes), 0);
        for (int i = 0; i < WRITERS; i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] == 0) {
                j = open_shared(p);
                for (size_t n = 0;; n++) {
                    number = deliver(j, n * 97 % 4000);
                    if (write(pipes[1], &number, sizeof(number)) != sizeof(number))
                        _exit(1);
                }
            }
        }
        usleep((useconds_t)(5000 + round * 1777));
        for (int i = 0; i < WRITERS; i++)
            kill(pids[i], SIGKILL);
        for (int i = 0; i < WRITERS; i++)
            waitpid(pids[i], NULL, 0);
        close(pipes[1]);
        while (read(pipes[0], &number, sizeof(number)) == sizeof(number)) {
            told++;
            if (number > highest)
                highest = number;
        }
        close(pipes[0]);
    }
    j = open_shared(p);
    assert_true(deliver(j, 1) > highest);
    journal_shared_close(j);
    assert_int_equal(read_all(p, NULL, false, &seen), 0);
    assert_true(told > 0 && seen.changes > told);
    assert_true(seen.changes <= told + 1 + WRITERS * ROUNDS);
}

static void a_refused_append_leaves_nothing(void **state)
{
    struct place *p = *state;
    struct journal_shared *j = open_shared(p);
    struct journal_record record = {.kind = KIND, .count = 1};
    struct journal_commit commit;
    struct seen seen = {0};
    uint64_t last;

    deliver(j, 100);
    record.body = place_body(1, 60000);
    assert_int_equal(journal_shared_append(j, &record, 1, &commit), ERR_TOO_LONG);
    last = deliver(j, 100);
    assert_int_equal(read_all(p, NULL, false, &seen), 0);
    assert_int_equal(seen.last, last);
    journal_shared_close(j);
}

static void the_boot_mark_names_one_clean_boot(void **state)
{
    struct place *p = *state;
    static const unsigned char none[BOOT_ID_SIZE];
    struct journal_boot boot, again;

    assert_int_equal(journal_boot_start(p->dirfd, &boot), 0);
    assert_memory_not_equal(boot.current, none, BOOT_ID_SIZE);
    assert_memory_equal(boot.clean, none, BOOT_ID_SIZE);
    assert_int_equal(journal_boot_stop(p->dirfd), 0);
    assert_int_equal(journal_boot_start(p->dirfd, &again), 0);
    assert_memory_equal(&boot, &again, sizeof(boot)); /* the same boot goes on */
    assert_int_equal(journal_boot_read(p->dirfd, &again), 0);
    assert_memory_equal(&boot, &again, sizeof(boot));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_handles_append_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_is_known_without_a_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(records_of_one_append_stay_together, setup, teardown),
        cmocka_unit_test_setup_teardown(a_journal_begins_with_its_owners_state, setup, teardown),
        cmocka_unit_test_setup_teardown(a_beginning_without_its_first_record_is_none, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_beginning_is_not_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_beginning_that_could_not_be_synced_has_no_hint, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(numbers_jump_after_another_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_hint_costs_a_scan_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_goes_only_behind_a_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_that_shows_another_one_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_in_a_sealed_segment_is_not_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_writers_lose_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_append_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(the_boot_mark_names_one_clean_boot, setup, teardown),
    };

    return cmocka_run_group_tests_name("journal/shared", tests, NULL, NULL);
}
