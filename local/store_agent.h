/* store_agent.h: store(8)'s deliveries: into an account's INBOX. */
#ifndef LOCAL_STORE_AGENT_H
#define LOCAL_STORE_AGENT_H

#include "conf/conf.h"
#include "queue/deliver.h"

/* directory: store_directory, opened before the sandbox; -1: it is not there. */
int store_agent_start(const struct conf *conf, int directory);
TASK_WAITS void store_agent_deliver(struct deliver_job *job, void *arg);

#endif
