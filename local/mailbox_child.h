/* mailbox_child.h: running local-mailbox for one recipient. */
#ifndef LOCAL_MAILBOX_CHILD_H
#define LOCAL_MAILBOX_CHILD_H

#include "base/str.h"
#include "local/deposit.h"
#include "queue/message.h"
#include "task/task.h"

struct mailbox_child {
    const char *program;    /* path of local-mailbox */
    char *const *arguments; /* argv, NULL-terminated */
    struct span prefix;     /* header lines for this recipient, CRLF */
    const struct queue_content *content;
};

/* Run it and wait: its exit code (DEPOSIT_TRY_AGAIN for anything that is
 * not one of them) and its words in *why. Negative: it could not be run. */
TASK_WAITS int mailbox_child_run(const struct mailbox_child *child, struct str *why);

#endif
