/* The queue on disk: what the cleaner must leave alone, and what a restart finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "journal/batch.h"
#include "qmgr/ledger.h"
#include "queue/attr.h"

enum { MESSAGES = 600, BODY = 60000 }; /* more than two segments */
enum { KEPT_FROM = 10001, KEPT_TO = 10100, LATER = 2000000000 };

static char path[64];
static int queue_fd;

static void make_place(void)
{
    strcpy(path, "/tmp/waypost-ledger-XXXXXX");
    assert_non_null(mkdtemp(path));
    queue_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(queue_fd >= 0);
}

static void remove_place(void)
{
    char command[128];

    close(queue_fd);
    snprintf(command, sizeof(command), "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

static void run(task_fn *fn)
{
    struct task_options options = {0};

    make_place();
    assert_int_equal(task_runtime_init(&options), 0);
    assert_int_equal(task_runtime_run(fn, NULL), 0);
    task_runtime_fini();
    remove_place();
}

static void open_ledger(void)
{
    struct str why = {0};

    assert_int_equal(ledger_open(queue_fd, &why), 0);
    str_fini(&why);
}

/* A MESSAGE record's head. */
static void encode(struct str *head, uint64_t number, int64_t hold_until_s)
{
    static const char commit[16] = "0123456789abcde";
    struct queue_message m;

    queue_message_init(&m, NULL);
    m.id = (struct queue_id){.number = number, .time_us = 1000000};
    m.arrival_us = 1000000;
    m.hold_until_s = hold_until_s;
    m.commit = span_make(commit, sizeof(commit));
    assert_non_null(queue_message_add(&m, SPAN_LIT("a@there.test")));
    assert_int_equal(queue_message_encode(&m, head), 0);
    queue_message_fini(&m);
}

/* --- a commit under way --- */

static bool is_committing;

static void clean_always(void *arg)
{
    while (is_committing && task_breathe() == 0)
        ledger_clean();
}

/* What a commit has written is durable before the commit returns, and nobody knows
 * of it yet: to the cleaner it looks dead. */
static void commit_while_cleaning(void *arg)
{
    struct journal_record *records = mem_new(MESSAGES * sizeof(*records));
    struct str *heads = mem_new(MESSAGES * sizeof(*heads)), octets = {0};
    char *body = mem_new(BODY);
    struct task_group group;

    open_ledger();
    for (size_t i = 0; i < MESSAGES; i++) {
        encode(&heads[i], i + 1, 0);
        records[i] = (struct journal_record){
            .kind = RECORD_MESSAGE, .head = str_span(&heads[i]), .body = span_make(body, BODY)};
    }
    task_group_init(&group);
    is_committing = true;
    assert_int_equal(task_group_spawn(&group, "clean", clean_always, NULL), 0);
    assert_int_equal(ledger_commit(records, MESSAGES), 0);
    is_committing = false;
    for (size_t i = 0; i < MESSAGES; i++)
        entry_set_message(entry_new(i + 1), &records[i].at);
    for (size_t i = 0; i < MESSAGES; i++) {
        struct journal_record r;

        str_clear(&octets);
        assert_int_equal(journal_read(ledger_journal(), &records[i].at, &octets, &r), 0);
    }
    task_group_wait(&group, DEADLINE_NONE);
    for (size_t i = 0; i < MESSAGES; i++)
        str_fini(&heads[i]);
    str_fini(&octets);
    free(heads);
    free(records);
    free(body);
    for (size_t i = 0; i < MESSAGES; i++)
        ledger_remove(entry_find(i + 1));
    ledger_close();
}

static void cleaner_leaves_commits_under_way(void **state)
{
    run(commit_while_cleaning);
}

/* --- restart --- */

/* As a commit does. */
static struct entry *commit(uint64_t number, int64_t hold_until_s)
{
    struct str head = {0};

    encode(&head, number, hold_until_s);
    struct journal_record r = {
        .kind = RECORD_MESSAGE, .head = str_span(&head), .body = SPAN_LIT("content")};
    assert_int_equal(ledger_commit(&r, 1), 0);
    str_fini(&head);
    struct entry *e = entry_new(number);
    e->id.time_us = e->arrival_us = 1000000;
    e->next_attempt_s = hold_until_s;
    e->commit_hash = ledger_commit_hash(SPAN_LIT("0123456789abcde"));
    entry_set_message(e, &r.at);
    entry_move(e, ENTRY_DEFERRED);
    return e;
}

/* As a kill does it, when everything is on the disk. */
static void close_and_forget(void)
{
    struct hash_walk walk = {0};
    struct entry *e;

    ledger_close();
    while ((e = entry_walk(&walk)) != NULL)
        entry_free(e);
}

static void stop(void)
{
    ledger_keep_entries();
    close_and_forget();
}

static void restart_with_a_future_release(void *arg)
{
    int64_t later = clock_wall_s() + 3600;

    open_ledger();
    commit(7777, later);
    stop();

    open_ledger();
    struct entry *e = entry_find(7777);
    assert_non_null(e);
    assert_int_equal(e->place, ENTRY_DEFERRED);
    assert_int_equal(e->next_attempt_s, later);
    assert_true(ledger_was_committed(7777, e->commit_hash));

    /* Removed: gone after the next start, and its commit is still known. */
    uint64_t hash = e->commit_hash;
    assert_int_equal(ledger_remove(e), 0);
    assert_null(entry_find(7777));
    stop();
    open_ledger();
    assert_null(entry_find(7777));
    assert_true(ledger_was_committed(7777, hash));
    assert_false(ledger_was_committed(7777, hash + 1));
    ledger_close();
}

static void hold_until_survives_a_restart(void **state)
{
    run(restart_with_a_future_release);
}

/* --- reading --- */

static int loading_rc;

static void load_listed(void *arg)
{
    struct loaded l;

    loading_rc = ledger_load(arg, &l, false);
    loaded_fini(&l);
}

/* Who lists the queue has no place of its own in a message's life: it may end meanwhile. */
static void remove_while_loading(void *arg)
{
    struct task_group group;

    open_ledger();
    struct entry *e = commit(KEPT_FROM, 0);
    struct str head = {0};
    assert_int_equal(str_set(&head, SPAN_LIT("not read")), 0);
    assert_int_equal(ledger_write_result(e, str_span(&head), 1), 0);
    assert_int_equal(ledger_flush(), 0);
    task_group_init(&group);
    loading_rc = 1;
    assert_int_equal(task_group_spawn(&group, "list", load_listed, e), 0);
    assert_int_equal(task_yield(), 0); /* it waits for a worker now */
    assert_int_equal(loading_rc, 1);
    assert_int_equal(ledger_remove(e), 0);
    assert_int_equal(task_group_wait(&group, DEADLINE_NONE), 0);
    assert_int_equal(loading_rc, ERR_NOT_FOUND);
    str_fini(&head);
    ledger_close();
}

static void a_message_may_go_while_it_is_read(void **state)
{
    run(remove_while_loading);
}

/* Everything the entries know, in the order of their numbers. */
static void describe_entries(struct str *out)
{
    for (uint64_t number = KEPT_FROM; number <= KEPT_TO; number++) {
        const struct entry *e = entry_find(number);

        if (e == NULL)
            continue;
        str_printf(out, "%llu %lld %llu/%llu+%u old %llu due %lld flags %u place %u hash %llx:",
                   (unsigned long long)e->id.number, (long long)e->id.time_us,
                   (unsigned long long)e->message.segment, (unsigned long long)e->message.offset,
                   e->message.length, (unsigned long long)e->oldest_segment,
                   (long long)e->next_attempt_s, e->flags, e->place,
                   (unsigned long long)e->commit_hash);
        for (uint32_t i = 0; i < e->change_count; i++)
            str_printf(out, " %u@%llu/%llu", e->changes[i].sequence,
                       (unsigned long long)e->changes[i].at.segment,
                       (unsigned long long)e->changes[i].at.offset);
        str_append_char(out, '\n');
    }
    str_printf(out, "%zu deferred, %zu on hold, live %llu\n", entry_count(ENTRY_DEFERRED),
               entry_count(ENTRY_ON_HOLD), (unsigned long long)segment_live(1));
}

/* As deferred, held and removed messages are. */
static void fill_queue(void)
{
    for (uint64_t number = KEPT_FROM; number <= KEPT_TO; number++) {
        struct entry *e = commit(number, 0);
        struct loaded l;

        assert_int_equal(ledger_load(e, &l, false), 0);
        l.flags = number % 3 == 0 ? ENTRY_HOLD : 0;
        l.next_attempt_s = e->next_attempt_s = LATER + (int64_t)number;
        assert_int_equal(ledger_write_state(e, &l), 0);
        loaded_fini(&l);
        if (number % 5 == 0)
            assert_int_equal(ledger_remove(e), 0);
        else
            entry_move(e, number % 3 == 0 ? ENTRY_ON_HOLD : ENTRY_DEFERRED);
    }
}

/* A command of the shell where the journal is. */
static int in_journal(const char *command)
{
    char text[256];

    snprintf(text, sizeof(text), "cd %s/queue/journal && %s", path, command);
    return system(text);
}

static bool has_snapshot(void)
{
    return in_journal("test -e entries") == 0;
}

static void expect_entries(const struct str *expected)
{
    struct str found = {0};

    open_ledger();
    assert_false(has_snapshot()); /* it counts once */
    describe_entries(&found);
    assert_string_equal(str_cstr(&found), str_cstr(expected));
    assert_true(ledger_was_committed(10005, ledger_commit_hash(SPAN_LIT("0123456789abcde"))));
    stop();
    str_fini(&found);
    assert_true(has_snapshot());
}

static void restart_with_snapshots(void *arg)
{
    static const char *const damages[] = {
        "true",
        "printf '?' | dd of=entries bs=1 seek=1000 conv=notrunc status=none", /* its content */
        "printf '?' | dd of=entries bs=1 seek=8 conv=notrunc status=none",    /* its version */
        "truncate -s -1 entries",
        "truncate -s 40 entries",
        "truncate -s 0 entries",
        "rm entries",
    };
    struct str before = {0};

    open_ledger();
    fill_queue();
    describe_entries(&before);
    stop();
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        assert_int_equal(in_journal(damages[i]), 0);
        expect_entries(&before);
    }
    str_fini(&before);
}

static void a_snapshot_is_what_the_journal_says(void **state)
{
    run(restart_with_snapshots);
}

static void restart_with_the_snapshot_before(void *arg)
{
    open_ledger();
    fill_queue();
    stop();
    assert_int_equal(in_journal("cp entries old"), 0);

    open_ledger();
    commit(KEPT_TO + 1, 0);
    assert_int_equal(ledger_remove(entry_find(KEPT_FROM)), 0);
    close_and_forget();
    assert_false(has_snapshot());
    assert_int_equal(in_journal("cp old entries"), 0);

    open_ledger();
    assert_non_null(entry_find(KEPT_TO + 1));
    assert_null(entry_find(KEPT_FROM));
    stop();
}

static void a_snapshot_does_not_count_once_the_journal_went_on(void **state)
{
    run(restart_with_the_snapshot_before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleaner_leaves_commits_under_way),
        cmocka_unit_test(hold_until_survives_a_restart),
        cmocka_unit_test(a_message_may_go_while_it_is_read),
        cmocka_unit_test(a_snapshot_is_what_the_journal_says),
        cmocka_unit_test(a_snapshot_does_not_count_once_the_journal_went_on),
    };

    return cmocka_run_group_tests_name("qmgr/ledger", tests, NULL, NULL);
}
