/*
 * support_smtp.h: a whole SMTP session against a scripted client, with a queue that
 * keeps what it gets and an auth that knows user "u1" with password "pass".
 */
#ifndef SUPPORT_SMTP_H
#define SUPPORT_SMTP_H

#include "smtpd/session.h"
#include "tests/unit/net/support_peer.h"
#include "tests/unit/net/support_run.h"

struct smtp_message {
    struct str sender, recipients; /* recipients: "a@b(original) c@d" */
    struct str content, transport; /* transport: "name:next hop", or empty */
    uint32_t flags;
};

struct smtp_run {
    /* in */
    const char *main_cf; /* added to what every test has */
    const char *dns;     /* table of resolver_new_fake; NULL: no look-ups */
    const char *client;  /* address; NULL: 192.0.2.1 */
    struct span script;  /* what the client says */
    enum peer_split split;
    unsigned seed;
    int end; /* what reading gives behind the script: 0 or an error */
    int commit_error, id_error, append_error;
    uint64_t space;       /* free for the queue; 0: enough */
    uint64_t connections; /* what anvil says */
    /* out */
    struct str replies, log;
    struct smtp_message messages[8];
    size_t count;
    size_t uploads; /* begun and neither committed nor aborted */
};

/* Every message's id in these tests. */
#define SMTP_ID "3zzzz"

/* In a task. */
void smtp_play(struct smtp_run *run);
void smtp_run_fini(struct smtp_run *run);
/* Without "250-..." lines of EHLO and the banner being written out every time. */
bool smtp_load(struct server *server, struct conf **conf, const char *main_cf, struct str *why);

#endif
