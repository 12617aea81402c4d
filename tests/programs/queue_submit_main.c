/*
 * queue_submit_main.c: commits messages to a qmgr, for tests.
 *
 *     queue-submit DIRECTORY SESSIONS COUNT SIZE SENDER RECIPIENT...
 *
 * SESSIONS tasks commit COUNT messages of SIZE octets together, over the socket
 * "qmgr" in DIRECTORY. Each prints "committed ID" or "refused CODE"; the number
 * of the message is its first header line, "X-Number: N".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "queue/queue.h"

static struct queue_client *client;
static int sessions, count, size, next_number;
static char *sender, **recipients;
static int recipient_count;

static int upload(struct queue_upload *u, int number)
{
    struct str text = {0};

    str_printf(&text,
               "X-Number: %d\r\nMessage-ID: <%d.%d@client.test>\r\nFrom: <%s>\r\n"
               "Subject: message %d\r\n\r\n",
               number, (int)getpid(), number, sender, number);
    while (text.len < (size_t)size)
        str_append_cstr(&text, ".dots and text, a line of the body that is long enough\r\n");
    /* In uneven pieces, as a network gives them. */
    struct span rest = str_span(&text);
    int rc = 0;
    for (size_t n = 1000; rc == 0 && rest.n > 0; rest = span_drop(rest, n), n = n % 7777 + 333)
        rc = queue_upload_append(u, span_take(rest, n));
    str_fini(&text);
    return rc;
}

static void submit(int number)
{
    struct queue_message m;
    struct queue_upload *u = NULL;
    char id[QUEUE_ID_TEXT_MAX];

    queue_message_init(&m, NULL);
    int rc = queue_take_id(client, &m.id);
    if (rc == 0)
        rc = queue_upload_begin(&u, client, NULL);
    if (rc == 0)
        rc = upload(u, number);
    m.arrival_us = m.id.time_us;
    m.sender = span_cstr(sender);
    for (int i = 0; i < recipient_count; i++)
        queue_message_add(&m, span_cstr(recipients[i]));
    if (rc == 0)
        rc = queue_commit(client, &m, u);
    else
        queue_upload_abort(u);
    if (rc == 0)
        printf("committed %s %d\n", queue_id_format(id, m.id), number);
    else
        printf("refused %d %s\n", rc, error_text(rc));
    fflush(stdout);
    queue_message_fini(&m);
}

static void run_session(void *arg)
{
    while (next_number < count && !task_is_cancelled())
        submit(next_number++);
}

static void run_all(void *arg)
{
    struct task_group group;

    client = queue_client_new("qmgr", 20000);
    task_group_init(&group);
    for (int i = 0; i < sessions; i++)
        task_group_spawn(&group, "session", run_session, NULL);
    task_group_wait(&group, DEADLINE_NONE);
    queue_client_free(client);
}

int main(int argc, char **argv)
{
    struct task_options options = {0};

    if (argc < 7 || chdir(argv[1]) < 0)
        fatal("usage: queue-submit DIRECTORY SESSIONS COUNT SIZE SENDER RECIPIENT...");
    sessions = atoi(argv[2]);
    count = atoi(argv[3]);
    size = atoi(argv[4]);
    sender = argv[5];
    recipients = argv + 6;
    recipient_count = argc - 6;
    if (task_runtime_init(&options) < 0 || task_runtime_run(run_all, NULL) < 0)
        fatal("no event loop");
    task_runtime_fini();
    return 0;
}
