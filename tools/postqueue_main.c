/* postqueue, and mailq under its own name: postqueue(1). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "tools/queue_admin.h"

static enum { LIST, LIST_JSON, FLUSH, FLUSH_ID, FLUSH_SITE } action;
static const char *subject;

static void usage(void)
{
    fprintf(stderr, "usage: postqueue [-c config_dir] -f | -i queue_id | -j | -p | -s site\n");
    exit(64);
}

static int flush(struct queue_tool *t)
{
    struct ipc_out request = {0};

    if (t->is_offline) {
        log_error("mail system is down");
        return -1;
    }
    ipc_begin(&request, "flush");
    if (action == FLUSH_ID)
        ipc_put(&request, "id", span_cstr(subject));
    else if (action == FLUSH_SITE)
        ipc_put(&request, "site", span_cstr(subject));
    int rc = queue_tool_ask(t, &request, NULL, NULL, NULL);
    if (rc < 0)
        log_error("%s%s%s", subject != NULL ? subject : "", subject != NULL ? ": " : "",
                  error_text(rc));
    return rc;
}

static void run(struct queue_tool *t)
{
    int rc;

    if (action == LIST || action == LIST_JSON) {
        rc = queue_tool_list(t, action == LIST_JSON);
        if (rc < 0)
            log_error("cannot list the queue: %s", error_text(rc));
    } else {
        rc = flush(t);
    }
    if (rc < 0)
        t->status = 69; /* EX_UNAVAILABLE */
}

/* A site is a domain as it stands in an address; anything else is a mistake. */
static void check_site(void)
{
    if (subject[0] == '\0' || strpbrk(subject, "@ /\t\r\n") != NULL) {
        fprintf(stderr, "postqueue: cannot flush mail for destination \"%s\"\n", subject);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    const char *config_directory = NULL;
    struct queue_tool t;
    int option, actions = 0;

    while ((option = getopt(argc, argv, "c:fi:jps:v")) != -1) {
        switch (option) {
        case 'c':
            config_directory = optarg;
            break;
        case 'f':
        case 'p':
        case 'j':
            action = option == 'f' ? FLUSH : option == 'p' ? LIST : LIST_JSON;
            actions++;
            break;
        case 'i':
        case 's':
            action = option == 'i' ? FLUSH_ID : FLUSH_SITE;
            subject = optarg;
            actions++;
            break;
        case 'v':
            break;
        default:
            usage();
        }
    }
    if (optind != argc || actions != 1)
        usage();
    if (action == FLUSH_SITE)
        check_site();
    queue_tool_init(&t, argv[0], config_directory);
    return queue_tool_run(&t, run);
}
