/* Descriptors: readiness, hang-up, stale events, closing. */
#include "support_task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pair {
    int ends[2];
    struct task_fd a, b;
};

static void pair_open(struct pair *p)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->ends),
                     0);
    assert_int_equal(task_fd_init(&p->a, p->ends[0]), 0);
    assert_int_equal(task_fd_init(&p->b, p->ends[1]), 0);
}

static void pair_close(struct pair *p)
{
    task_fd_fini(&p->a);
    task_fd_fini(&p->b);
    close(p->ends[0]);
    close(p->ends[1]);
}

static ssize_t read_some(struct task_fd *f, void *buf, size_t n)
{
    for (;;) {
        ssize_t got = read(f->fd, buf, n);
        int rc;

        if (got >= 0)
            return got;
        if (errno != EAGAIN)
            return -errno;
        rc = task_fd_wait(f, TASK_READABLE, deadline_in(5000));
        if (rc < 0)
            return rc;
    }
}

static void echo(void *arg)
{
    struct task_fd *f = arg;
    char buf[64];
    ssize_t got;

    while ((got = read_some(f, buf, sizeof(buf))) > 0)
        assert_int_equal(write(f->fd, buf, (size_t)got), got);
}

static void echo_main(void *arg)
{
    struct pair p;
    struct task_group g;
    char buf[64];

    pair_open(&p);
    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "echo", echo, &p.b), 0);
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(buf, sizeof(buf), "line %d", i);
        assert_int_equal(write(p.a.fd, buf, (size_t)n), n);
        memset(buf, 0, sizeof(buf));
        assert_int_equal(read_some(&p.a, buf, sizeof(buf)), n);
        assert_int_equal(atoi(buf + 5), i);
    }
    shutdown(p.a.fd, SHUT_WR);
    assert_int_equal(task_group_wait(&g, deadline_in(5000)), 0);
    pair_close(&p);
}

static void test_echo(void **state)
{
    run(echo_main, NULL);
}

struct drain {
    struct task_fd *f;
    size_t total;
};

static void drain(void *arg)
{
    struct drain *d = arg;
    char buf[4096];
    ssize_t got;

    while ((got = read_some(d->f, buf, sizeof(buf))) > 0)
        d->total += (size_t)got;
    assert_int_equal(got, 0);
}

static void writable_main(void *arg)
{
    static char block[8192];
    struct pair p;
    struct drain d = {&p.b, 0};
    size_t sent = 0;
    struct task_group g;

    pair_open(&p);
    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "drain", drain, &d), 0);
    while (sent < 4 << 20) {
        ssize_t n = write(p.a.fd, block, sizeof(block));
        if (n > 0)
            sent += (size_t)n;
        else
            assert_int_equal(task_fd_wait(&p.a, TASK_WRITABLE, deadline_in(5000)), TASK_WRITABLE);
    }
    shutdown(p.a.fd, SHUT_WR);
    assert_int_equal(task_group_wait(&g, deadline_in(5000)), 0);
    assert_int_equal(d.total, sent);
    pair_close(&p);
}

static void test_a_full_socket_becomes_writable(void **state)
{
    run(writable_main, NULL);
}

static uint64_t turns(void)
{
    struct task_stats stats;

    task_get_stats(&stats);
    return stats.turns;
}

/* Epoll reports a hang-up whatever is asked for: nobody waits, nothing may spin. */
static void hangup_main(void *arg)
{
    struct pair p;
    char buf[16];
    uint64_t before;

    pair_open(&p);
    assert_int_equal(task_fd_wait(&p.a, TASK_READABLE, deadline_in(1)), -ETIMEDOUT);
    assert_int_equal(write(p.b.fd, "tail", 4), 4);
    task_fd_fini(&p.b);
    close(p.ends[1]);
    p.ends[1] = -1;
    before = turns();
    assert_int_equal(task_sleep(deadline_in(100)), 0);
    assert_true(turns() - before < 10);
    assert_true(task_fd_wait(&p.a, TASK_READABLE, deadline_in(1000)) & TASK_READABLE);
    assert_int_equal(read_some(&p.a, buf, sizeof(buf)), 4);
    assert_true(task_fd_wait(&p.a, TASK_READABLE, deadline_in(1000)) & TASK_READABLE);
    assert_int_equal(read_some(&p.a, buf, sizeof(buf)), 0);
    before = turns();
    assert_int_equal(task_sleep(deadline_in(100)), 0);
    assert_true(turns() - before < 10);
    pair_close(&p);
}

static void test_a_hung_up_descriptor_does_not_spin(void **state)
{
    run(hangup_main, NULL);
}

