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

static void restart_with_a_future_release(void *arg)
{
    int64_t later = clock_wall_s() + 3600;
    struct str head = {0};

    open_ledger();
    encode(&head, 7777, later);
    struct journal_record r = {.kind = RECORD_MESSAGE, .head = str_span(&head)};
    assert_int_equal(ledger_commit(&r, 1), 0);
    str_fini(&head);
    ledger_close();

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
    ledger_close();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleaner_leaves_commits_under_way),
        cmocka_unit_test(hold_until_survives_a_restart),
    };

    return cmocka_run_group_tests_name("qmgr/ledger", tests, NULL, NULL);
}
