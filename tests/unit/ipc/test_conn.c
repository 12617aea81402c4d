/* Connections over socket pairs and sockets: two tasks in one process. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/ipc/support_run.h"

#include "base/fd.h"
#include "base/log.h"
#include "ipc/conn.h"

static const deadline_t never = DEADLINE_NONE;

/* Accepts one end of a pair and answers "echo" and "add", until the end. */
struct server {
    int fd;
    uint32_t version;
    int accept_rc, end_rc;
    unsigned received, fds;
    struct ipc_conn *conn;
    struct task_group group;
};

static void answer(struct server *s, struct ipc_in *m)
{
    struct ipc_out reply = {0};
    struct span text;
    int fd;

    s->received++;
    while (ipc_take_fd(m, "file", &fd) == 0) {
        s->fds++;
        fd_close(&fd);
    }
    if (!ipc_is(m, "echo"))
        return;
    ipc_begin_reply(&reply, m);
    if (ipc_get(m, "text", &text) == 0)
        ipc_put(&reply, "text", text);
    ipc_put_content(&reply, ipc_content(m));
    ipc_send(s->conn, &reply, never);
    ipc_out_fini(&reply);
}

static void serve(void *arg)
{
    struct server *s = arg;
    struct ipc_in *m;

    s->accept_rc = ipc_accept(&s->conn, s->fd, "test", s->version, never);
    if (s->accept_rc < 0)
        return;
    while ((s->end_rc = ipc_receive(s->conn, &m, never)) == 0) {
        answer(s, m);
        ipc_in_free(m);
    }
    ipc_close(s->conn);
}

static int start(struct server *s, uint32_t version)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    *s = (struct server){.fd = pair[0], .version = version};
    task_group_init(&s->group);
    assert_int_equal(task_group_spawn(&s->group, "server", serve, s), 0);
    return pair[1];
}

static struct ipc_conn *connected(struct server *s)
{
    struct ipc_conn *c;

    assert_int_equal(ipc_client(&c, start(s, 2), "test", 2, never), 0);
    return c;
}

static void finish(struct server *s, struct ipc_conn *c)
{
    ipc_close(c);
    assert_int_equal(task_group_wait(&s->group, never), 0);
}

static int echo(struct ipc_conn *c, const char *text, deadline_t deadline)
{
    struct ipc_out m = {0};
    struct ipc_in *reply;
    struct span got;
    int rc;

    ipc_begin(&m, "echo");
    ipc_put(&m, "text", span_cstr(text));
    rc = ipc_call(c, &m, &reply, deadline);
    ipc_out_fini(&m);
    if (rc < 0)
        return rc;
    assert_int_equal(ipc_get(reply, "text", &got), 0);
    assert_true(span_eq(got, span_cstr(text)));
    ipc_in_free(reply);
    return 0;
}

TASK_TEST(call_and_reply)
{
    struct server s;
    struct ipc_conn *c = connected(&s);

    assert_int_equal(ipc_start_reader(c), 0);
    assert_int_equal(echo(c, "one", never), 0);
    assert_int_equal(echo(c, "two", never), 0);
    assert_int_equal(ipc_peer_pid(c), getpid());
    assert_int_equal(ipc_peer_uid(c), getuid());
    finish(&s, c);
    assert_int_equal(s.received, 2);
    assert_int_equal(s.end_rc, ERR_EOF);
}

struct caller {
    struct ipc_conn *c;
    int index;
    int rc;
};

static void call_once(void *arg)
{
    struct caller *who = arg;
    char text[32];

    snprintf(text, sizeof(text), "text %d", who->index);
    who->rc = echo(who->c, text, never);
}

