/*
 * bench_ipc: IPC between two processes over a socket pair: round trips one at a time,
 * and calls by many tasks that share packets. Prints microseconds and rates.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/ipc.h"

enum { SINGLE = 20000, TASKS = 200, EACH = 500 };

static int pair[2];
static struct ipc_conn *conn;

static void serve(void *arg)
{
    struct ipc_in *m;
    struct ipc_out reply = {0};

    if (ipc_accept(&conn, pair[1], "bench", 1, DEADLINE_NONE) < 0)
        return;
    while (ipc_receive(conn, &m, DEADLINE_NONE) == 0) {
        ipc_begin_reply(&reply, m);
        ipc_put(&reply, "verdict", SPAN_LIT("ok"));
        ipc_send(conn, &reply, DEADLINE_NONE);
        ipc_in_free(m);
    }
    ipc_close(conn);
}

static void call(int times)
{
    struct ipc_out m = {0};
    struct ipc_in *reply;

    for (int i = 0; i < times; i++) {
        ipc_begin(&m, "check");
        ipc_put(&m, "sender", SPAN_LIT("someone@example.test"));
        ipc_put(&m, "recipient", SPAN_LIT("someone-else@example.test"));
        if (ipc_call(conn, &m, &reply, DEADLINE_NONE) < 0)
            exit(1);
        ipc_in_free(reply);
    }
    ipc_out_fini(&m);
}

static void call_many(void *arg)
{
    call(EACH);
}

static void ask(void *arg)
{
    struct task_group group;
    int64_t began, cpu;

    if (ipc_client(&conn, pair[0], "bench", 1, DEADLINE_NONE) < 0 || ipc_start_reader(conn) < 0)
        exit(1);
    began = clock_mono_us();
    call(SINGLE);
    printf("one at a time: %lld us/1000 round trips\n",
           (long long)((clock_mono_us() - began) * 1000 / SINGLE));
    began = clock_mono_us();
    cpu = clock_cpu_us();
    task_group_init(&group);
    for (int i = 0; i < TASKS; i++)
        task_group_spawn(&group, "call", call_many, NULL);
    task_group_wait(&group, DEADLINE_NONE);
    began = clock_mono_us() - began;
    printf("%d tasks: %lld calls/s, client CPU %lld ns/call\n", TASKS,
           (long long)TASKS * EACH * 1000000 / began,
           (long long)((clock_cpu_us() - cpu) * 1000 / (TASKS * EACH)));
    ipc_close(conn);
}

int main(void)
{
    struct task_options options = {0};
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        return 1;
    child = fork();
    close(pair[child == 0 ? 0 : 1]);
    if (task_runtime_init(&options) < 0)
        return 1;
    task_runtime_run(child == 0 ? serve : ask, NULL);
    task_runtime_fini();
    if (child != 0)
        waitpid(child, NULL, 0);
    return 0;
}
