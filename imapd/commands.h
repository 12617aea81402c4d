/* commands.h: the table of IMAP commands after authentication. */
#ifndef IMAPD_COMMANDS_H
#define IMAPD_COMMANDS_H

#include "imapd/session.h"

enum command_flag {
    COMMAND_SELECTED = 1 << 0,   /* needs a selected mailbox */
    COMMAND_NO_EXPUNGE = 1 << 1, /* no EXPUNGE response before its end (RFC 3501 7.4.1) */
    COMMAND_NO_SYNC = 1 << 2,    /* does not look for what others changed */
    COMMAND_UID = 1 << 3,        /* counts by UID */
};

struct command {
    const char *name;
    void (*run)(struct session *s, struct parse *p); /* may wait */
    unsigned flags;
};

/* NULL: unknown. Takes a second word off p after "UID". */
const struct command *command_find(struct span name, struct parse *p);

/* any.c */
TASK_WAITS void command_capability(struct session *s, struct parse *p);
TASK_WAITS void command_noop(struct session *s, struct parse *p);
void command_check(struct session *s, struct parse *p);
TASK_WAITS void command_logout(struct session *s, struct parse *p);
TASK_WAITS void command_id(struct session *s, struct parse *p);
TASK_WAITS void command_enable(struct session *s, struct parse *p);
TASK_WAITS void command_namespace(struct session *s, struct parse *p);
TASK_WAITS void command_idle(struct session *s, struct parse *p);
/* mailboxes.c */
TASK_WAITS void command_create(struct session *s, struct parse *p);
TASK_WAITS void command_delete(struct session *s, struct parse *p);
TASK_WAITS void command_rename(struct session *s, struct parse *p);
TASK_WAITS void command_subscribe(struct session *s, struct parse *p);
TASK_WAITS void command_unsubscribe(struct session *s, struct parse *p);
TASK_WAITS void command_status(struct session *s, struct parse *p);
/* list.c */
TASK_WAITS void command_list(struct session *s, struct parse *p);
TASK_WAITS void command_lsub(struct session *s, struct parse *p);
/* select.c */
TASK_WAITS void command_select(struct session *s, struct parse *p);
TASK_WAITS void command_examine(struct session *s, struct parse *p);
TASK_WAITS void command_close(struct session *s, struct parse *p);
void command_unselect(struct session *s, struct parse *p);
TASK_WAITS void command_expunge(struct session *s, struct parse *p);
/* append.c */
TASK_WAITS void command_append(struct session *s, struct parse *p);
/* messages.c */
TASK_WAITS void command_store(struct session *s, struct parse *p);
TASK_WAITS void command_copy(struct session *s, struct parse *p);
TASK_WAITS void command_move(struct session *s, struct parse *p);
/* fetch.c, search.c */
TASK_WAITS void command_fetch(struct session *s, struct parse *p);
TASK_WAITS void command_search(struct session *s, struct parse *p);

#endif
