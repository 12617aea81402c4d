/* agent.h: local(8)'s deliveries: aliases, then the Unix user. */
#ifndef LOCAL_AGENT_H
#define LOCAL_AGENT_H

#include "conf/conf.h"
#include "queue/deliver.h"

/* Before the first task: tables and parameters. */
int agent_load(const struct conf *conf, struct str *why);
int agent_start(const struct conf *conf);
TASK_WAITS void agent_deliver(struct deliver_job *job, void *arg);

#endif
