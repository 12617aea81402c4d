/* Group commit for tasks. */
#include "support_journal.h"

#include <stdlib.h>
#include <string.h>

enum { KIND = JOURNAL_KIND_USER, TASKS = 40, COMMITS = 25 };

struct work {
    struct place *place;
    struct journal *journal;
    uint64_t highest;
    unsigned committed;
};

static void commit_some(void *arg)
{
    struct work *w = arg;

    for (int i = 0; i < COMMITS; i++) {
        struct journal_record record = {.kind = KIND, .count = 1, .head = SPAN_LIT("envelope")};
        struct journal_record done = {.kind = KIND + 1};
        char body[700];
        memset(body, 'x', sizeof(body));
        record.body = span_make(body, sizeof(body));
        assert_int_equal(journal_commit(w->journal, &record, 1), 0);
        assert_int_not_equal(record.number, 0);
        if (record.number > w->highest)
            w->highest = record.number;
        w->committed++;
        assert_int_equal(journal_append(w->journal, &done), 0);
    }
}

static int count_records(void *arg, const struct journal_record *record)
{
    unsigned *count = arg;

    *count += record->kind == KIND;
    return 0;
}

static void main_task(void *arg)
{
    struct work *w = arg;
    struct journal_batch_options options = {0};
    struct journal_batch_stats stats;
    struct journal_segment_info info;
    struct journal_writer *writer;
    struct task_group group;
    unsigned walked = 0;

    assert_int_equal(
        journal_writer_open(&w->place->real.disk, &w->place->queue, NULL, NULL, &writer), 0);
    assert_int_equal(journal_new(writer, &options, &w->journal), 0);
    task_group_init(&group);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(task_group_spawn(&group, "commit", commit_some, w), 0);
    assert_int_equal(task_group_wait(&group, DEADLINE_NONE), 0);
    assert_int_equal(journal_flush(w->journal), 0);
    journal_get_stats(w->journal, &stats);
    assert_int_equal(stats.commits, TASKS * COMMITS);
    assert_true(stats.syncs < TASKS * COMMITS / 2); /* they share syncs */
    assert_true(journal_writer_segment(writer, 0, &info));
    assert_int_equal(journal_walk(w->journal, info.number, count_records, &walked), 0);
    assert_true(walked > 0);
    assert_int_equal(journal_free_segment(w->journal, info.number), 0);
    assert_int_equal(journal_walk(w->journal, info.number, count_records, &walked), ERR_NOT_FOUND);
    journal_free(w->journal);
}

static void tasks_share_syncs(void **state)
{
    struct place place;
    struct work work = {.place = &place};
    struct journal_writer *writer;
    struct task_options options = {0};
    unsigned count = 0;

    place_make(&place);
    assert_int_equal(task_runtime_init(&options), 0);
    assert_int_equal(task_runtime_run(main_task, &work), 0);
    task_runtime_fini();
    assert_int_equal(work.committed, TASKS * COMMITS);
    assert_int_equal(
        journal_writer_open(&place.real.disk, &place.queue, count_records, &count, &writer), 0);
    assert_true(count > 0 && count < TASKS * COMMITS); /* one segment was freed */
    journal_writer_close(writer);
    place_remove(&place);
}

/* Where syncs are done: `each` commits by each of `tasks` tasks at once. */
struct pattern {
    struct place *place;
    unsigned tasks, each, inline_sync_us;
    struct journal *journal;
    struct journal_batch_stats stats;
};

static void commit_each(void *arg)
{
    struct pattern *p = arg;

    for (unsigned i = 0; i < p->each; i++) {
        struct journal_record record = {.kind = KIND, .count = 1, .head = SPAN_LIT("envelope")};
        assert_int_equal(journal_commit(p->journal, &record, 1), 0);
    }
}

static void run_pattern(void *arg)
{
    struct pattern *p = arg;
    struct journal_batch_options options = {.inline_sync_us = p->inline_sync_us};
    struct journal_writer *writer;
    struct task_group group;

    assert_int_equal(
        journal_writer_open(&p->place->real.disk, &p->place->queue, NULL, NULL, &writer), 0);
    assert_int_equal(journal_new(writer, &options, &p->journal), 0);
    task_group_init(&group);
    for (unsigned i = 0; i < p->tasks; i++)
        assert_int_equal(task_group_spawn(&group, "commit", commit_each, p), 0);
    assert_int_equal(task_group_wait(&group, DEADLINE_NONE), 0);
    journal_get_stats(p->journal, &p->stats);
    journal_free(p->journal);
}

static struct journal_batch_stats stats_of(unsigned tasks, unsigned each, unsigned inline_sync_us)
{
    struct task_options options = {.has_no_watchdog = true};
    struct place place;
    struct pattern p = {
        .place = &place, .tasks = tasks, .each = each, .inline_sync_us = inline_sync_us};

    place_make(&place);
    assert_int_equal(task_runtime_init(&options), 0);
    assert_int_equal(task_runtime_run(run_pattern, &p), 0);
    task_runtime_fini();
    place_remove(&place);
    return p.stats;
}

static void who_waits_alone_is_synced_on_the_loop(void **state)
{
    struct journal_batch_stats stats = stats_of(1, 60, 10000000);

    assert_int_equal(stats.commits, 60);
    assert_true(stats.inline_syncs >= 50);
    stats = stats_of(1, 60, 1); /* no sync is that short */
    assert_int_equal(stats.inline_syncs, 0);
}

static void who_waits_with_others_is_not(void **state)
{
    struct journal_batch_stats stats = stats_of(20, 20, 10000000);

    assert_int_equal(stats.commits, 400);
    assert_int_equal(stats.inline_syncs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_share_syncs),
        cmocka_unit_test(who_waits_alone_is_synced_on_the_loop),
        cmocka_unit_test(who_waits_with_others_is_not),
    };

    return cmocka_run_group_tests_name("journal/batch", tests, NULL, NULL);
}
