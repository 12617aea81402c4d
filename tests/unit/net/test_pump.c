/* The pump between a TLS client and the plaintext end of a session. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/net/support_run.h"

#include "base/fd.h"
#include "net/pump.h"
#include "net/tls_internal.h"

enum { TOTAL = 50 * 1000 * 1000, PIECE = 60000 };

static const deadline_t never = DEADLINE_NONE;
static char pem[] = "/tmp/test-pump-XXXXXX";

static void make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    FILE *f = fdopen(mkstemp(pem), "w");

    X509_set_version(x, 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    PEM_write_X509(f, x);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* client =TLS= pump === session */
struct world {
    struct tls_context *server, *client_context;
    struct stream *ended; /* tlsproxy's side of the client */
    struct stream *client;
    int session;
    unsigned done;
    struct task_cond changed;
};

static void on_done(void *arg)
{
    struct world *w = arg;

    w->done++;
    task_cond_broadcast(&w->changed);
}

static void accept_tls(void *arg)
{
    struct world *w = arg;

    assert_int_equal(stream_start_tls_server(w->ended, w->server, deadline_in(5000)), 0);
}

/* early: what the client says with the end of its handshake. */
static void open_world(struct world *w, const char *early)
{
    struct tls_options server = {.chain_files = pem}, client = {.level = TLS_LEVEL_ENCRYPT};
    struct str why = {0};
    struct task_group group;
    int outer[2], inner[2];

    *w = (struct world){0};
    task_cond_init(&w->changed);
    task_group_init(&group);
    net_pump_start_library();
    assert_int_equal(tls_context_new_server(&w->server, &server, &why), 0);
    assert_int_equal(tls_context_new_client(&w->client_context, &client, &why), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, outer), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, inner), 0);
    assert_int_equal(stream_new(&w->ended, outer[0], NULL), 0);
    assert_int_equal(stream_new(&w->client, outer[1], NULL), 0);
    assert_int_equal(task_group_spawn(&group, "accept", accept_tls, w), 0);
    assert_int_equal(stream_start_tls_client(w->client, w->client_context, "", deadline_in(5000)),
                     0);
    stream_write(w->client, span_cstr(early), never);
    assert_int_equal(stream_flush(w->client, never), 0);
    task_group_wait(&group, never);
    w->session = inner[1];
    assert_int_equal(net_pump_new(w->ended, inner[0], on_done, w), 0);
    assert_int_equal(net_pump_count(), 1);
}

static void wait_done(struct world *w)
{
    while (w->done == 0)
        assert_int_equal(task_cond_wait(&w->changed, deadline_in(10000)), 0);
    assert_int_equal(w->done, 1);
    assert_int_equal(net_pump_count(), 0);
}

static void close_world(struct world *w)
{
    stream_free(w->client);
    fd_close(&w->session);
    tls_context_free(w->server);
    tls_context_free(w->client_context);
}

static struct stream *session_stream(struct world *w)
{
    struct stream *s;

    assert_int_equal(stream_new(&s, w->session, NULL), 0);
    w->session = -1;
    return s;
}

static void expect_line(struct stream *s, const char *text)
{
    struct span line;

    assert_int_equal(stream_read_line(s, 1000, &line, deadline_in(5000)), 0);
    assert_true(span_eq(line, span_cstr(text)));
}

static void say(struct stream *s, const char *text)
{
    assert_int_equal(stream_write(s, span_cstr(text), never), 0);
    assert_int_equal(stream_flush(s, never), 0);
}

static int end_of(struct stream *s)
{
    struct span line;

    return stream_read_line(s, 1000, &line, deadline_in(5000));
}

TASK_TEST(what_came_with_the_handshake_gets_through)
{
    struct world w;
    struct stream *session;

    open_world(&w, "first\r\nsecond\r\n");
    session = session_stream(&w);
    expect_line(session, "first\r\n");
    expect_line(session, "second\r\n");
    say(session, "answer\r\n");
    expect_line(w.client, "answer\r\n");
    stream_free(session);
    assert_int_equal(end_of(w.client), ERR_TRUNCATED);
    wait_done(&w);
    close_world(&w);
}

static void finish_session(void *arg)
{
    assert_int_equal(stream_finish(arg, deadline_in(5000)), 0);
    stream_free(arg);
}

TASK_TEST(an_orderly_end_of_the_session_is_a_close_notify)
{
    struct world w;
    struct task_group group;
    struct stream *session;

    open_world(&w, "");
    session = session_stream(&w);
    say(session, "bye\r\n");
    task_group_init(&group);
    task_group_spawn(&group, "session", finish_session, session);
    expect_line(w.client, "bye\r\n");
    assert_int_equal(end_of(w.client), ERR_EOF);
    stream_shutdown(w.client, never);
    wait_done(&w);
    task_group_wait(&group, never);
    close_world(&w);
}