TASK_TEST(many_calls_share_a_connection)
{
    struct caller callers[200];
    struct server s;
    struct ipc_conn *c = connected(&s);
    struct task_group group;

    task_group_init(&group);
    ipc_start_reader(c);
    for (int i = 0; i < 200; i++) {
        callers[i] = (struct caller){c, i, 1};
        assert_int_equal(task_group_spawn(&group, "caller", call_once, &callers[i]), 0);
    }
    assert_int_equal(task_group_wait(&group, never), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(callers[i].rc, 0);
    finish(&s, c);
    assert_int_equal(s.received, 200);
}

TASK_TEST(a_turn_is_one_packet)
{
    int pair[2];
    char buffer[4096];
    struct ipc_conn *c;
    struct ipc_out m = {0};

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(ipc_conn_new(&c, pair[0]), 0);
    for (int i = 0; i < 10; i++) {
        ipc_begin(&m, "note");
        ipc_put_u64(&m, "n", (uint64_t)i);
        assert_int_equal(ipc_send(c, &m, never), 0);
    }
    assert_int_equal(recv(pair[1], buffer, sizeof(buffer), MSG_DONTWAIT), -1);
    assert_int_equal(ipc_flush(c, never), 0);
    assert_int_equal(recv(pair[1], buffer, sizeof(buffer), MSG_DONTWAIT), 170);
    assert_int_equal(recv(pair[1], buffer, sizeof(buffer), MSG_DONTWAIT), -1);
    ipc_close(c);
    close(pair[1]);
}

TASK_TEST(descriptors_stay_with_their_message)
{
    struct server s;
    struct ipc_conn *c = connected(&s);
    struct ipc_out m = {0};

    ipc_start_reader(c);
    for (int i = 0; i < 20; i++) {
        ipc_begin(&m, "fds");
        for (int j = 0; j < i % 5; j++)
            ipc_put_fd(&m, "file", STDERR_FILENO);
        assert_int_equal(ipc_send(c, &m, never), 0);
    }
    assert_int_equal(echo(c, "end", never), 0);
    finish(&s, c);
    assert_int_equal(s.received, 21);
    assert_int_equal(s.fds, 40);
}

TASK_TEST(largest_message)
{
    static char big[IPC_CONTENT_MAX];
    struct server s;
    struct ipc_conn *c = connected(&s);
    struct ipc_out m = {0};
    struct ipc_in *reply;

    ipc_start_reader(c);
    memset(big, 'x', sizeof(big));
    ipc_begin(&m, "echo");
    ipc_put(&m, "text", span_make(big, IPC_ATTRIBUTES_MAX - 64));
    ipc_put_content(&m, span_make(big, sizeof(big)));
    assert_int_equal(ipc_call(c, &m, &reply, never), 0);
    assert_int_equal(ipc_content(reply).n, sizeof(big));
    ipc_in_free(reply);
    finish(&s, c);
}

TASK_TEST(window_fills_and_drains)
{
    static char big[IPC_CONTENT_MAX];
    struct server s;
    struct ipc_conn *c = connected(&s);
    struct ipc_out m = {0};

    ipc_start_reader(c);
    for (int i = 0; i < 100; i++) {
        ipc_begin(&m, "bulk");
        ipc_put_content(&m, span_make(big, sizeof(big)));
        assert_int_equal(ipc_send(c, &m, never), 0);
        assert_true(c->outbox.unsent <= IPC_WINDOW + IPC_PACKET_MAX);
    }
    assert_int_equal(echo(c, "end", never), 0);
    finish(&s, c);
    assert_int_equal(s.received, 101);
}

TASK_TEST(window_honours_the_deadline)
{
    static char big[IPC_CONTENT_MAX];
    int pair[2], rc = 0;
    struct ipc_conn *c;
    struct ipc_out m = {0};

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(ipc_conn_new(&c, pair[0]), 0);
    for (int i = 0; rc == 0 && i < 1000; i++) {
        ipc_begin(&m, "bulk");
        ipc_put_content(&m, span_make(big, sizeof(big)));
        rc = ipc_send(c, &m, deadline_in(50));
    }
    assert_int_equal(rc, -ETIMEDOUT);
    assert_int_equal(ipc_error(c), 0);
    assert_int_equal(ipc_post(c, &m), -EAGAIN);
    ipc_out_fini(&m);
    ipc_close(c);
    close(pair[1]);
}

TASK_TEST(call_deadline_and_late_reply)
{
    int pair[2];
    struct ipc_conn *c;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(ipc_conn_new(&c, pair[0]), 0);
    ipc_start_reader(c);
    assert_int_equal(echo(c, "x", deadline_in(30)), -ETIMEDOUT);
    /* The late answer is dropped, the connection lives. */
    assert_true(send(pair[1], "reply 7 0 0\nid=1:1\n", 19, 0) == 19);
    assert_int_equal(task_sleep(deadline_in(10)), 0);
    assert_int_equal(ipc_error(c), 0);
    ipc_close(c);
    close(pair[1]);
}

TASK_TEST(server_dies_during_a_call)
{
    struct server s;
    struct ipc_conn *c = connected(&s);
    struct caller who = {c, 1, 0};
    struct task_group group;

    ipc_start_reader(c);
    task_group_init(&group);
    task_group_cancel(&s.group);
    assert_int_equal(task_group_wait(&s.group, never), 0);
    task_group_spawn(&group, "caller", call_once, &who);
    task_group_wait(&group, never);
    assert_true(who.rc < 0);
    assert_true(ipc_error(c) < 0);
    ipc_close(c);
}

/* Answers one request and closes with another one unread. */
static void answer_one(void *arg)
{
    struct server *s = arg;
    struct ipc_in *m;

    s->accept_rc = ipc_accept(&s->conn, s->fd, "test", s->version, never);
    assert_int_equal(ipc_receive(s->conn, &m, never), 0);
    answer(s, m);
    ipc_in_free(m);
    task_sleep(deadline_in(20));
    ipc_close(s->conn);
}

/* What was answered counts, although the peer reset the connection and nothing can be sent. */
TASK_TEST(replies_before_the_end_count)
{
    struct server s = {.version = 2};
    struct caller first, second;
    struct task_group servers, group;
    struct ipc_out late = {0};
    struct ipc_conn *c;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    s.fd = pair[0];
    task_group_init(&servers);
    task_group_init(&group);
    assert_int_equal(task_group_spawn(&servers, "server", answer_one, &s), 0);
    assert_int_equal(ipc_client(&c, pair[1], "test", 2, never), 0);
    first = (struct caller){c, 1, 1};
    second = (struct caller){c, 2, 1};
    task_group_spawn(&group, "caller", call_once, &first);
    task_sleep(deadline_in(5));
    task_group_spawn(&group, "caller", call_once, &second);
    assert_int_equal(task_group_wait(&servers, never), 0);
    /* The reply lies in the socket; this does not get through any more. */
    ipc_begin(&late, "late");
    assert_int_equal(ipc_post(c, &late), 0);
    ipc_start_reader(c);
    assert_int_equal(task_group_wait(&group, never), 0);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.rc, ERR_TRUNCATED);
    ipc_close(c);
}

