/*
 * queue_agent_main.c: a delivery agent for tests.
 *
 *     queue-agent SOCKET FILE CAPACITY DELAY_MS
 *
 * Listens on SOCKET for qmgr. A delivery takes DELAY_MS and appends
 * "QUEUEID RECIPIENT X-NUMBER SIZE CRC" to FILE. Recipients that begin with
 * "defer", "bounce" and "site" get those results instead; "alias" is expanded to
 * one@list.test and defer@list.test.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/fd.h"
#include "base/log.h"
#include "queue/deliver.h"

static int listener, out;
static int delay_ms;
static struct deliver_agent agent;

static void record(struct deliver_job *job, size_t i)
{
    struct str text = {0}, line = {0};
    struct span rest, header;

    if (queue_content_copy(&job->content, 0, queue_content_size(&job->content), &text) < 0)
        log_error("%s: content cannot be read", job->queue_id);
    rest = str_span(&text);
    span_next(&rest, '\r', &header);
    str_printf(&line, "%s %.*s %.*s %zu %08x\n", job->queue_id,
               SPAN_ARG(job->message->recipients.items[i].address), SPAN_ARG(header), text.len,
               crc32c(0, text.data, text.len));
    fd_write_all(out, line.data, line.len);
    str_fini(&text);
    str_fini(&line);
}

static void deliver(struct deliver_job *job, void *arg)
{
    const struct queue_recipient members[] = {
        {.address = SPAN_LIT("one@list.test"),
         .transport = SPAN_LIT("smtp"),
         .next_hop = SPAN_LIT("list.test")},
        {.address = SPAN_LIT("defer@list.test"), .original = SPAN_LIT("alias@there.test")},
    };

    job->times.connected = clock_wall_us();
    if (delay_ms > 0)
        task_sleep(deadline_in(delay_ms));
    for (size_t i = 0; i < job->message->recipients.len; i++) {
        struct span to = job->message->recipients.items[i].address;
        struct deliver_result r = {.status = DELIVER_SENT,
                                   .dsn = "2.0.0",
                                   .reason = SPAN_LIT("250 2.0.0 Ok"),
                                   .relay = SPAN_LIT("test[127.0.0.1]:25")};

        if (span_starts(to, SPAN_LIT("defer"))) {
            r.status = DELIVER_DEFERRED;
            r.dsn = "4.2.0";
            r.reason = SPAN_LIT("not now");
        } else if (span_starts(to, SPAN_LIT("bounce"))) {
            r.status = DELIVER_BOUNCED;
            r.dsn = "5.1.1";
            r.reason = SPAN_LIT("host test[127.0.0.1] said: 550 5.1.1 no such user");
            r.remote_host = SPAN_LIT("test");
            r.remote_reply = SPAN_LIT("550 5.1.1 no such user");
        } else if (span_starts(to, SPAN_LIT("site"))) {
            r.status = DELIVER_DEFERRED;
            r.dsn = "4.4.1";
            r.reason = SPAN_LIT("connect to test: Connection refused");
            r.site = true;
        } else if (span_starts(to, SPAN_LIT("alias"))) {
            r.status = DELIVER_EXPANDED;
            r.reason = SPAN_LIT("expanded");
            r.expansion = members;
            r.expansion_count = COUNT_OF(members);
        } else {
            record(job, i);
        }
        deliver_report(job, i, &r);
    }
}

static void serve(void *arg)
{
    deliver_serve((int)(intptr_t)arg, &agent);
}

static void run(void *arg)
{
    struct task_fd watched;

    task_fd_init(&watched, listener);
    while (task_fd_wait(&watched, TASK_READABLE, DEADLINE_NONE) >= 0) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            task_spawn("serve", serve, (void *)(intptr_t)fd);
    }
    task_fd_fini(&watched);
}

static void stop(int signal)
{
    task_runtime_stop();
}

int main(int argc, char **argv)
{
    struct task_options options = {0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (argc != 5 || strlen(argv[1]) >= sizeof(address.sun_path))
        fatal("usage: queue-agent SOCKET FILE CAPACITY DELAY_MS");
    log_set_tag("postfix/agent");
    strcpy(address.sun_path, argv[1]);
    unlink(argv[1]);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 64) < 0)
        fatal("%s: %s", argv[1], strerror(errno));
    out = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    agent = (struct deliver_agent){.deliver = deliver, .capacity = (unsigned)atoi(argv[3])};
    char socket_path[128];
    char *slash = strrchr(argv[1], '/');
    snprintf(socket_path, sizeof(socket_path), "%.*sqmgr",
             slash != NULL ? (int)(slash + 1 - argv[1]) : 0, argv[1]);
    agent.qmgr_socket = socket_path;
    delay_ms = atoi(argv[4]);
    if (task_runtime_init(&options) < 0)
        fatal("no event loop");
    task_signal(SIGTERM, stop);
    task_runtime_run(run, NULL);
    task_runtime_fini();
    return 0;
}
