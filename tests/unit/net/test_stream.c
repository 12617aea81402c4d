/* Streams against a scripted peer and over socket pairs. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net/support_peer.h"
#include "tests/unit/net/support_run.h"

static const deadline_t never = DEADLINE_NONE;

/* The same conversation in every fragmentation. */
static void lines_in_every_split(void **state)
{
    for (unsigned seed = 0; seed < 200; seed++) {
        struct budget budget;
        struct peer p;
        struct stream *s;
        struct span line;

        budget_init(&budget, 256 * 1024);
        peer_init(&p, seed < 2 ? (enum peer_split)seed : PEER_RANDOM, seed,
                  SPAN_LIT("EHLO x\r\nbare\n\n\r\nlast\r\npart"));
        s = peer_stream(&p, &budget);
        assert_int_equal(stream_printf(s, never, "220 %s\r\n", "ready"), 0);
        assert_int_equal(stream_read_line(s, 100, &line, never), 0);
        assert_true(span_eq(line, SPAN_LIT("EHLO x\r\n")));
        assert_int_equal(stream_write(s, SPAN_LIT("250 ok\r\n"), never), 0);
        assert_int_equal(stream_read_line(s, 100, &line, never), 0);
        assert_true(span_eq(line, SPAN_LIT("bare\n")));
        assert_int_equal(stream_read_line(s, 100, &line, never), 0);
        assert_true(span_eq(line, SPAN_LIT("\n")));
        assert_int_equal(stream_skip_line(s, never), 0);
        assert_int_equal(stream_read_line(s, 3, &line, never), ERR_TOO_LONG);
        assert_int_equal(stream_read_line(s, 6, &line, never), 0);
        assert_true(span_eq(line, SPAN_LIT("last\r\n")));
        assert_int_equal(stream_read_line(s, 100, &line, never), ERR_TRUNCATED);
        assert_int_equal(stream_buffered(s), 4);
        stream_consume(s, 4);
        assert_int_equal(stream_read_line(s, 100, &line, never), ERR_EOF);
        assert_int_equal(stream_flush(s, never), 0);
        assert_true(span_eq(str_span(&p.received), SPAN_LIT("220 ready\r\n250 ok\r\n")));
        stream_free(s);
        assert_int_equal(budget.used, 0);
        peer_fini(&p);
    }
}

static void replies_to_a_pipeline_leave_together(void **state)
{
    struct peer p;
    struct stream *s;
    struct span line;

    peer_init(&p, PEER_WHOLE, 0, SPAN_LIT("a\r\nb\r\nc\r\n"));
    s = peer_stream(&p, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stream_read_line(s, 10, &line, never), 0);
        assert_int_equal(stream_write(s, SPAN_LIT("250 ok\r\n"), never), 0);
    }
    assert_int_equal(p.writes, 0);
    assert_int_equal(stream_flush(s, never), 0);
    assert_int_equal(p.writes, 1);
    stream_free(s);
    peer_fini(&p);
}

static void long_lines(void **state)
{
    size_t n = 300000;
    char *text = malloc(n);
    struct peer p;
    struct stream *s;
    struct span line;

    memset(text, 'x', n);
    text[n - 3] = '\n';
    text[n - 2] = 'y';
    text[n - 1] = '\n';
    peer_init(&p, PEER_RANDOM, 1, span_make(text, n));
    s = peer_stream(&p, NULL);
    assert_int_equal(stream_read_line(s, 65536, &line, never), ERR_TOO_LONG);
    assert_int_equal(stream_read_line(s, 65536, &line, never), ERR_TOO_LONG);
    assert_int_equal(stream_skip_line(s, never), 0);
    assert_int_equal(stream_read_line(s, 65536, &line, never), 0);
    assert_true(span_eq(line, SPAN_LIT("y\n")));
    stream_free(s);
    peer_fini(&p);
    free(text);
}

static void peek_and_consume(void **state)
{
    struct peer p;
    struct stream *s;
    struct span got;

    peer_init(&p, PEER_BYTEWISE, 0, SPAN_LIT("0123456789"));
    s = peer_stream(&p, NULL);
    assert_int_equal(stream_peek(s, 4, &got, never), 0);
    assert_true(span_eq(got, SPAN_LIT("0123")));
    stream_consume(s, 3);
    assert_int_equal(stream_peek(s, 1, &got, never), 0);
    assert_true(span_eq(got, SPAN_LIT("3")));
    assert_int_equal(stream_peek(s, 99, &got, never), ERR_TRUNCATED);
    stream_consume(s, stream_buffered(s));
    assert_int_equal(stream_peek(s, 1, &got, never), ERR_EOF);
    stream_free(s);
    peer_fini(&p);
}

