/* Accounts in the making: whatever a crash leaves of one, the next delivery finds or makes a
 * whole account; processes that make the same one at the same time agree. */
#include "tests/unit/store/support_store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"

enum { BOXES = 5, FILE_SIZE_MAX = 64 * 1024 };

static int deliver(const char *account, unsigned n, bool is_retry)
{
    struct str text = {0};
    struct store_appended out = {0};
    char id[32];
    struct store_append m = {.fd = -1, .is_retry = is_retry};
    int rc;

    snprintf(id, sizeof(id), "id %u", n);
    m.delivery_id = span_cstr(id);
    message_text(&text, n, 300);
    m.content = str_span(&text);
    rc = store_deliver(place.store, span_cstr(account), &m, &out);
    assert_true(rc < 0 || out.uid > 0);
    str_fini(&text);
    return rc;
}

/* All mailboxes are there, and INBOX has so many messages. */
static void check_account(const char *account, size_t messages)
{
    struct store_account *a;
    struct store_listing list;
    struct arena arena = {0};
    struct str report = {0};

    assert_int_equal(store_open(place.store, span_cstr(account), false, &a), 0);
    assert_int_equal(store_list(a, &arena, &list), 0);
    assert_int_equal(list.boxes.len, BOXES);
    assert_int_equal(list.subscriptions.len, BOXES);
    assert_int_equal(list.boxes.items[0].id, STORE_INBOX);
    assert_int_equal(list.boxes.items[0].messages, messages);
    for (size_t i = 1; i < BOXES; i++)
        assert_true(list.boxes.items[i].uidvalidity > list.boxes.items[0].uidvalidity);
    store_listing_free(&list);
    arena_reset(&arena);
    assert_int_equal(store_verify(a, &report), 0);
    assert_string_equal(str_cstr(&report), "");
    str_fini(&report);
    store_close(a);
}

/* --- by a delivery --- */

static void delivery_main(void *arg)
{
    uint64_t bytes, messages;
    char path[256];

    assert_int_equal(store_usage_of(place.store, SPAN_LIT("u"), &bytes, &messages), ERR_NOT_FOUND);
    assert_int_equal(deliver("u", 1, false), 0);
    assert_int_equal(store_usage_of(place.store, SPAN_LIT("u"), &bytes, &messages), 0);
    assert_int_equal(messages, 1);
    assert_true(bytes > 300);
    /* That much is known without an index. */
    place_path(&place, "u", "index", path);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(deliver("u", 2, false), 0);
    assert_int_equal(deliver("u", 2, true), 0);
    check_account("u", 2);
    assert_int_equal(store_deliver(place.store, SPAN_LIT("a/b"), &(struct store_append){.fd = -1},
                                   &(struct store_appended){0}),
                     -EINVAL);
}

static void a_delivery_makes_the_account(void **state)
{
    run(delivery_main, NULL);
}

/* A login makes it, and the first message comes later. */
static void login_main(void *arg)
{
    struct store_account *a;
    uint64_t bytes, messages;
    char path[256];

    assert_int_equal(store_open(place.store, SPAN_LIT("u"), true, &a), 0);
    store_close(a);
    place_reopen(&place);
    assert_int_equal(deliver("u", 1, false), 0);
    assert_int_equal(store_usage_of(place.store, SPAN_LIT("u"), &bytes, &messages), 0);
    assert_int_equal(messages, 1);
    place_path(&place, "u", "index", path);
    assert_int_equal(access(path, F_OK), -1);
    check_account("u", 1);
}

static void a_login_makes_the_account(void **state)
{
    run(login_main, NULL);
}

/* --- what a crash leaves --- */

static void write_file(const char *account, const char *name, const char *data, size_t n)
{
    char path[256];
    int fd;

    place_path(&place, account, name, path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, data, n), 0);
    close(fd);
}

static void make_directory(const char *account)
{
    char path[256], *slash;

    place_path(&place, account, "", path);
    slash = strrchr(path, '/');
    *slash = '\0'; /* .../xx/account */
    slash = strrchr(path, '/');
    *slash = '\0';
    (void)mkdir(path, 0700);
    *slash = '/';
    assert_int_equal(mkdir(path, 0700), 0);
}