TASK_TEST(a_session_that_dies_is_a_truncation)
{
    struct world w;
    struct span line;

    open_world(&w, "");
    assert_int_equal(write(w.session, "* 1 FETCH {1000}\r\nhalf", 22), 22);
    fd_close(&w.session);
    expect_line(w.client, "* 1 FETCH {1000}\r\n");
    assert_int_equal(stream_read_line(w.client, 1000, &line, deadline_in(5000)), ERR_TRUNCATED);
    wait_done(&w);
    close_world(&w);
}

TASK_TEST(a_client_that_ends_its_direction_gets_its_answers)
{
    struct world w;
    struct stream *session;

    open_world(&w, "question\r\n");
    session = session_stream(&w);
    assert_int_equal(stream_shutdown(w.client, never), 0);
    expect_line(session, "question\r\n");
    assert_int_equal(end_of(session), ERR_EOF);
    say(session, "answer\r\n");
    stream_free(session); /* after the client's close_notify any end is a right one */
    expect_line(w.client, "answer\r\n");
    assert_int_equal(end_of(w.client), ERR_EOF);
    wait_done(&w);
    close_world(&w);
}

TASK_TEST(a_client_that_vanishes_closes_the_session)
{
    struct world w;
    struct stream *session;

    open_world(&w, "half a line");
    session = session_stream(&w);
    stream_free(w.client);
    w.client = NULL;
    assert_int_equal(end_of(session), ERR_TRUNCATED);
    wait_done(&w);
    stream_free(session);
    close_world(&w);
}

struct transfer {
    struct stream *stream;
    bool is_slow;
    int rc;
};

static unsigned char octet_at(size_t at)
{
    return (unsigned char)(at * 31 + at / 251);
}

static void send_all(void *arg)
{
    struct transfer *t = arg;
    char *piece = malloc(PIECE);

    for (size_t at = 0; at < TOTAL && t->rc == 0; at += PIECE) {
        size_t n = TOTAL - at < PIECE ? TOTAL - at : PIECE;
        for (size_t i = 0; i < n; i++)
            piece[i] = (char)octet_at(at + i);
        t->rc = stream_write(t->stream, span_make(piece, n), deadline_in(30000));
    }
    if (t->rc == 0)
        t->rc = stream_flush(t->stream, deadline_in(30000));
    free(piece);
}

static void receive_all(void *arg)
{
    struct transfer *t = arg;
    struct span got;
    size_t at = 0, pauses = 0;

    while (at < TOTAL && t->rc == 0) {
        t->rc = stream_peek(t->stream, 1, &got, deadline_in(30000));
        for (size_t i = 0; t->rc == 0 && i < got.n; i++, at++) {
            if ((unsigned char)got.p[i] != octet_at(at))
                t->rc = ERR_CORRUPT;
        }
        if (t->rc == 0)
            stream_consume(t->stream, got.n);
        if (t->is_slow && pauses++ < 20)
            task_sleep(deadline_in(10));
    }
}

TASK_TEST(fifty_megabytes_each_way_at_once_with_slow_readers)
{
    struct world w;
    struct task_group group;
    struct stream *session;

    open_world(&w, "");
    session = session_stream(&w);
    struct transfer up = {.stream = w.client}, up_in = {.stream = session, .is_slow = true};
    struct transfer down = {.stream = session}, down_in = {.stream = w.client, .is_slow = true};
    task_group_init(&group);
    task_group_spawn(&group, "up", send_all, &up);
    task_group_spawn(&group, "down", send_all, &down);
    task_group_spawn(&group, "up in", receive_all, &up_in);
    task_group_spawn(&group, "down in", receive_all, &down_in);
    task_group_wait(&group, never);
    assert_int_equal(up.rc | down.rc | up_in.rc | down_in.rc, 0);
    stream_free(session);
    wait_done(&w);
    close_world(&w);
}

TASK_TEST(closing_all_tells_nobody)
{
    struct world w;

    open_world(&w, "");
    net_pump_close_all();
    assert_int_equal(net_pump_count(), 0);
    assert_int_equal(w.done, 0);
    assert_int_equal(end_of(w.client), ERR_TRUNCATED);
    close_world(&w);
}

static int set_up(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    make_certificate();
    return 0;
}

static int tear_down(void **state)
{
    unlink(pem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_with_the_handshake_gets_through),
        cmocka_unit_test(an_orderly_end_of_the_session_is_a_close_notify),
        cmocka_unit_test(a_session_that_dies_is_a_truncation),
        cmocka_unit_test(a_client_that_ends_its_direction_gets_its_answers),
        cmocka_unit_test(a_client_that_vanishes_closes_the_session),
        cmocka_unit_test(fifty_megabytes_each_way_at_once_with_slow_readers),
        cmocka_unit_test(closing_all_tells_nobody),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
