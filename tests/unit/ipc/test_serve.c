/* One connection, several requests at once. */
#include <sys/socket.h>

#include "tests/unit/ipc/support_run.h"

#include "base/mem.h"
#include "ipc/ipc.h"

static const deadline_t never = DEADLINE_NONE;

struct counting {
    struct ipc_server server;
    unsigned under_way, most;
};

static int answer_slowly(struct ipc_server *s, struct ipc_in *request)
{
    struct counting *k = CONTAINER_OF(s, struct counting, server);
    struct ipc_out reply = {0};
    struct span text = SPAN_NONE;
    int rc = ipc_get(request, "text", &text);

    k->under_way++;
    k->most = k->most > k->under_way ? k->most : k->under_way;
    if (rc == 0)
        rc = task_sleep(deadline_in(20));
    ipc_begin_reply(&reply, request);
    ipc_put(&reply, "text", text);
    if (rc == 0)
        rc = ipc_send(s->conn, &reply, never);
    ipc_out_fini(&reply);
    k->under_way--;
    return rc;
}

static void serve_counting(void *arg)
{
    struct counting *k = arg;

    assert_int_equal(ipc_server_run(&k->server), ERR_NOT_FOUND);
    assert_int_equal(task_group_wait(&k->server.answers, never), 0);
    ipc_close(k->server.conn);
}

struct accepting {
    int fd;
    struct ipc_conn *conn;
};

static void accept_end(void *arg)
{
    struct accepting *a = arg;

    assert_int_equal(ipc_accept(&a->conn, a->fd, "test", 1, never), 0);
}

struct caller {
    struct ipc_conn *conn;
    const char *text;
    int rc;
};

static void call_once(void *arg)
{
    struct caller *who = arg;
    struct ipc_out m = {0};
    struct ipc_in *reply;
    struct span got = SPAN_NONE;

    ipc_begin(&m, "echo");
    ipc_put(&m, "text", span_cstr(who->text));
    who->rc = ipc_call(who->conn, &m, &reply, never);
    ipc_out_fini(&m);
    if (who->rc < 0)
        return;
    assert_int_equal(ipc_get(reply, "text", &got), 0);
    assert_true(span_eq(got, span_cstr(who->text)));
    ipc_in_free(reply);
}

TASK_TEST(a_server_answers_side_by_side)
{
    struct task_group servers, group;
    static const char *const texts[] = {"a", "b", "c", "d", "e"};
    struct caller callers[COUNT_OF(texts)];
    struct counting k = {0};
    struct accepting accepted;
    struct ipc_conn *c;
    struct ipc_out bad = {0};
    struct ipc_in *reply;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    accepted = (struct accepting){.fd = pair[0]};
    task_group_init(&servers);
    task_group_init(&group);
    assert_int_equal(task_group_spawn(&group, "accept", accept_end, &accepted), 0);
    assert_int_equal(ipc_client(&c, pair[1], "test", 1, never), 0);
    assert_int_equal(task_group_wait(&group, never), 0);
    ipc_server_init(&k.server, accepted.conn, "answer", 2, answer_slowly);
    assert_int_equal(task_group_spawn(&servers, "server", serve_counting, &k), 0);
    assert_int_equal(ipc_start_reader(c), 0);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        callers[i] = (struct caller){c, texts[i], 1};
        assert_int_equal(task_group_spawn(&group, "caller", call_once, &callers[i]), 0);
    }
    assert_int_equal(task_group_wait(&group, never), 0);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_int_equal(callers[i].rc, 0);
    assert_int_equal(k.most, 2);
    /* An answer that fails ends the connection. */
    ipc_begin(&bad, "echo");
    assert_true(ipc_call(c, &bad, &reply, deadline_in(5000)) < 0);
    ipc_out_fini(&bad);
    assert_int_equal(task_group_wait(&servers, never), 0);
    ipc_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_server_answers_side_by_side)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