static void fed_octets_come_first(void **state)
{
    struct peer p;
    struct stream *s;
    struct span line;

    peer_init(&p, PEER_WHOLE, 0, SPAN_LIT("three\nfour\n"));
    s = peer_stream(&p, NULL);
    assert_int_equal(stream_feed(s, SPAN_LIT("two\n")), 0);
    assert_int_equal(stream_feed(s, SPAN_LIT("one\n")), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(stream_read_line(s, 10, &line, never), 0);
    assert_true(span_eq(line, SPAN_LIT("three\n")));
    assert_int_equal(stream_feed(s, SPAN_LIT("more\n")), 0);
    assert_int_equal(stream_read_line(s, 10, &line, never), 0);
    assert_true(span_eq(line, SPAN_LIT("more\n")));
    assert_int_equal(stream_read_line(s, 10, &line, never), 0);
    assert_true(span_eq(line, SPAN_LIT("four\n")));
    stream_free(s);
    peer_fini(&p);
}

static void budget_ends_the_session_only(void **state)
{
    struct budget budget;
    struct peer p;
    struct stream *s;
    struct span got;
    char text[20000];

    memset(text, 'x', sizeof(text));
    budget_init(&budget, 8192);
    peer_init(&p, PEER_WHOLE, 0, span_make(text, sizeof(text)));
    s = peer_stream(&p, &budget);
    assert_int_equal(stream_peek(s, 20000, &got, never), -ENOMEM);
    assert_int_equal(stream_peek(s, 1, &got, never), 0);
    stream_free(s);
    assert_int_equal(budget.used, 0);
    peer_fini(&p);
}

struct sink {
    int fd;
    size_t got;
};

static void drain(void *arg)
{
    struct sink *sink = arg;
    struct stream *s;
    struct span got;

    assert_int_equal(stream_new(&s, sink->fd, NULL), 0);
    while (stream_peek(s, 1, &got, never) == 0) {
        sink->got += got.n;
        stream_consume(s, got.n);
        task_yield();
    }
    stream_free(s);
}

TASK_TEST(bulk)
{
    static char block[100000];
    struct budget budget;
    struct task_group group;
    struct sink sink = {0};
    struct stream *s;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    budget_init(&budget, 128 * 1024);
    task_group_init(&group);
    sink.fd = pair[1];
    task_group_spawn(&group, "sink", drain, &sink);
    assert_int_equal(stream_new(&s, pair[0], &budget), 0);
    assert_int_equal(stream_write(s, SPAN_LIT("head"), never), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(stream_write(s, span_make(block, sizeof(block)), never), 0);
    assert_int_equal(stream_shutdown(s, never), 0);
    assert_int_equal(task_group_wait(&group, never), 0);
    assert_int_equal(sink.got, 4 + 20 * sizeof(block));
    stream_free(s);
    assert_int_equal(budget.used, 0);
}

TASK_TEST(idle_streams_hold_no_buffers)
{
    struct budget budget;
    struct stream *s;
    struct span line;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    budget_init(&budget, 0);
    assert_int_equal(stream_new(&s, pair[0], &budget), 0);
    assert_int_equal(write(pair[1], "hello\n", 6), 6);
    assert_int_equal(stream_read_line(s, 100, &line, never), 0);
    assert_int_equal(stream_write(s, SPAN_LIT("x"), never), 0);
    assert_int_equal(stream_read_line(s, 100, &line, deadline_in(10)), -ETIMEDOUT);
    assert_int_equal(budget.used, 0);
    /* A timeout is no error of the connection. */
    assert_int_equal(stream_printf(s, never, "421 timeout\r\n"), 0);
    assert_int_equal(stream_flush(s, never), 0);
    stream_free(s);
    close(pair[1]);
}

TASK_TEST(detach_keeps_unread_input)
{
    struct stream *s;
    struct span line;
    struct str unread = {0};
    int pair[2], fd;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(stream_new(&s, pair[0], NULL), 0);
    assert_int_equal(write(pair[1], "one\ntwo", 7), 7);
    assert_int_equal(stream_read_line(s, 100, &line, never), 0);
    assert_int_equal(stream_detach(s, &fd, &unread), 0);
    assert_int_equal(fd, pair[0]);
    assert_string_equal(str_cstr(&unread), "two");
    str_fini(&unread);
    close(pair[0]);
    close(pair[1]);
}

TASK_TEST(a_client_that_never_reads)
{
    static char block[100000];
    struct stream *s;
    int pair[2], rc = 0;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(stream_new(&s, pair[0], NULL), 0);
    for (int i = 0; rc == 0 && i < 100; i++)
        rc = stream_write(s, span_make(block, sizeof(block)), deadline_in(20));
    assert_int_equal(rc, -ETIMEDOUT);
    /* A part left: what follows would be out of step. */
    assert_int_equal(stream_write(s, SPAN_LIT("x"), never), -ETIMEDOUT);
    stream_free(s);
    close(pair[1]);
}

/* --- a peer that never pauses --- */

struct flood {
    int fd;
    pthread_t thread;
};

static void *flood_main(void *arg)
{
    struct flood *f = arg;
    char lines[65536];

    memset(lines, '\n', sizeof(lines));
    while (send(f->fd, lines, sizeof(lines), MSG_NOSIGNAL) > 0)
        ;
    return NULL;
}

static void count_turns(void *arg)
{
    unsigned *count = arg;

    while (task_sleep(deadline_in(1)) == 0)
        ++*count;
}

TASK_TEST(a_flood_of_lines_does_not_hold_the_loop)
{
    struct flood f;
    struct stream *s;
    struct span line;
    struct task_group group;
    unsigned count = 0;
    deadline_t end = deadline_in(20000);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    f.fd = pair[0];
    assert_int_equal(stream_new(&s, pair[1], NULL), 0);
    assert_int_equal(pthread_create(&f.thread, NULL, flood_main, &f), 0);
    task_group_init(&group);
    task_group_spawn(&group, "turns", count_turns, &count);
    while (count <= 10 && clock_mono_ms() < end)
        assert_int_equal(stream_read_line(s, 10, &line, deadline_in(5000)), 0);
    assert_true(count > 10);
    task_group_end(&group);
    stream_free(s);
    pthread_join(f.thread, NULL);
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_of_lines_does_not_hold_the_loop),
        cmocka_unit_test(lines_in_every_split),
        cmocka_unit_test(replies_to_a_pipeline_leave_together),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(peek_and_consume),
        cmocka_unit_test(fed_octets_come_first),
        cmocka_unit_test(budget_ends_the_session_only),
        cmocka_unit_test(bulk),
        cmocka_unit_test(idle_streams_hold_no_buffers),
        cmocka_unit_test(detach_keeps_unread_input),
        cmocka_unit_test(a_client_that_never_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
