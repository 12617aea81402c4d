/* The client's side of protocol "auth" while processes of auth come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/error.h"
#include "base/mem.h"
#include "ipc/ipc.h"

static char directory[] = "/tmp/auth-client.XXXXXX";

/* What a process says to one request, in order; NULL ends it with the request unread. */
struct answer {
    const char *request, *response, *outcome, *challenge;
};

struct script {
    const struct answer *answers; /* of all processes, one after the other */
    size_t count, at;
    struct task_group group;
    int listener;
};

static void reply(struct ipc_conn *conn, const struct ipc_in *m, const struct answer *a)
{
    struct ipc_out out = {0};
    struct span response = SPAN_NONE;

    assert_true(ipc_is(m, a->request));
    if (a->response != NULL) {
        assert_int_equal(ipc_get(m, "response", &response), 0);
        assert_true(span_eq(response, span_cstr(a->response)));
    }
    ipc_begin_reply(&out, m);
    ipc_put(&out, "outcome", span_cstr(a->outcome));
    ipc_put(&out, "exchange", SPAN_LIT("7"));
    ipc_put(&out, "user", SPAN_LIT("u1"));
    ipc_put(&out, "account", SPAN_LIT("one"));
    ipc_put(&out, "challenge", span_cstr(a->challenge));
    assert_int_equal(ipc_send(conn, &out, DEADLINE_NONE), 0);
    ipc_out_fini(&out);
}

static void serve_process(struct script *s, int fd)
{
    struct ipc_conn *conn;
    struct ipc_in *m;

    assert_int_equal(ipc_accept(&conn, fd, "auth", 1, DEADLINE_NONE), 0);
    for (; s->at < s->count; s->at++) {
        const struct answer *a = &s->answers[s->at];

        if (a->request == NULL || ipc_receive(conn, &m, DEADLINE_NONE) < 0)
            break;
        reply(conn, m, a);
        ipc_in_free(m);
    }
    /* Its client is told nothing before it has asked. */
    task_sleep(deadline_in(30));
    s->at++;
    ipc_close(conn);
}

static void serve(void *arg)
{
    struct script *s = arg;
    struct task_fd poll;

    assert_int_equal(task_fd_init(&poll, s->listener), 0);
    while (s->at < s->count && task_fd_wait(&poll, TASK_READABLE, DEADLINE_NONE) > 0)
        serve_process(s, accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    task_fd_fini(&poll);
}

static void start(struct script *s)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "auth"};

    unlink("auth");
    s->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    task_group_init(&s->group);
    assert_int_equal(task_group_spawn(&s->group, "auth", serve, s), 0);
}

static void stop(struct script *s)
{
    task_group_cancel(&s->group);
    assert_int_equal(task_group_wait(&s->group, DEADLINE_NONE), 0);
    assert_true(s->at >= s->count);
    close(s->listener);
}

static const struct auth_request request = {.service = "smtp", .mechanism = {"LOGIN", 5}};

/* Name, then password; the last outcome. */
static enum auth_outcome log_in(struct auth_client *c)
{
    struct auth_exchange *e;
    struct auth_answer answer;

    assert_int_equal(auth_begin(c, &request, &e, &answer, deadline_in(5000)), 0);
    if (answer.outcome == AUTH_CONTINUE)
        assert_int_equal(auth_step(e, SPAN_LIT("name"), &answer, deadline_in(5000)), 0);
    if (answer.outcome == AUTH_CONTINUE)
        assert_int_equal(auth_step(e, SPAN_LIT("secret"), &answer, deadline_in(5000)), 0);
    auth_exchange_free(e);
    return answer.outcome;
}

static enum auth_outcome log_in_with(const struct answer *answers, size_t count)
{
    struct script s = {.answers = answers, .count = count};
    struct auth_client *c = auth_client_new();
    enum auth_outcome outcome;

    start(&s);
    outcome = log_in(c);
    auth_client_free(c);
    stop(&s);
    return outcome;
}

#define BEGIN                              \
    {                                      \
        "begin", NULL, "continue", "Name:" \
    }
