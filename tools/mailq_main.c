/* mailq: what is in the queue. mailq(1). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "tools/queue_admin.h"

static void run(struct queue_tool *t)
{
    int rc = queue_tool_list(t, false);

    if (rc < 0) {
        log_error("cannot list the queue: %s", error_text(rc));
        t->status = 69; /* EX_UNAVAILABLE */
    }
}

int main(int argc, char **argv)
{
    const char *config_directory = NULL;
    struct queue_tool t;
    int option;

    while ((option = getopt(argc, argv, "C:v")) != -1) {
        if (option == 'C') {
            config_directory = optarg;
        } else if (option != 'v') {
            fprintf(stderr, "usage: mailq [-C config_dir] [-v]\n");
            return 64;
        }
    }
    queue_tool_init(&t, argv[0], config_directory);
    return queue_tool_run(&t, run);
}
