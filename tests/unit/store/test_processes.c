/* Several processes deliver to and read one account and are killed at any moment; the
 * index is deleted, the hint torn. What was acknowledged must be there, once. */
#include "tests/unit/store/support_store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"

enum { ROUNDS = 12, WRITERS = 3, READERS = 2, ROUND_MS = 250, MESSAGES_MAX = 1 << 16 };

static const char account[] = "shared";
static const char *self;

/* --- the children --- */

static struct {
    struct place place;
    unsigned first;
} child;

/* Deliver and append; a line per message that was acknowledged. */
static void write_main(void *arg)
{
    struct store_account *a;

    assert_int_equal(store_open(child.place.store, span_cstr(account), true, &a), 0);
    for (unsigned n = child.first;; n++) {
        char id[32], line[64];
        uint32_t uid;
        int length;

        snprintf(id, sizeof(id), "id %u", n);
        uid = n % 8 == 0 ? append_message(a, STORE_INBOX, n, 0) : deliver_message(a, n, id);
        length = snprintf(line, sizeof(line), "%u %u\n", n, uid);
        if (write(STDOUT_FILENO, line, (size_t)length) != length)
            break;
    }
}

/* Look, mark, move messages around and clean, for ever. */
static void read_main(void *arg)
{
    struct store_account *a;
    struct store_view *v;
    struct store_flag_change seen = {.op = STORE_FLAGS_ADD, .flags = STORE_SEEN};
    uint32_t junk;

    assert_int_equal(store_open(child.place.store, span_cstr(account), true, &a), 0);
    junk = find_mailbox(a, "Junk");
    assert_int_equal(store_view_open(a, STORE_INBOX, false, &v), 0);
    for (unsigned round = 0;; round++) {
        struct store_news news;
        struct store_copied copied;
        struct str text = {0};
        uint32_t last = 0;
        bool more;

        assert_int_equal(store_view_refresh(v, true, &news), 0);
        store_news_free(&news);
        for (size_t i = 0; i < v->messages.len; i++) {
            assert_true(v->messages.items[i].uid > last);
            last = v->messages.items[i].uid;
        }
        if (v->messages.len > 0) {
            const uint32_t uid = v->messages.items[round % v->messages.len].uid;
            int rc = store_body_read(v, uid, &text);
            assert_true(rc == 0 || rc == ERR_NOT_FOUND);
            str_fini(&text);
            assert_int_equal(store_set_flags(v, &uid, 1, &seen, NULL), 0);
            if (round % 16 == 0) {
                assert_int_equal(store_copy(v, &uid, 1, junk, true, &copied), 0);
                store_copied_free(&copied);
            }
        }
        if (round % 64 == 0) {
            int rc = store_clean(a, &more);
            assert_true(rc == 0 || rc == -EAGAIN);
        }
    }
}

static void deliver_once(void *arg)
{
    struct store_account *a;

    assert_int_equal(store_open(child.place.store, span_cstr(account), true, &a), 0);
    deliver_message(a, child.first, "one");
}

static int run_child(const char *what, const char *path, unsigned first)
{
    child.place.options =
        (struct store_options){.segment_size = 128 * 1024, .default_mailboxes = "Junk"};
    child.first = first;
    snprintf(child.place.path, sizeof(child.place.path), "%s", path);
    child.place.rootfd = open(path, O_RDONLY | O_DIRECTORY);
    if (child.place.rootfd < 0 ||
        store_new(&child.place.store, child.place.rootfd, &child.place.options) < 0)
        return 1;
    run(strcmp(what, "write") == 0  ? write_main
        : strcmp(what, "once") == 0 ? deliver_once
                                    : read_main,
        NULL);
    return 0;
}

/* --- the parent --- */

static struct {
    struct place place;
    uint32_t uids[MESSAGES_MAX]; /* of acknowledged messages, by number */
    unsigned next;
    size_t acknowledged;
} all;

static pid_t start_child(const char *what, unsigned first, int *output)
{
    int ends[2] = {-1, -1};
    char number[16];
    pid_t pid;

    if (output != NULL)
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    snprintf(number, sizeof(number), "%u", first);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (output != NULL)
            dup2(ends[1], STDOUT_FILENO);
        execl(self, self, what, all.place.path, number, NULL);
        _exit(127);
    }
    if (output != NULL) {
        close(ends[1]);
        *output = ends[0];
    }
    return pid;
}

static void collect(int fd)
{
    FILE *lines = fdopen(fd, "r");
    char line[64];

    while (fgets(line, sizeof(line), lines) != NULL) {
        unsigned n, uid;
        if (strchr(line, '\n') == NULL || sscanf(line, "%u %u", &n, &uid) != 2)
            break;
        assert_true(n < MESSAGES_MAX);
        all.uids[n] = uid;
        all.acknowledged++;
    }
    fclose(lines);
}

