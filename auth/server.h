/* server.h: the requests of protocol "auth" (lib/auth/auth.h). */
#ifndef AUTH_SERVER_H
#define AUTH_SERVER_H

#include "base/str.h"
#include "conf/conf.h"
#include "task/task.h"

/* Before the sandbox: open the store of users, look up who may ask what. */
int server_load(const struct conf *conf, struct str *why);
int server_start(const struct conf *conf);
/* Serve one connection until its end; takes fd. */
TASK_WAITS void server_run(int fd);
/* Close connections that wait for no answer, so that their owners go to the next
 * generation, and the others when their exchanges are over, or after two seconds. */
void server_drain(void);
/* After the last connection: leave the session ids to the next process. */
void server_stop(void);

#endif
