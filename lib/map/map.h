/*
 * map.h: look-up tables: "type:name", and lists of them.
 *
 * Tables are opened (and files read) in on_load, before the sandbox. A look-up
 * returns 0 with the value, ERR_NOT_FOUND, or ERR_TEMPORARY: the caller defers,
 * the reason is in the log. Look-ups wait only where the table is not in memory:
 * lmdb (a worker reads it), proxy: (broker is asked), userdb: (auth is asked).
 *
 * Types: hash btree lmdb texthash inline static unix cidr fail unionmap pipemap
 * proxy userdb.
 */
#ifndef MAP_MAP_H
#define MAP_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "base/str.h"
#include "task/task.h"

struct conf;
struct map;
struct map_list;
struct map_match;

enum {
    /* The key is a part of an address or name: tables of patterns are skipped. */
    MAP_PARTIAL = 1 << 0,
};

enum { MAP_KEY_MAX = 4096, MAP_VALUE_MAX = 1 << 16, MAP_FILE_MAX = 64 << 20 };

/* --- one table --- */

/* spec is "type:name", expanded already. ERR_SYNTAX (malformed), ERR_NOT_SUPPORTED
 * (type unknown or not built in), or an error of the source, with the reason in
 * *why. A missing hash:, btree: or lmdb: file is no error here but answers
 * look-ups with ERR_TEMPORARY, and the log names the command that makes it. */
int map_open(struct map **out, const struct conf *c, struct span spec, struct str *why);
/* Before tables are opened, in a service that may open no file later: unix: tables are
 * asked of broker, as proxy: ones are. */
void map_ask_broker(void);
/* Before the runtime ends (on_stop): the last proxied table takes the connection
 * to broker with it. */
void map_free(struct map *m);
/* report is told, from look-ups, that a table's file was replaced by another one (or
 * was not there and may be now). The open one goes on answering; who may open no paths
 * any more must start anew (service_give_up). */
void map_on_change(void (*report)(const char *why));
/* The table types there are, for postconf -m; NULL behind the last. */
const char *map_type_name_at(size_t index);
/* The spec, for messages. */
const char *map_name(const struct map *m);
/* The value of a key replaces value's text. Keys are folded to lower case where
 * the type says so. */
TASK_WAITS int map_lookup(const struct map *m, struct span key, unsigned flags, struct str *value);

/* --- several, in order --- */

/* The tables that a parameter names, separated by commas or blanks; braces keep
 * together what has blanks. An empty parameter gives an empty list. */
int map_list_open(struct map_list **out, const struct conf *c, const char *parameter,
                  struct str *why);
int map_list_open_text(struct map_list **out, const struct conf *c, struct span text,
                       struct str *why);
void map_list_free(struct map_list *l); /* NULL is fine */
/* First table that has the key. An error ends the search. */
TASK_WAITS int map_list_find(const struct map_list *l, struct span key, unsigned flags,
                             struct str *value);

/* --- match lists --- */

/* Lists such as mydestination and mynetworks: patterns, "!pattern", "/file",
 * "type:table", with the first match deciding. */
enum {
    MAP_MATCH_EXACT = 0,        /* strings, ASCII case ignored */
    MAP_MATCH_PARENT = 1 << 0,  /* a pattern matches its subdomains as well */
    MAP_MATCH_DOTTED = 1 << 1,  /* a pattern ".domain" matches subdomains */
    MAP_MATCH_ADDRESS = 1 << 2, /* internet addresses and networks */
};

/* The patterns of a parameter. 0, -ENOMEM, or why a table does not open, in words. */
int map_match_open(struct map_match **out, const struct conf *c, const char *parameter,
                   unsigned flags, struct str *why);
int map_match_open_text(struct map_match **out, const struct conf *c, struct span text,
                        unsigned flags, struct str *why);
void map_match_free(struct map_match *m); /* NULL is fine */
/* 0: matches; ERR_NOT_FOUND; ERR_TEMPORARY. With MAP_MATCH_ADDRESS text is an
 * address without brackets. */
TASK_WAITS int map_match_find(const struct map_match *m, struct span text);
/* Lists of clients (mynetworks): each pattern is held against the name and the
 * address, whichever it is about. Either may be empty. Open with
 * MAP_MATCH_ADDRESS and a domain flag. */
TASK_WAITS int map_match_find_client(const struct map_match *m, struct span name,
                                     struct span address);
/* MAP_MATCH_PARENT or MAP_MATCH_DOTTED, as parent_domain_matches_subdomains says
 * for this parameter. */
unsigned map_match_domain_flags(const struct conf *c, const char *parameter);

/* --- what other libraries supply --- */

/* How userdb: asks whether an address has an account: a service with an auth
 * client sets it in on_start. value gets the account's name. */
typedef int map_userdb_fn(struct span address, struct str *value);
void map_set_userdb(map_userdb_fn *lookup);

#endif
