/*
 * support_world.h: deliveries into a small world: a table of names, servers that play
 * scripts, and reports that are kept as text.
 */
#ifndef SUPPORT_WORLD_H
#define SUPPORT_WORLD_H

#include "smtp/delivery.h"
#include "tests/unit/net/support_peer.h"
#include "tests/unit/net/support_run.h"

/* Servers are used in their order when their address and port are connected to; one
 * connection each. */
struct world_server {
    const char *address; /* "192.0.2.1" or "192.0.2.1:2525"; NULL ends the list */
    const char *script;  /* what it says; NULL: the connection is refused */
    int end;             /* what reading gives behind the script; 0: it closes */
};

struct world_job {
    const char *next_hop, *sender, *recipients; /* recipients: separated by blanks */
    const char *content;                        /* NULL: "x\r\n" */
    uint32_t flags;                             /* enum queue_message_flag */
    uint32_t notify;
    int age_s; /* between arrival and the attempt */
};

enum { WORLD_SERVERS = 8, WORLD_JOBS = 8 };

struct world {
    /* in */
    const char *main_cf, *names;
    struct world_server servers[WORLD_SERVERS];
    struct world_job jobs[WORLD_JOBS];
    unsigned cancel_after; /* turns after which everything is cancelled; 0: never */
    bool at_once;          /* all jobs behind the first run at the same time; else one by one */
    enum peer_split split;
    unsigned seed;
    /* out */
    struct str results; /* a line per report: "RECIPIENT STATUS DSN RELAY (REASON)" */
    struct str sent[WORLD_SERVERS], log;
    unsigned writes[WORLD_SERVERS];
    unsigned connections;
};

/* Settings from a main.cf, with a table of names. False with *why. */
bool world_load(struct settings *s, struct conf **conf, const char *main_cf, const char *names,
                struct str *why);
void world_unload(struct settings *s, struct conf *conf);
/* In a task. */
void world_play(struct world *w);
void world_fini(struct world *w);

#endif
