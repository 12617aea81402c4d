/*
 * queue_admin.h: how the queue's tools reach qmgr. While qmgr runs they ask it on
 * its socket; while it is stopped they start one that only serves this tool, and
 * holds the queue's lock meanwhile.
 */
#ifndef TOOLS_QUEUE_ADMIN_H
#define TOOLS_QUEUE_ADMIN_H

#include "conf/conf.h"
#include "ipc/ipc.h"

struct queue_tool {
    const char *name;
    const char *config_directory;
    struct conf *conf;
    struct ipc_conn *ipc;
    bool is_offline; /* qmgr is stopped */
    int status;      /* exit status of the tool */
};

/* argv[0] and -c: the name, the configuration; ends with a message on failure.
 * With privileges that the caller has not (setgid) only the default directory. */
void queue_tool_init(struct queue_tool *t, const char *argv0, const char *config_directory);
/* Run main_task(t) on an event loop, connected; the exit status. */
int queue_tool_run(struct queue_tool *t, void (*main_task)(struct queue_tool *t));

/* Send a request (emptied); then read answers of kind `kind` until the "end".
 * each() may be NULL. The end's error; *count (may be NULL) its count. */
TASK_WAITS int queue_tool_ask(struct queue_tool *t, struct ipc_out *request,
                              int (*each)(void *arg, const struct ipc_in *m), void *arg,
                              uint64_t *count);
/* The listing of mailq (json false) or postqueue -j. */
TASK_WAITS int queue_tool_list(struct queue_tool *t, bool json);

#endif
