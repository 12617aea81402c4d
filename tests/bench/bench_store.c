/*
 * bench_store: what the store costs. bench_store DIR [MESSAGES]
 *
 * Deliveries by 1 and 20 tasks to 100 accounts, then SELECT, FETCH, flags, COPY and
 * EXPUNGE of one mailbox, and the memory of parked views. A line per figure.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "store/store.h"

enum { ACCOUNTS = 100, DELIVERIES = 5000, TEXT = 4600, VIEWS = 200 };

static struct {
    struct store *store;
    unsigned messages, left, number;
    struct str text;
} b;

static void must(int rc, const char *what)
{
    if (rc < 0)
        fatal("%s: %s", what, error_text(rc));
}

struct clock {
    int64_t wall, cpu;
};

static struct clock begin(void)
{
    return (struct clock){clock_mono_us(), clock_cpu_us()};
}

static void say(struct clock c, const char *what, unsigned count)
{
    int64_t wall = clock_mono_us() - c.wall, cpu = clock_cpu_us() - c.cpu;

    printf("%-28s %8u  %9.3f ms  %8.1f us each  %8.1f us CPU  %9.0f/s\n", what, count,
           (double)wall / 1000, (double)wall / count, (double)cpu / count,
           count * 1e6 / (double)wall);
}

static void make_text(void)
{
    str_append_cstr(&b.text, "From: Some Body <some.body@example.test>\r\n"
                             "To: u@example.test\r\nSubject: a message to measure with\r\n"
                             "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
                             "Message-Id: <bench@example.test>\r\n\r\n");
    while (b.text.len < TEXT)
        str_append_cstr(&b.text, "Lorem ipsum dolor sit amet, consetetur sadipscing elitr.\r\n");
}

/* --- deliveries --- */

static void deliver_one(unsigned account)
{
    char id[32], delivery[32];
    struct store_account *a;
    struct store_append m = {.fd = -1,
                             .content = str_span(&b.text),
                             .prefix = SPAN_LIT("Return-Path: <a@example.test>\r\n"
                                                "Delivered-To: u@example.test\r\n")};
    struct store_appended out;

    snprintf(id, sizeof(id), "u%u", account);
    snprintf(delivery, sizeof(delivery), "%u", ++b.number);
    m.delivery_id = span_cstr(delivery);
    must(store_open(b.store, span_cstr(id), true, &a), "open");
    must(store_append(a, STORE_INBOX, &m, 1, &out), "deliver");
    store_close(a);
}

static void deliver_task(void *arg)
{
    unsigned accounts = *(unsigned *)arg;

    while (b.left > 0) {
        b.left--;
        deliver_one((unsigned)(b.number * 7919u) % accounts);
    }
}

static void deliver_many(unsigned tasks, unsigned accounts, const char *what)
{
    struct task_group group;
    struct clock c = begin();

    b.left = DELIVERIES;
    task_group_init(&group);
    for (unsigned i = 0; i < tasks; i++)
        must(task_group_spawn(&group, "deliver", deliver_task, &accounts), "spawn");
    task_group_wait(&group, DEADLINE_NONE);
    say(c, what, DELIVERIES);
}

/* --- a mailbox --- */

static void fill(struct store_account *a)
{
    enum { BATCH = 500 };
    static struct store_append messages[BATCH];
    static struct store_appended out[BATCH];

    for (unsigned done = 0; done < b.messages; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++)
            messages[i] = (struct store_append){.fd = -1, .content = str_span(&b.text)};
        must(store_append(a, STORE_INBOX, messages, BATCH, out), "fill");
    }
}

static void all_uids(const struct store_view *v, uint32_t *uids)
{
    for (size_t i = 0; i < v->messages.len; i++)
        uids[i] = v->messages.items[i].uid;
}

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void park_views(struct store_account *a)
{
    struct store_view *views[VIEWS];
    size_t before;

    store_rest(a);
    before = heap();
    for (int i = 0; i < VIEWS; i++) {
        must(store_view_open(a, STORE_INBOX, true, &views[i]), "view");
        store_view_park(views[i]);
    }
    printf("%-28s %8d  %zu octets each\n", "parked view", VIEWS, (heap() - before) / VIEWS);
    for (int i = 0; i < VIEWS; i++)
        store_view_close(views[i]);
}

static void measure_mailbox(void)
{
    struct store_account *a;
    struct store_view *v;
    struct store_copied copied;
    struct store_flag_change seen = {.op = STORE_FLAGS_ADD, .flags = STORE_SEEN};
    struct store_flag_change deleted = {.op = STORE_FLAGS_ADD, .flags = STORE_DELETED};
    struct store_cached *cached = calloc(b.messages, sizeof(*cached));
    uint32_t *uids = calloc(b.messages, sizeof(*uids));
    size_t count;
    struct arena arena = {0};
    struct clock c;

    must(store_open(b.store, SPAN_LIT("large"), true, &a), "open");
    c = begin();
    fill(a);
    say(c, "append, 500 at once", b.messages);
    must(store_view_open(a, STORE_INBOX, false, &v), "view");
    store_view_close(v);
    store_rest(a);
    c = begin();
    must(store_view_open(a, STORE_INBOX, false, &v), "view");
    say(c, "SELECT, files closed", 1);
    store_view_close(v);
    c = begin();
    must(store_view_open(a, STORE_INBOX, false, &v), "view");
    say(c, "SELECT again", 1);
    all_uids(v, uids);
    c = begin();
    count = v->messages.len;
    must(store_cached(v, uids, &count, SIZE_MAX, &arena, cached), "cached");
    say(c, "ENVELOPE and BODYSTRUCTURE", b.messages);
    c = begin();
    for (int i = 0; i < 200; i++)
        must(store_set_flags(v, uids + i, 1, &seen, NULL), "flags");
    say(c, "STORE of one", 200);
    c = begin();
    must(store_set_flags(v, uids, 1000, &deleted, NULL), "flags");
    say(c, "STORE of 1000", 1);
    c = begin();
    must(store_copy(v, uids, 1000, STORE_INBOX, false, &copied), "copy");
    say(c, "COPY of 1000", 1);
    store_copied_free(&copied);
    park_views(a);
    c = begin();
    must(store_expunge(v, uids, b.messages / 2, true), "expunge");
    say(c, "EXPUNGE of half", 1);
    c = begin();
    must(store_rebuild(a), "rebuild");
    say(c, "index made anew", 1);
    store_view_close(v);
    store_close(a);
    arena_reset(&arena);
    free(cached);
    free(uids);
}

static void measure(void *arg)
{
    make_text();
    deliver_many(20, ACCOUNTS, "(accounts made)");
    deliver_many(1, ACCOUNTS, "deliver, 1 task");
    deliver_many(4, ACCOUNTS, "deliver, 4 tasks");
    deliver_many(20, ACCOUNTS, "deliver, 20 tasks");
    deliver_many(20, 1, "deliver, 20 tasks, 1 account");
    measure_mailbox();
}

int main(int argc, char **argv)
{
    struct store_options options = {0};
    int fd;

    if (argc < 2)
        fatal("usage: bench_store DIR [MESSAGES]");
    b.messages = argc > 2 ? (unsigned)atoi(argv[2]) : 10000;
    fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fatal("%s: cannot be opened", argv[1]);
    must(store_new(&b.store, fd, &options), "store");
    must(task_runtime_init(NULL), "runtime");
    must(task_runtime_run(measure, NULL), "run");
    task_runtime_fini();
    store_free(b.store);
    str_fini(&b.text);
    close(fd);
    return 0;
}