TASK_TEST(close_while_others_wait)
{
    int pair[2];
    struct ipc_conn *c;
    struct caller who;
    struct task_group group;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(ipc_conn_new(&c, pair[0]), 0);
    ipc_start_reader(c);
    who = (struct caller){c, 1, 0};
    task_group_init(&group);
    task_group_spawn(&group, "caller", call_once, &who);
    task_sleep(deadline_in(5));
    ipc_close(c);
    task_group_wait(&group, never);
    assert_int_equal(who.rc, ERR_CLOSED);
    close(pair[1]);
}

TASK_TEST(versions)
{
    static const struct {
        uint32_t server, client;
        int server_rc, client_rc;
    } rows[] = {
        {2, 2, 0, 0},
        {2, 1, 0, 0},
        {1, 2, ERR_VERSION, ERR_VERSION},
        {3, 1, ERR_VERSION, ERR_VERSION},
    };

    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct server s;
        struct ipc_conn *c;
        int fd = start(&s, rows[i].server);

        assert_int_equal(ipc_client(&c, fd, "test", rows[i].client, never), rows[i].client_rc);
        if (c != NULL)
            assert_int_equal(ipc_version(c), rows[i].server);
        ipc_close(c);
        assert_int_equal(task_group_wait(&s.group, never), 0);
        assert_int_equal(s.accept_rc, rows[i].server_rc);
    }
}

