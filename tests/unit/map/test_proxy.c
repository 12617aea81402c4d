/* proxy: through a broker at the other end of a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "map/broker.h"
#include "map/map.h"

static struct conf *conf;
static struct broker_tables *tables;
static int results[8];
static struct str value;
static bool is_malformed_refused;

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

/* One connection, as the broker serves it. */
static void serve(void *arg)
{
    struct task_fd watch;
    struct ipc_conn *conn = NULL;
    struct ipc_in *request;
    int listener = *(int *)arg, fd;

    assert_int_equal(task_fd_init(&watch, listener), 0);
    while (task_fd_wait(&watch, TASK_READABLE, DEADLINE_NONE) > 0) {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (ipc_accept(&conn, fd, BROKER_PROTOCOL, BROKER_VERSION, DEADLINE_NONE) < 0)
            continue;
        while (ipc_receive(conn, &request, DEADLINE_NONE) == 0) {
            struct ipc_out reply = {0};
            int error = broker_answer_lookup(tables, request, &reply);

            ipc_in_free(request);
            if (error == 0)
                error = ipc_send(conn, &reply, DEADLINE_NONE);
            ipc_out_fini(&reply);
            if (error < 0) {
                is_malformed_refused = error == ERR_PROTOCOL;
                break;
            }
        }
        ipc_close(conn);
    }
    task_fd_fini(&watch);
}

static int look_up(const char *spec, const char *key)
{
    struct str why = {0};
    struct map *m = NULL;
    int error = map_open(&m, conf, span_cstr(spec), &why);

    if (error == 0)
        error = map_lookup(m, span_cstr(key), 0, &value);
    map_free(m);
    str_fini(&why);
    return error;
}

static void send_malformed(void)
{
    struct ipc_conn *conn = NULL;
    struct ipc_out m = {0};
    struct ipc_in *reply = NULL;

    if (ipc_connect(&conn, "broker", BROKER_PROTOCOL, BROKER_VERSION, deadline_in(2000)) < 0)
        return;
    ipc_begin(&m, "lookup");
    ipc_put(&m, "key", SPAN_LIT("x"));
    if (ipc_send(conn, &m, deadline_in(2000)) == 0)
        results[4] = ipc_receive(conn, &reply, deadline_in(2000));
    ipc_in_free(reply);
    ipc_out_fini(&m);
    ipc_close(conn);
}

static void first(void *listener)
{
    struct task_group group;

    task_group_init(&group);
    task_group_spawn(&group, "broker", serve, listener);
    results[1] = look_up("proxy:inline:{a=1}", "B");
    results[2] = look_up("proxy:static:secret", "a");
    results[3] = look_up("proxy:unix:passwd.byname", "no-such-user");
    /* In a service that may open no file, as if it said proxy:. */
    map_ask_broker();
    results[5] = look_up("unix:group.byname", "no-such-group");
    results[6] = look_up("unix:group.byname", "root");
    results[7] = look_up("unix:shadow.byname", "root");
    results[0] = look_up("proxy:inline:{a=1}", "A");
    /* The double serves one connection at a time; the client keeps its own. */
    task_group_end(&group);
    task_group_init(&group);
    task_group_spawn(&group, "broker", serve, listener);
    send_malformed();
    task_group_end(&group);
    task_runtime_stop();
}

static void asks_the_broker(void **state)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "broker"};
    char dir[] = "/tmp/test_proxy.XXXXXX";
    struct str why = {0};
    int listener;

    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(
        conf_load_text(
            &conf, "/", "main.cf",
            SPAN_LIT("proxy_read_maps = proxy:inline:{a=1} proxy:unix:passwd.byname static:x "
                     "proxy:inline:{a=1}\nbroker_timeout = 2s\n"),
            &why),
        0);
    log_set_sink(drop_log, NULL);
    assert_int_equal(broker_tables_open(&tables, conf, &why), 0);
    assert_int_equal(task_runtime_init(&(struct task_options){0}), 0);
    task_runtime_run(first, &listener);
    task_runtime_fini();
    log_set_sink(NULL, NULL);
    assert_int_equal(results[0], 0);
    assert_string_equal(str_cstr(&value), "1");
    assert_int_equal(results[1], ERR_NOT_FOUND);
    assert_int_equal(results[2], ERR_TEMPORARY);
    assert_int_equal(results[3], ERR_NOT_FOUND);
    assert_int_equal(results[5], ERR_NOT_FOUND);
    assert_int_equal(results[6], 0);
    assert_int_equal(results[7], ERR_SYNTAX);
    assert_true(is_malformed_refused);
    assert_int_equal(results[4], ERR_EOF);
    broker_tables_free(tables);
    conf_free(conf);
    close(listener);
    unlink("broker");
    assert_int_equal(chdir("/"), 0);
    rmdir(dir);
    str_fini(&why);
    str_fini(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_the_broker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