/* Nobody runs: damage what may be damaged. */
static void damage(unsigned round)
{
    static const char *const index[] = {"index", "index-lock", "index-boot"};
    char path[256], zeros[72] = {0};
    int fd;

    if (round % 3 == 1) {
        for (size_t i = 0; i < COUNT_OF(index); i++) {
            place_path(&all.place, account, index[i], path);
            unlink(path);
        }
    }
    if (round % 4 == 2) {
        place_path(&all.place, account, "tail", path);
        fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, zeros, random_below(72), 0) >= 0, 1);
        close(fd);
    }
}

static void check_main(void *arg)
{
    struct store_account *a;
    struct store_view *views[2];
    struct str report = {0};
    size_t found = 0;

    assert_int_equal(store_open(all.place.store, span_cstr(account), true, &a), 0);
    assert_int_equal(store_view_open(a, STORE_INBOX, true, &views[0]), 0);
    assert_int_equal(store_view_open(a, find_mailbox(a, "Junk"), true, &views[1]), 0);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < views[k]->messages.len; i++) {
            uint32_t uid = views[k]->messages.items[i].uid;
            struct str text = {0};
            ptrdiff_t at;
            unsigned n;
            assert_int_equal(store_body_read(views[k], uid, &text), 0);
            at = span_search(str_span(&text), SPAN_LIT("number "));
            assert_true(at > 0);
            n = (unsigned)strtoul(str_cstr(&text) + at + 7, NULL, 10);
            if (all.uids[n] != 0) {
                /* Once: unless it was moved, under its own UID. */
                assert_true(k == 1 || all.uids[n] == uid);
                all.uids[n] = 0;
                found++;
            }
            str_fini(&text);
        }
        store_view_close(views[k]);
    }
    assert_int_equal(found, all.acknowledged);
    assert_int_equal(store_verify(a, &report), 0);
    if (report.len > 0)
        printf("%s", str_cstr(&report));
    assert_int_equal(report.len, 0);
    str_fini(&report);
    store_close(a);
}

static void run_round(unsigned round)
{
    pid_t pids[WRITERS + READERS];
    int outputs[WRITERS], status;

    for (unsigned i = 0; i < WRITERS; i++) {
        pids[i] = start_child("write", all.next, &outputs[i]);
        all.next += MESSAGES_MAX / (ROUNDS * WRITERS + 1);
    }
    for (unsigned i = 0; i < READERS; i++)
        pids[WRITERS + i] = start_child("read", 0, NULL);
    usleep(1000 * (ROUND_MS / 2 + random_below(ROUND_MS)));
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        kill(pids[i], SIGKILL);
        usleep(random_below(3000));
    }
    for (unsigned i = 0; i < WRITERS + READERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        /* None of them failed before it was killed. */
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        collect(outputs[i]);
    damage(round);
}

static void test_processes(void **state)
{
    place_make(&all.place);
    store_free(all.place.store);
    all.place.store = NULL;
    all.place.options.segment_size = 128 * 1024;
    for (unsigned round = 0; round < ROUNDS; round++)
        run_round(round);
    assert_int_equal(store_new(&all.place.store, all.place.rootfd, &all.place.options), 0);
    assert_true(all.acknowledged > ROUNDS);
    run(check_main, NULL);
    place_remove(&all.place);
}

/* --- news --- */

static void watch_main(void *arg)
{
    struct store_account *a;
    struct store_watch *watch;
    struct store_view *v;
    int status;
    pid_t pid;

    assert_int_equal(store_open(all.place.store, span_cstr(account), true, &a), 0);
    assert_int_equal(store_view_open(a, STORE_INBOX, false, &v), 0);
    assert_int_equal(store_watch_start(a, &watch), 0);
    append_message(a, STORE_INBOX, 1, 0);
    assert_true(store_watch_count(watch) >= 1);
    check_refresh(v, true, "+1");
    store_view_park(v);
    /* Another process's news reach a parked view too. */
    (void)task_cond_wait(store_watch_cond(watch), deadline_in(50));
    pid = start_child("once", 2, NULL);
    assert_int_equal(task_cond_wait(store_watch_cond(watch), deadline_in(20000)), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    check_refresh(v, true, "+1");
    assert_int_equal(v->recent.len, 2);
    store_watch_stop(watch);
    store_view_close(v);
    store_close(a);
}

static void test_watch(void **state)
{
    place_make(&all.place);
    run(watch_main, NULL);
    place_remove(&all.place);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_watch),
                                       cmocka_unit_test(test_processes)};

    self = "/proc/self/exe";
    if (argc == 4)
        return run_child(argv[1], argv[2], (unsigned)strtoul(argv[3], NULL, 10));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