static void leftovers_main(void *arg)
{
    static char segment[FILE_SIZE_MAX];
    char path[256], account[32];
    ssize_t size;
    int fd;

    assert_int_equal(deliver("whole", 7, false), 0);
    place_path(&place, "whole", "seg.1", path);
    fd = open(path, O_RDONLY);
    size = read(fd, segment, sizeof(segment));
    close(fd);
    assert_true(size > 4096 && size < FILE_SIZE_MAX);

    make_directory("empty");
    assert_int_equal(deliver("empty", 7, true), 0);
    check_account("empty", 1);
    make_directory("locked");
    write_file("locked", "tail", "", 0);
    assert_int_equal(deliver("locked", 7, true), 0);
    check_account("locked", 1);
    for (ssize_t cut = 0; cut <= size + 40; cut += cut < 4096 ? 1024 : 40) {
        snprintf(account, sizeof(account), "cut-%zd", cut);
        make_directory(account);
        write_file(account, "tail", "", 0);
        write_file(account, "seg.1", segment, (size_t)(cut < size ? cut : size));
        assert_int_equal(deliver(account, 7, true), 0);
        check_account(account, 1);
    }
}

static void what_a_crash_leaves_is_made_whole(void **state)
{
    run(leftovers_main, NULL);
}

/* --- several processes, killed --- */

enum { ROUNDS = 15, MAKERS = 3, ACCOUNTS = 60 };

static struct acknowledged {
    atomic_bool by[MAKERS][ACCOUNTS];
} * acknowledged;

static void make_main(void *arg)
{
    unsigned maker = *(unsigned *)arg;
    char account[32];

    for (unsigned i = 0; i < ACCOUNTS; i++) {
        snprintf(account, sizeof(account), "u%u", i);
        assert_int_equal(deliver(account, maker, false), 0);
        atomic_store(&acknowledged->by[maker][i], true);
    }
    for (;;)
        pause();
}

static pid_t start_maker(unsigned maker)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    if (store_new(&place.store, place.rootfd, &place.options) == 0)
        run(make_main, &maker);
    _exit(1);
}

static void check_main(void *arg)
{
    char account[32];

    for (unsigned i = 0; i < ACCOUNTS; i++) {
        unsigned count = 0;
        snprintf(account, sizeof(account), "u%u", i);
        for (unsigned maker = 0; maker < MAKERS; maker++) {
            if (atomic_load(&acknowledged->by[maker][i]))
                count++;
            else /* not acknowledged, so it comes again */
                assert_int_equal(deliver(account, maker, true), 0);
        }
        if (count > 0)
            check_account(account, MAKERS);
    }
}

static void killed_makers_leave_whole_accounts(void **state)
{
    acknowledged = mmap(NULL, sizeof(*acknowledged), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acknowledged != MAP_FAILED);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t pids[MAKERS];
        int status;

        place_make(&place);
        store_free(place.store);
        place.store = NULL;
        memset(acknowledged, 0, sizeof(*acknowledged));
        for (unsigned i = 0; i < MAKERS; i++)
            pids[i] = start_maker(i);
        usleep((useconds_t)random_below(60 * 1000));
        for (unsigned i = 0; i < MAKERS; i++) {
            kill(pids[i], SIGKILL);
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_true(WIFSIGNALED(status)); /* it had not failed before */
        }
        assert_int_equal(store_new(&place.store, place.rootfd, &place.options), 0);
        run(check_main, NULL);
        place_remove(&place);
    }
    munmap(acknowledged, sizeof(*acknowledged));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_delivery_makes_the_account, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(a_login_makes_the_account, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(what_a_crash_leaves_is_made_whole, place_setup,
                                        place_teardown),
        cmocka_unit_test(killed_makers_leave_whole_accounts),
    };

    return cmocka_run_group_tests_name("store/make", tests, NULL, NULL);
}