#define NAME                                    \
    {                                           \
        "step", "name", "continue", "Password:" \
    }
#define SECRET                       \
    {                                \
        "step", "secret", "done", "" \
    }
#define END                    \
    {                          \
        NULL, NULL, NULL, NULL \
    }

static void exchanges(void)
{
    static const struct answer plain[] = {BEGIN, NAME, SECRET};
    static const struct answer unread_begin[] = {END, BEGIN, NAME, SECRET};
    static const struct answer again[] = {{"begin", NULL, "again", ""}, BEGIN, NAME, SECRET};
    static const struct answer unread_name[] = {BEGIN, END, BEGIN, NAME, SECRET};
    static const struct answer unread_secret[] = {BEGIN, NAME, END, BEGIN, NAME, SECRET};
    static const struct answer lost[] = {BEGIN, NAME, {"step", "secret", "lost", ""},
                                         BEGIN, NAME, SECRET};
    static const struct answer twice[] = {BEGIN, NAME, END, BEGIN, END, BEGIN, NAME, SECRET};
    static const struct answer wrong[] = {BEGIN, NAME, END,
                                          BEGIN, NAME, {"step", "secret", "failed", ""}};
    /* The response fits the old challenge only. */
    static const struct answer other[] = {
        BEGIN, NAME, END, BEGIN, {"step", "name", "continue", "Nonce 2"}};

    assert_int_equal(log_in_with(plain, COUNT_OF(plain)), AUTH_DONE);
    assert_int_equal(log_in_with(unread_begin, COUNT_OF(unread_begin)), AUTH_DONE);
    assert_int_equal(log_in_with(again, COUNT_OF(again)), AUTH_DONE);
    assert_int_equal(log_in_with(unread_name, COUNT_OF(unread_name)), AUTH_DONE);
    assert_int_equal(log_in_with(unread_secret, COUNT_OF(unread_secret)), AUTH_DONE);
    assert_int_equal(log_in_with(lost, COUNT_OF(lost)), AUTH_DONE);
    assert_int_equal(log_in_with(twice, COUNT_OF(twice)), AUTH_DONE);
    assert_int_equal(log_in_with(wrong, COUNT_OF(wrong)), AUTH_FAILED);
    assert_int_equal(log_in_with(other, COUNT_OF(other)), AUTH_UNAVAILABLE);
}

static void look_ups(void)
{
    static const struct answer answers[] = {
        END, {"lookup", NULL, "done", ""}, END, {"redeem", NULL, "done", ""}};
    struct script s = {.answers = answers, .count = COUNT_OF(answers)};
    struct auth_client *c = auth_client_new();
    struct str user = {0}, account = {0};

    start(&s);
    assert_int_equal(auth_lookup(c, SPAN_LIT("u1@example.test"), &account, deadline_in(5000)), 0);
    assert_string_equal(str_cstr(&account), "one");
    assert_int_equal(auth_redeem(c, SPAN_LIT("id"), "imap", &user, &account, deadline_in(5000)), 0);
    assert_string_equal(str_cstr(&user), "u1");
    auth_client_free(c);
    stop(&s);
    str_fini(&user);
    str_fini(&account);
}

static void first_task(void *arg)
{
    void (*const *body)(void) = arg;

    (*body)();
}

static void run(void (*body)(void))
{
    struct task_options options = {0};

    assert_int_equal(task_runtime_init(&options), 0);
    assert_int_equal(task_runtime_run(first_task, &body), 0);
    task_runtime_fini();
}

static void test_exchanges_begin_again_with_the_next_auth(void **state)
{
    run(exchanges);
}

static void test_look_ups_are_asked_again(void **state)
{
    run(look_ups);
}

static int enter(void **state)
{
    return mkdtemp(directory) == NULL || chdir(directory) < 0 ? -1 : 0;
}

static int leave(void **state)
{
    unlink("auth");
    return chdir("/") < 0 ? -1 : rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchanges_begin_again_with_the_next_auth),
        cmocka_unit_test(test_look_ups_are_asked_again),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
