/* However many accounts have work at once, few hold files, and each gets its turn. */
#include "tests/unit/store/support_store.h"

#include <dirent.h>
#include <stdio.h>

#include "base/clock.h"

enum { BUSY_ACCOUNTS = 120, OPEN_LIMIT = 8, DESCRIPTORS_EACH = 8 };

static struct {
    unsigned most, done;
} busy;

static unsigned count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void work_in_account(void *arg)
{
    char id[16];
    struct store_account *a;

    snprintf(id, sizeof(id), "busy%u", (unsigned)(uintptr_t)arg);
    a = open_account(id);
    for (unsigned i = 1; i <= 2; i++) {
        unsigned now;

        assert_true(append_message(a, STORE_INBOX, i, 0) > 0);
        now = count_descriptors();
        if (now > busy.most)
            busy.most = now;
    }
    store_close(a);
    busy.done++;
}

static void limit_main(void *arg)
{
    struct task_group g;
    unsigned before = count_descriptors();

    task_group_init(&g);
    for (uintptr_t i = 0; i < BUSY_ACCOUNTS; i++)
        assert_int_equal(task_group_spawn(&g, "busy", work_in_account, (void *)i), 0);
    assert_int_equal(task_group_wait(&g, deadline_in(60000)), 0);
    assert_int_equal(busy.done, BUSY_ACCOUNTS);
    assert_true(busy.most <= before + OPEN_LIMIT * DESCRIPTORS_EACH);
}

static void look_into_account(void *arg)
{
    struct store_mailbox box;
    struct store_account *a;
    struct arena arena = {0};
    char id[16];

    snprintf(id, sizeof(id), "busy%u", (unsigned)(uintptr_t)arg);
    a = open_account(id);
    assert_int_equal(store_find(a, SPAN_LIT("INBOX"), &arena, &box), 0);
    arena_reset(&arena);
    store_close(a);
    busy.done++;
}

/* A message that is here does not wait behind all who begin to look. */
static void begun_main(void *arg)
{
    struct store_account *a = open_account("begun");
    struct task_group g;

    task_group_init(&g);
    for (uintptr_t i = 0; i < BUSY_ACCOUNTS; i++)
        assert_int_equal(task_group_spawn(&g, "busy", look_into_account, (void *)i), 0);
    while (busy.done < OPEN_LIMIT) /* which closes the files of the first */
        task_yield();
    assert_true(append_message(a, STORE_INBOX, 1, 0) > 0);
    assert_true(busy.done < BUSY_ACCOUNTS / 4); /* 8 to 10; 59 to 119 in one line */
    store_close(a);
    assert_int_equal(task_group_wait(&g, deadline_in(60000)), 0);
    assert_int_equal(busy.done, BUSY_ACCOUNTS);
}

static void test_what_was_begun_goes_on(void **state)
{
    place.options.open_limit = OPEN_LIMIT;
    place_reopen(&place);
    busy.most = busy.done = 0;
    run(begun_main, NULL);
}

static void test_open_limit(void **state)
{
    place.options.open_limit = OPEN_LIMIT;
    place_reopen(&place);
    busy.most = busy.done = 0;
    run(limit_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open_limit, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_what_was_begun_goes_on, place_setup, place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
