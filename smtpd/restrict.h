/*
 * restrict.h: smtpd_*_restrictions: lists of checks, compiled at load, asked at
 * each stage of a session. The first check that is not neutral decides its list.
 *
 * A name that is not implemented is an error of the configuration: the start
 * fails, and where it got past that (an access table names it) the client gets
 * 451 4.3.5. An ignored restriction would be an open relay.
 */
#ifndef SMTPD_RESTRICT_H
#define SMTPD_RESTRICT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/span.h"
#include "base/str.h"
#include "conf/conf.h"
#include "task/task.h"

struct session;
struct restrictions;

enum restrict_stage {
    RESTRICT_CLIENT,
    RESTRICT_HELO,
    RESTRICT_SENDER,
    RESTRICT_RELAY,
    RESTRICT_RECIPIENT,
    RESTRICT_DATA,
    RESTRICT_END_OF_DATA,
    RESTRICT_STAGES,
};

enum restrict_verdict {
    RESTRICT_DUNNO,  /* neutral: the next check decides */
    RESTRICT_OK,     /* this list is done */
    RESTRICT_REJECT, /* session->reply_text holds the reply, 4xx or 5xx */
};

/* Compile every list of the configuration, with its tables and classes. *why names
 * the parameter and the word that is wrong. */
int restrictions_load(struct restrictions **out, const struct conf *conf, struct str *why);
void restrictions_free(struct restrictions *r);

/* Ask one list. */
TASK_WAITS enum restrict_verdict restrict_run(struct session *s, enum restrict_stage stage);
/* An empty list is never asked. */
bool restrict_is_set(const struct restrictions *r, enum restrict_stage stage);

/* Resolve the current recipient, check relay and recipient lists with what
 * smtpd_delay_reject left over, and that the recipient exists. */
TASK_WAITS enum restrict_verdict restrict_check_recipient(struct session *s);

#endif