/* --- a peer that sends nothing but replies nobody asked for --- */

enum { FLOOD_MS = 20000 };

struct flood {
    int fd;
};

/* Not for ever, so that the test fails and does not hang. */
static void *send_replies(void *arg)
{
    struct str packet = {0};
    struct flood *f = arg;
    int64_t end = clock_mono_ms() + FLOOD_MS;

    /* Quicker to send than to read. */
    while (packet.len < 60000)
        str_append_cstr(&packet, "reply 9 0 0\nid=3:999\n");

    while (clock_mono_ms() < end && send(f->fd, packet.data, packet.len, MSG_NOSIGNAL) > 0)
        ;
    str_fini(&packet);
    return NULL;
}

TASK_TEST(flood_of_replies_does_not_hold_the_loop)
{
    int pair[2];
    struct flood flood = {0};
    struct ipc_conn *c;
    pthread_t thread;
    int64_t began = clock_mono_ms();

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(ipc_conn_new(&c, pair[0]), 0);
    ipc_start_reader(c);
    flood.fd = pair[1];
    assert_int_equal(pthread_create(&thread, NULL, send_replies, &flood), 0);
    for (int i = 0; i < 10; i++)
        task_sleep(deadline_in(10));
    assert_true(clock_mono_ms() - began < FLOOD_MS / 2);
    assert_int_equal(ipc_error(c), 0);
    ipc_close(c); /* ends a send that waits, too */
    pthread_join(thread, NULL);
    close(pair[1]);
}

TASK_TEST(hostile_hellos)
{
    static const char *const packets[] = {
        "nonsense",
        "hello 0 0 0\n",
        "echo 0 0 0\n",
        "hello 29 0 0\nprotocol=5:other\nversion=1:1\n",
        "hello 28 0 0\nprotocol=4:test\nversion=1:0\n",
        "hello 28 0 0\nprotocol=4:test\nversion=1:x\n",
    };

    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; i < COUNT_OF(packets); i++) {
        struct server s;
        int fd = start(&s, 1);

        assert_true(send(fd, packets[i], strlen(packets[i]), 0) > 0);
        task_group_wait(&s.group, never);
        assert_int_equal(s.accept_rc, ERR_PROTOCOL);
        close(fd);
    }
}

static int count_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void send_fds(int to, const char *text, int count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * 64)];
    } control = {0};
    struct iovec iov = {(void *)text, strlen(text)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    for (int i = 0; i < count; i++)
        memcpy(CMSG_DATA(c) + sizeof(int) * (size_t)i, &(int){STDERR_FILENO}, sizeof(int));
    assert_true(sendmsg(to, &msg, 0) > 0);
}

TASK_TEST(descriptor_floods_are_closed)
{
    static const struct {
        const char *text;
        int count;
    } rows[] = {
        {"note 0 0 0\n", 1},
        {"note 0 0 0\n", 16},
        {"note 0 0 0\n", 60},
        {"note 6 0 2\na@\nb@\n", 1},
        {"note 6 0 2\na@\nb@\n", 3},
        {"note 3 0 1\na@\nnonsense", 2},
        {"", 0},
    };

    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; rows[i].count > 0; i++) {
        int pair[2], before;
        struct ipc_conn *c;
        struct ipc_in *m;
        int rc;

        before = count_fds();
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
        assert_int_equal(ipc_conn_new(&c, pair[0]), 0);
        send_fds(pair[1], rows[i].text, rows[i].count);
        while ((rc = ipc_receive(c, &m, never)) == 0)
            ipc_in_free(m);
        assert_int_equal(rc, ERR_PROTOCOL);
        ipc_close(c);
        close(pair[1]);
        assert_int_equal(count_fds(), before);
    }
}