/* The reader's end of a pipe goes: an error condition at the writer's. */
static void error_main(void *arg)
{
    struct task_fd f;
    int ends[2];
    uint64_t before;

    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(task_fd_init(&f, ends[1]), 0);
    close(ends[0]);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(task_fd_wait(&f, TASK_WRITABLE, deadline_in(1000)),
                         TASK_READABLE | TASK_WRITABLE);
        before = turns();
        assert_int_equal(task_sleep(deadline_in(50)), 0);
        assert_true(turns() - before < 10);
    }
    task_fd_fini(&f);
    close(ends[1]);
}

static void test_an_error_wakes_and_does_not_spin(void **state)
{
    run(error_main, NULL);
}

struct side {
    struct task_fd *f;
    int events, result;
};

static void side(void *arg)
{
    struct side *s = arg;

    s->result = task_fd_wait(s->f, s->events, deadline_in(2000));
}

static void both_main(void *arg)
{
    struct pair p;
    struct side reader = {&p.a, TASK_READABLE, 0}, writer = {&p.a, TASK_WRITABLE, 0};
    struct task_group g;
    char block[4096] = {0}, buf[4096];

    pair_open(&p);
    task_group_init(&g);
    while (write(p.a.fd, block, sizeof(block)) > 0)
        ;
    assert_int_equal(task_group_spawn(&g, "reader", side, &reader), 0);
    assert_int_equal(task_group_spawn(&g, "writer", side, &writer), 0);
    assert_int_equal(task_sleep(deadline_in(20)), 0);
    assert_int_equal(reader.result, 0);
    assert_int_equal(writer.result, 0);
    while (read(p.b.fd, buf, sizeof(buf)) > 0)
        ;
    assert_int_equal(task_sleep(deadline_in(20)), 0);
    assert_int_equal(writer.result, TASK_WRITABLE);
    assert_int_equal(reader.result, 0);
    assert_int_equal(write(p.b.fd, "x", 1), 1);
    assert_int_equal(task_group_wait(&g, deadline_in(2000)), 0);
    assert_true(reader.result & TASK_READABLE);
    /* One task for both. */
    assert_int_equal(task_fd_wait(&p.a, TASK_READABLE | TASK_WRITABLE, deadline_in(1000)),
                     TASK_READABLE | TASK_WRITABLE);
    pair_close(&p);
}

static void test_a_reader_and_a_writer_wait_at_once(void **state)
{
    run(both_main, NULL);
}

static void fini_main(void *arg)
{
    struct pair p;
    struct side reader = {&p.a, TASK_READABLE, 0};
    struct task_group g;

    pair_open(&p);
    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "reader", side, &reader), 0);
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    task_fd_fini(&p.a);
    task_fd_fini(&p.a);
    assert_int_equal(task_group_wait(&g, deadline_in(1000)), 0);
    assert_int_equal(reader.result, -ECANCELED);
    /* The number may be watched again at once. */
    assert_int_equal(task_fd_init(&p.a, p.ends[0]), 0);
    assert_int_equal(write(p.b.fd, "x", 1), 1);
    assert_int_equal(task_fd_wait(&p.a, TASK_READABLE, deadline_in(1000)), TASK_READABLE);
    pair_close(&p);
}

static void test_fini_wakes_and_frees_the_number(void **state)
{
    run(fini_main, NULL);
}

/* A cancelled wait's task has not run yet, and another waits in its place. */
static void replace_main(void *arg)
{
    struct pair p;
    struct side reader = {&p.a, TASK_READABLE, 0};
    struct task *t;

    pair_open(&p);
    t = task_spawn("reader", side, &reader);
    assert_int_equal(task_sleep(deadline_in(5)), 0);
    task_cancel(t);
    assert_int_equal(write(p.b.fd, "x", 1), 1);
    assert_int_equal(task_fd_wait(&p.a, TASK_READABLE, deadline_in(1000)), TASK_READABLE);
    assert_int_equal(reader.result, -ECANCELED);
    pair_close(&p);
}

static void test_the_next_reader_may_follow_at_once(void **state)
{
    run(replace_main, NULL);
}

static void file_main(void *arg)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct task_fd f;

    assert_true(fd >= 0);
    assert_int_equal(task_fd_init(&f, fd), -EPERM);
    task_fd_fini(&f);
    close(fd);
}

static void test_files_are_refused(void **state)
{
    run(file_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_a_full_socket_becomes_writable),
        cmocka_unit_test(test_a_hung_up_descriptor_does_not_spin),
        cmocka_unit_test(test_an_error_wakes_and_does_not_spin),
        cmocka_unit_test(test_a_reader_and_a_writer_wait_at_once),
        cmocka_unit_test(test_fini_wakes_and_frees_the_number),
        cmocka_unit_test(test_the_next_reader_may_follow_at_once),
        cmocka_unit_test(test_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
