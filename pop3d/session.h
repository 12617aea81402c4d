/* session.h: one POP3 session after authentication (RFC 1939 5 and 6). */
#ifndef POP3D_SESSION_H
#define POP3D_SESSION_H

#include "conf/conf.h"
#include "login/mailbox.h"

/* Once per process; directory is the store's root. */
int session_start(const struct conf *conf, int directory);
/* Run a session to its end. */
TASK_WAITS void session_serve(struct mailbox_session *client);

#endif
