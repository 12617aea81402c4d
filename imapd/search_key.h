/*
 * search_key.h: SEARCH's criteria (RFC 3501 6.4.4) as a tree, and whether a message
 * fulfils them. What flags, numbers, dates and sizes decide is decided first, then what the
 * store keeps of headers; only what is still open then needs the message itself.
 */
#ifndef IMAPD_SEARCH_KEY_H
#define IMAPD_SEARCH_KEY_H

#include "imapd/session.h"
#include "mail/search.h"

enum { SEARCH_DEPTH_MAX = 50, SEARCH_KEYS_MAX = 4096 };

enum search_op {
    SEARCH_ALL,  /* all of children; without any: true */
    SEARCH_OR,   /* one of the two children */
    SEARCH_NOT,  /* not its child */
    SEARCH_FLAG, /* flags are set (or not) */
    SEARCH_KEYWORD,
    SEARCH_RECENT,
    SEARCH_SET, /* message numbers or UIDs */
    SEARCH_BEFORE,
    SEARCH_ON,
    SEARCH_SINCE,
    SEARCH_LARGER,
    SEARCH_SMALLER,
    SEARCH_SENTBEFORE,
    SEARCH_SENTON,
    SEARCH_SENTSINCE,
    SEARCH_HEADER,
    SEARCH_BODY,
    SEARCH_TEXT,
};

struct search_key {
    enum search_op op;
    struct search_key *next, *children;
    bool is_wanted; /* FLAG, KEYWORD, RECENT: set, or not set */
    uint32_t flags;
    uint64_t keywords;
    unsigned char *marks; /* SET: one per message of the view */
    int64_t day;
    uint64_t size;
    struct span header;
    bool is_kept; /* HEADER: such fields are the store's */
    struct search_needle *needle;
};

struct search {
    struct session *session;
    struct search_key root;
    ARRAY(struct search_needle *) needles;
    unsigned keys;
    struct span charset; /* of the strings; empty: UTF-8 */
    bool needs_fields;   /* of those that the store keeps (store_fields()) */
    bool needs_body;
};

/* Take " [CHARSET name ]key key ...". False: the answer is set. Free after any result. */
TASK_WAITS bool search_take(struct search *q, struct parse *p);
void search_free(struct search *q);

/* 1, 0, or -1 when the message itself must be looked at. index: in the view. */
int search_match_view(const struct search *q, size_t index);
/* The same with the fields that the store keeps. May run on a worker. */
int search_match_fields(const struct search *q, size_t index, struct span fields);
/* With the message (or its header, when that is enough): 1 or 0. May run on a worker. */
int search_match_content(const struct search *q, size_t index, struct span message);

#endif