TASK_TEST(cancelled_receive_leaves_the_connection)
{
    struct server s;
    struct ipc_conn *c = connected(&s);
    struct ipc_in *m;

    assert_int_equal(ipc_receive(c, &m, deadline_in(20)), -ETIMEDOUT);
    assert_int_equal(ipc_error(c), 0);
    ipc_start_reader(c);
    assert_int_equal(echo(c, "still here", never), 0);
    finish(&s, c);
}

/* --- ipc_client --- */

static char directory[] = "/tmp/test-ipc-XXXXXX";

struct listener {
    char path[64];
    int fd;
    struct task_group group;
    struct server servers[8];
    unsigned count;
};

static void accept_clients(void *arg)
{
    struct listener *l = arg;
    struct task_fd poll;

    assert_int_equal(task_fd_init(&poll, l->fd), 0);
    while (l->count < 8 && task_fd_wait(&poll, TASK_READABLE, never) >= 0) {
        struct server *s = &l->servers[l->count++];

        *s = (struct server){.fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK), .version = 1};
        assert_int_equal(task_group_spawn(&l->group, "server", serve, s), 0);
    }
    task_fd_fini(&poll);
}

static void start_listener(struct listener *l)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    *l = (struct listener){0};
    task_group_init(&l->group);
    snprintf(l->path, sizeof(l->path), "%s/s", directory);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", l->path);
    unlink(l->path);
    l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(l->fd, 8), 0);
    assert_int_equal(task_group_spawn(&l->group, "listener", accept_clients, l), 0);
}

static void stop_listener(struct listener *l)
{
    task_group_cancel(&l->group);
    assert_int_equal(task_group_wait(&l->group, never), 0);
    close(l->fd);
    unlink(l->path);
}

static int client_echo(struct ipc_client *cl, deadline_t deadline)
{
    struct ipc_out m = {0};
    struct ipc_in *reply;
    int rc;

    ipc_begin(&m, "echo");
    rc = ipc_client_call(cl, &m, &reply, deadline);
    ipc_in_free(reply);
    ipc_out_fini(&m);
    return rc;
}

static void client_call_task(void *arg)
{
    assert_int_equal(client_echo(arg, deadline_in(5000)), 0);
}

TASK_TEST(client_reconnects)
{
    struct listener l;
    struct ipc_client *cl;
    struct ipc_out note = {0};

    start_listener(&l);
    cl = ipc_client_new(l.path, "test", 1);
    ipc_begin(&note, "note");
    assert_int_equal(ipc_client_post(cl, &note), ERR_CLOSED);
    assert_int_equal(ipc_client_connect(cl, deadline_in(1000)), 0);
    assert_int_equal(client_echo(cl, deadline_in(1000)), 0);
    ipc_begin(&note, "note");
    assert_int_equal(ipc_client_post(cl, &note), 0);
    assert_int_equal(client_echo(cl, deadline_in(1000)), 0);
    assert_int_equal(l.servers[0].received, 3);
    stop_listener(&l);
    task_sleep(deadline_in(10));
    /* The service is away: calls wait, up to their deadline. */
    assert_int_equal(ipc_client_connect(cl, deadline_in(100)), -ETIMEDOUT);
    assert_int_equal(client_echo(cl, deadline_in(100)), -ETIMEDOUT);
    start_listener(&l);
    assert_int_equal(client_echo(cl, deadline_in(2000)), 0);
    ipc_client_free(cl);
    stop_listener(&l);
}

/* Accepts connections and closes the first ones with the request unread. */
struct leaving {
    int fd;
    unsigned leave, count;
    struct server last;
};

