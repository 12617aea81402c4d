/* append.h: APPEND, whose message is not kept with its command's text. */
#ifndef IMAPD_APPEND_H
#define IMAPD_APPEND_H

#include "imapd/session.h"

/* Does the text read so far ask for APPEND's message as its next literal? */
bool append_is_message_next(struct session *s);

#endif
