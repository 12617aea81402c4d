/* process.h: what the files of lib/service know about the running process. Not
 * for services. */
#ifndef SERVICE_PROCESS_H
#define SERVICE_PROCESS_H

#include "base/array.h"
#include "service/askers.h"
#include "service/inherit.h"
#include "service/service.h"
#include "service/stats.h"
#include "task/task.h"

struct refused_client {
    struct net_address address;
    deadline_t until;
};

struct process {
    const struct service *service;
    struct inherit inherit;
    struct conf *main_conf, *conf;        /* main.cf; with the entry's overrides */
    struct stats_page *page;              /* never NULL */
    int control_fd;                       /* -1 stand-alone */
    int listeners[INHERIT_LISTENERS_MAX]; /* named as in inherit.listeners */
    size_t listener_count;
    bool is_unix; /* the listeners are Unix sockets */
    struct askers askers;

    uint32_t limit; /* UINT32_MAX: none */
    uint64_t client_count;
    bool is_full_told;
    bool is_draining;
    bool is_waking; /* on_wakeup runs */
    ARRAY(struct refused_client) refused;
    deadline_t end;           /* of a drain that master does not watch over */
    struct task_cond changed; /* drain, limit or client count */
    struct task_group clients, helpers;
    struct task_group carriers; /* connections over which clients are handed in */
};

/* The one process. */
extern struct process process;

/* accept.c: one task per listener; returns when the process drains. */
void accept_run(void *listener_index);
/* accept.c: bring the page's figures up to date. */
void accept_publish(void);
/* A client that took a process down before: "SECONDS ADDRESS". */
void accept_refuse(struct span text);
void accept_set_limit(uint32_t limit);

#endif
