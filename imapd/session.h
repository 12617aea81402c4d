/*
 * session.h: an authenticated IMAP session: its state, and how commands answer.
 *
 * A command is a function and a row in commands.c. It writes untagged responses
 * itself, and leaves its tagged one with session_ok(), session_no() or
 * session_bad(); the caller then tells the client what others changed, as far as
 * the row allows, and sends the tagged response.
 */
#ifndef IMAPD_SESSION_H
#define IMAPD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/array.h"
#include "conf/conf.h"
#include "imapd/parse.h"
#include "imapd/reader.h"
#include "login/mailbox.h"
#include "store/store.h"

/* What the client was told of a message's flags during this command, so that the
 * same is not told again. Ascending UIDs. */
struct told {
    uint32_t uid;
    uint32_t flags;
    uint64_t keywords;
};

struct session {
    struct mailbox_session *client;
    struct stream *stream; /* the client's */
    struct store_account *account;

    /* The selected mailbox; view NULL: none. */
    struct store_view *view;
    bool is_read_only;
    uint64_t shown_keywords; /* of the view: those the client saw in a FLAGS response */
    size_t shown_recent;     /* the last RECENT response */

    /* The command. */
    struct reader reader;
    struct arena arena;
    struct str tag;
    const struct command *command;
    bool by_uid;
    struct str answer; /* the tagged response without its tag */
    ARRAY(struct told) told;

    unsigned bad_commands;
    bool is_over;
    const char *disconnect;

    /* For the log. */
    uint64_t deleted, expunged, header_count, header_octets, body_count, body_octets;
};

/* Parameters, the same for all sessions. */
struct session_settings {
    struct store *store;
    int directory; /* store_directory */
    int64_t idle_ms, notify_ms;
    size_t line_limit;
    uint64_t message_limit; /* octets of an APPEND; 0: none */
    const char *special_use;
};
extern struct session_settings session_settings;

/* directory: store_directory's descriptor. */
int session_start(const struct conf *conf, int directory);
TASK_WAITS void session_serve(struct mailbox_session *client);

/* How long to wait for the client. */
deadline_t session_patience(void);

/* An untagged line; CRLF is added. */
TASK_WAITS void session_say(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Octets as they are. */
TASK_WAITS void session_write(struct session *s, struct span text);
/* The same for whoever has more to send. Negative: the session is over. */
TASK_WAITS int session_send(struct session *s, struct span text);
/* The tagged response; the last call counts. */
void session_ok(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void session_no(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "BAD Error in IMAP command NAME: why"; too many of them end the session. */
void session_bad(struct session *s, const char *why);
/* NO in the words for a code of the store; what: for the log. */
TASK_WAITS void session_store_error(struct session *s, int rc, const char *what);
/* The end, with BYE: why is for the client and the log. */
TASK_WAITS void session_end(struct session *s, const char *why);
/* The end, because reading from the client (or waiting for it) returned rc. */
TASK_WAITS void session_lost(struct session *s, int rc);
/* Memory is out: the session ends. */
TASK_WAITS void session_out_of_memory(struct session *s);

/* A mailbox was selected? Closing forgets it, without expunging. */
void session_close_mailbox(struct session *s);

/* Take " mailbox-name": UTF-8 of the arena, INBOX in capitals. False: the answer is
 * set. */
TASK_WAITS bool session_take_mailbox(struct session *s, struct parse *p, struct span *name);
/* The same name as it goes over the wire (modified UTF-7, quoted as needed). */
int session_append_mailbox(struct str *out, struct span name);

#endif