static void accept_and_leave(void *arg)
{
    struct leaving *l = arg;
    struct task_fd poll;
    struct ipc_conn *conn;

    assert_int_equal(task_fd_init(&poll, l->fd), 0);
    while (l->count <= l->leave && task_fd_wait(&poll, TASK_READABLE, never) >= 0) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK);

        if (l->count++ == l->leave) {
            l->last = (struct server){.fd = fd, .version = 1};
            serve(&l->last);
        } else if (ipc_accept(&conn, fd, "test", 1, never) == 0) {
            task_sleep(deadline_in(10));
            ipc_close(conn);
        }
    }
    task_fd_fini(&poll);
}

static int client_ask(struct ipc_client *cl)
{
    struct ipc_out m = {0};
    struct ipc_in *reply;
    struct span text = SPAN_NONE;
    int rc;

    ipc_begin(&m, "echo");
    ipc_put(&m, "text", SPAN_LIT("who"));
    rc = ipc_client_ask(cl, &m, &reply, deadline_in(5000));
    if (rc == 0)
        assert_int_equal(ipc_get(reply, "text", &text), 0);
    if (rc == 0)
        assert_true(span_eq(text, SPAN_LIT("who")));
    ipc_in_free(reply);
    ipc_out_fini(&m);
    return rc;
}

TASK_TEST(questions_are_asked_again)
{
    static const struct {
        unsigned leave;
        int ask_rc;
    } rows[] = {{0, 0}, {1, 0}, {3, 0}, {4, ERR_TRUNCATED}};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct leaving leaving = {.leave = rows[i].leave};
        struct listener l;
        struct ipc_client *cl;

        start_listener(&l);
        task_group_cancel(&l.group);
        assert_int_equal(task_group_wait(&l.group, never), 0);
        task_group_init(&l.group);
        leaving.fd = l.fd;
        assert_int_equal(task_group_spawn(&l.group, "leaving", accept_and_leave, &leaving), 0);
        cl = ipc_client_new(l.path, "test", 1);
        assert_int_equal(client_ask(cl), rows[i].ask_rc);
        assert_int_equal(leaving.count, rows[i].ask_rc == 0 ? rows[i].leave + 1 : rows[i].leave);
        ipc_client_free(cl);
        stop_listener(&l);
    }
}

TASK_TEST(calls_wait_for_a_service)
{
    struct listener l;
    char path[64];
    struct ipc_client *cl;
    struct task_group group;

    snprintf(path, sizeof(path), "%s/s", directory);
    cl = ipc_client_new(path, "test", 1);
    task_group_init(&group);
    for (int i = 0; i < 20; i++)
        assert_int_equal(task_group_spawn(&group, "call", client_call_task, cl), 0);
    task_sleep(deadline_in(50));
    start_listener(&l);
    assert_int_equal(task_group_wait(&group, never), 0);
    assert_int_equal(l.count, 1);
    ipc_client_free(cl);
    stop_listener(&l);
}

static int make_directory(void **state)
{
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call_and_reply),
        cmocka_unit_test(many_calls_share_a_connection),
        cmocka_unit_test(a_turn_is_one_packet),
        cmocka_unit_test(descriptors_stay_with_their_message),
        cmocka_unit_test(largest_message),
        cmocka_unit_test(window_fills_and_drains),
        cmocka_unit_test(window_honours_the_deadline),
        cmocka_unit_test(call_deadline_and_late_reply),
        cmocka_unit_test(server_dies_during_a_call),
        cmocka_unit_test(replies_before_the_end_count),
        cmocka_unit_test(close_while_others_wait),
        cmocka_unit_test(versions),
        cmocka_unit_test(flood_of_replies_does_not_hold_the_loop),
        cmocka_unit_test(hostile_hellos),
        cmocka_unit_test(descriptor_floods_are_closed),
        cmocka_unit_test(cancelled_receive_leaves_the_connection),
        cmocka_unit_test(client_reconnects),
        cmocka_unit_test(calls_wait_for_a_service),
        cmocka_unit_test(questions_are_asked_again),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
