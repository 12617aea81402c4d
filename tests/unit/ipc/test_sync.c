/* Calls from a worker: one connection, one answer, whatever the server does. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/ipc/support_run.h"

#include "base/clock.h"
#include "ipc/sync.h"

#define HELLO "hello 28 0 0\nprotocol=4:test\nversion=1:1\n"
#define REPLY "reply 18 0 0\nid=1:1\nanswer=1:x\n"

static char path[64];

/* What a server says to the hello and to the request; NULL: it closes, "": nothing. */
struct server {
    int listener;
    const char *hello, *reply;
    size_t descriptors; /* sent along with the reply */
    char request[1000];
    pthread_t thread;
};

static bool say(int fd, const char *text, size_t descriptors)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)text, text != NULL ? strlen(text) : 0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (text == NULL)
        return false;
    if (descriptors > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_LEN(sizeof(int));
        control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    }
    return *text == '\0' || sendmsg(fd, &msg, MSG_NOSIGNAL) > 0;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    char hello[1000];
    int fd = accept(s->listener, NULL, NULL);

    if (recv(fd, hello, sizeof(hello), 0) > 0 && say(fd, s->hello, 0) &&
        recv(fd, s->request, sizeof(s->request) - 1, 0) > 0 && say(fd, s->reply, s->descriptors)) {
        (void)!recv(fd, hello, sizeof(hello), 0); /* until the caller closes */
    }
    close(fd);
    return NULL;
}

static int call(struct server *s, struct ipc_in **reply)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ipc_out m = {0};
    int rc;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    s->listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    ipc_begin(&m, "ask");
    ipc_put(&m, "what", SPAN_LIT("that"));
    rc = ipc_sync_call(path, "test", 1, &m, reply, 200);
    ipc_out_fini(&m);
    pthread_join(s->thread, NULL);
    close(s->listener);
    return rc;
}

static void an_answer_comes_back(void **state)
{
    struct server s = {.hello = HELLO, .reply = REPLY};
    struct ipc_in *reply;
    struct span answer;

    assert_int_equal(call(&s, &reply), 0);
    assert_int_equal(ipc_get(reply, "answer", &answer), 0);
    assert_true(span_eq(answer, SPAN_LIT("x")));
    assert_string_equal(s.request, "ask 19 0 0\nwhat=4:that\nid=1:1\n");
    ipc_in_free(reply);
}

static void every_failure_is_an_error(void **state)
{
    static const struct {
        const char *hello, *reply;
        size_t descriptors;
        int rc;
    } rows[] = {
        {NULL, NULL, 0, ERR_EOF},
        {"", NULL, 0, -ETIMEDOUT},
        {"nonsense", NULL, 0, ERR_PROTOCOL},
        {"hello 0 0 0\n", NULL, 0, ERR_PROTOCOL},
        {"hello 29 0 0\nprotocol=5:other\nversion=1:1\n", NULL, 0, ERR_PROTOCOL},
        {"hello 41 0 0\nprotocol=4:test\nversion=1:1\nrefused=2:no\n", NULL, 0, ERR_VERSION},
        {HELLO, NULL, 0, ERR_EOF},
        {HELLO, "", 0, -ETIMEDOUT},
        {HELLO, "reply 99 0 0\nid=1:1\n", 0, ERR_PROTOCOL},
        {HELLO, "event 7 0 0\nid=1:1\n", 0, ERR_PROTOCOL},
        {HELLO, "reply 8 0 1\nclient@\n", 1, ERR_PROTOCOL},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct server s = {
            .hello = rows[i].hello, .reply = rows[i].reply, .descriptors = rows[i].descriptors};
        struct ipc_in *reply;
        int rc = call(&s, &reply);

        if (rc != rows[i].rc)
            fail_msg("row %zu: %d instead of %d", i, rc, rows[i].rc);
        assert_null(reply);
    }
}

/* A descriptor that nobody asked for must not stay open. */
static void descriptors_are_not_taken(void **state)
{
    struct server s = {.hello = HELLO, .reply = REPLY, .descriptors = 1};
    struct ipc_in *reply;
    int before = dup(0), after;

    close(before);
    assert_int_equal(call(&s, &reply), 0);
    ipc_in_free(reply);
    after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void nobody_listens(void **state)
{
    struct ipc_out m = {0};
    struct ipc_in *reply;

    unlink(path);
    ipc_begin(&m, "ask");
    assert_int_equal(ipc_sync_call(path, "test", 1, &m, &reply, 200), -ENOENT);
    assert_null(reply);
    ipc_out_fini(&m);
}

static int tear_down(void **state)
{
    unlink(path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_back),
        cmocka_unit_test(every_failure_is_an_error),
        cmocka_unit_test(descriptors_are_not_taken),
        cmocka_unit_test(nobody_listens),
    };

    snprintf(path, sizeof(path), "/tmp/test-sync-%ld", (long)getpid());
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
