/*
 * store.h: the mail store: accounts, mailboxes, messages, changes, news.
 *
 * Everything is a change record in the account's journal; the index is derived
 * and may be missing. Functions marked TASK_WAITS run their disk work on worker
 * threads. Nothing handed out points into a map. A commit returns after its
 * fdatasync: what was acknowledged survives a power cut.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/span.h"
#include "base/str.h"
#include "task/task.h"

struct store;         /* a root directory, one per process */
struct store_account; /* a reference to an account, shared and counted per process */

/* System flags and how they print in IMAP. \Recent belongs to sessions. */
enum store_flag {
    STORE_SEEN = 1 << 0,
    STORE_ANSWERED = 1 << 1,
    STORE_FLAGGED = 1 << 2,
    STORE_DELETED = 1 << 3,
    STORE_DRAFT = 1 << 4,
};

/* Keywords are numbered per account (0..STORE_KEYWORDS_MAX-1), names kept in the
 * account's journal. When all numbers have names, a new name takes a number that no message
 * has. So changes name their keywords; a number means something in its view only. */
enum { STORE_KEYWORDS_MAX = 64 };

/* Zero means the default throughout. */
struct store_options {
    unsigned open_limit;   /* accounts with open files, LRU (store_open_limit); 512 */
    uint64_t segment_size; /* of the journals; 16 MiB */
    uint32_t alignment;
    uint64_t minfree;              /* octets that messages leave free in the file system; 0 */
    uint64_t blob_threshold;       /* larger messages get a file of their own; 1 MiB */
    unsigned name_limit;           /* longest mailbox name in octets; 255, at most 480 */
    unsigned depth_limit;          /* most levels of a mailbox name; 20 */
    int64_t undelete_window_s;     /* how long space of dead messages lingers; 0 */
    const char *default_mailboxes; /* made with an account, such as "Drafts Sent Trash
                                      Junk", with their special use (RFC 6154); NULL: none */
};

/* From main.cf: store_open_limit and its like. */
struct conf;
void store_options_load(struct store_options *options, const struct conf *conf);

/* Before the sandbox (on_load): what it would hide. */
int store_preload(const struct conf *conf, struct str *why);
/* dirfd: the root, opened before the sandbox; kept, not owned. -EBUSY: this process
 * has a store on this directory already. */
int store_new(struct store **out, int dirfd, const struct store_options *options);
void store_free(struct store *s);

/* id: [A-Za-z0-9._-]{1,64}, immutable, never an address. Creates the account's
 * directory and INBOX when it is not there and create is set (ERR_NOT_FOUND
 * otherwise). */
TASK_WAITS int store_open(struct store *s, struct span id, bool create, struct store_account **out);
void store_close(struct store_account *a);

/* Give back what the account holds open when nobody in this process works with it:
 * files, index, memory. Done by store_view_park() too; the next call opens again. */
TASK_WAITS void store_rest(struct store_account *a);

/* --- mailboxes --- */

/* Names are UTF-8 with "/" as the hierarchy separator; INBOX is spelled so. A
 * mailbox has an id that survives RENAME and is never reused. */
enum { STORE_INBOX = 1 }; /* INBOX's id in every account */
struct store_mailbox {
    uint32_t id;
    uint32_t uidvalidity;
    struct span name;        /* from the arena of the listing */
    struct span special_use; /* such as "\\Sent", or empty (RFC 6154) */
    bool is_selectable;      /* false: only a parent of others (\Noselect) */
    bool is_subscribed;
    uint64_t uidnext, messages, unseen, recent, bytes, modseq;
};

struct store_listing {
    ARRAY(struct store_mailbox) boxes; /* sorted by name, INBOX first */
    ARRAY(struct span) subscriptions;  /* subscribed names, also of mailboxes that are gone */
};
TASK_WAITS int store_list(struct store_account *a, struct arena *arena, struct store_listing *out);
void store_listing_free(struct store_listing *l);
/* ERR_NOT_FOUND. */
TASK_WAITS int store_find(struct store_account *a, struct span name, struct arena *arena,
                          struct store_mailbox *out);
/* Creates missing parents as \Noselect ones. ERR_EXISTS (a \Noselect one becomes
 * selectable instead), ERR_SYNTAX or ERR_TOO_LONG for a name or special use (RFC 6154,
 * or empty) that is not valid. */
TASK_WAITS int store_create(struct store_account *a, struct span name, struct span special_use);
/* A mailbox with children loses its messages and becomes \Noselect (RFC 3501
 * 6.3.4); a \Noselect one with children, and INBOX: ERR_DENIED. */
TASK_WAITS int store_delete(struct store_account *a, struct span name);
/* With its children; RENAME INBOX moves its messages to a new mailbox. ERR_EXISTS,
 * ERR_NOT_FOUND, ERR_DENIED (below itself). */
TASK_WAITS int store_rename(struct store_account *a, struct span from, struct span to);
TASK_WAITS int store_subscribe(struct store_account *a, struct span name, bool on);

/* --- messages --- */

/* The hot part: what SELECT, FETCH FLAGS and most of SEARCH need. A session has one for
 * every message of its mailbox: 40 bytes, no padding. */
struct store_message {
    uint32_t uid;
    uint16_t flags;    /* enum store_flag */
    int16_t date_zone; /* minutes east */
    uint64_t keywords;
    uint64_t modseq;
    int64_t internal_date; /* seconds since 1970 UTC */
    uint64_t size;         /* RFC822.SIZE: a bare LF counts as CRLF */
};

/* A mailbox as one session sees it: rises only through store_view_refresh, so
 * that sequence numbers stay put between a session's commands. */
struct store_view {
    struct store_account *account;
    uint32_t mailbox;
    uint32_t uidvalidity;
    uint64_t modseq; /* of the last refresh */
    uint64_t uidnext;
    ARRAY(struct store_message) messages; /* by UID */
    ARRAY(uint32_t) recent;               /* UIDs that are \Recent in this session */
    struct span *keywords;                /* names by the numbers in messages; p NULL: none */
    unsigned keyword_count;               /* 0 when parked */
    bool is_read_only;
    bool is_parked;             /* messages is empty until the next refresh */
    struct store_view_own *own; /* the library's */
};
/* read_only: \Recent is looked at, not taken (EXAMINE). */
TASK_WAITS int store_view_open(struct store_account *a, uint32_t mailbox, bool read_only,
                               struct store_view **out);
void store_view_close(struct store_view *v); /* NULL is allowed */
/* Index of the first message that is not below uid; messages.len when there is none. */
size_t store_view_find(const struct store_view *v, uint32_t uid);
/* The bit that messages of the view have for a keyword; 0: none has it. */
uint64_t store_view_keyword(const struct store_view *v, struct span name);
/* For a session that waits (IDLE, or nothing to do): keeps only the list of UIDs, a
 * few octets per run of them, and closes the account's files when every view of it is
 * parked. store_view_refresh() loads messages again and still reports exactly what
 * changed. All other functions that take the view refuse a parked one (-EINVAL). */
TASK_WAITS void store_view_park(struct store_view *v);

/* What changed since: positions are sequence numbers at the time each item is
 * reported, in the order expunges, changes, arrivals. Without may_expunge (during
 * FETCH, STORE, SEARCH) expunged messages stay in the view until a later refresh.
 * ERR_NOT_FOUND: the mailbox was deleted. -ESTALE: it has a new uidvalidity; what was
 * said of its UIDs does not count any more, the view is of no use. */
struct store_news {
    ARRAY(uint32_t) expunged; /* sequence numbers, each valid after the ones before it */
    ARRAY(uint32_t) expunged_uids;
    ARRAY(uint32_t) changed; /* sequence numbers whose flags changed */
    uint32_t arrived;        /* how many were added at the end */
    bool keywords_changed;   /* a number has another name than before */
};
TASK_WAITS int store_view_refresh(struct store_view *v, bool may_expunge, struct store_news *news);
void store_news_free(struct store_news *n);

/* Finished strings made at delivery: IMAP ENVELOPE and BODYSTRUCTURE (BODY is
 * derived by the reader). From the arena. A message that is gone has envelope.p NULL.
 * They may be large, by their senders' will: it ends early behind the message with which
 * octets_max is reached; *count then says how many were answered, at least one. */
struct store_cached {
    struct span envelope;
    struct span bodystructure;
};
TASK_WAITS int store_cached(struct store_view *v, const uint32_t *uids, size_t *count,
                            size_t octets_max, struct arena *arena, struct store_cached *out);
/* The fields that ENVELOPE is made from, as a header of their own (imap_envelope_fields()),
 * from the index: each() runs on a worker, once for every message that is still there, with
 * its place in uids; text is good during the call. */
typedef void store_text_fn(void *arg, size_t i, struct span text);
TASK_WAITS int store_fields(struct store_view *v, const uint32_t *uids, size_t count,
                            store_text_fn *each, void *arg);
/* The same with the first octets of each message, at most limit. */
TASK_WAITS int store_each_head(struct store_view *v, const uint32_t *uids, size_t count,
                               size_t limit, store_text_fn *each, void *arg);
/* These octets to keep. p NULL: it is gone. */
TASK_WAITS int store_heads(struct store_view *v, const uint32_t *uids, size_t count, size_t limit,
                           struct arena *arena, struct span *out);
/* A descriptor for reading one message: opened afresh, read-only, positioned by
 * the caller with offset and length. The caller closes it. */
struct store_body {
    int fd;
    uint64_t offset, length;
};
TASK_WAITS int store_body_open(struct store_view *v, uint32_t uid, struct store_body *out);
/* n octets of an open body from offset on: from the page cache at once, else from the
 * disk on a worker. ERR_EOF: the file ends before. */
TASK_WAITS int store_body_read_at(const struct store_body *body, uint64_t offset, char *data,
                                  size_t n);
/* The whole body into memory drawn on out's budget. */
TASK_WAITS int store_body_read(struct store_view *v, uint32_t uid, struct str *out);

/* --- changes --- */

/* A new message: content in memory; or, with fd not -1, a range of a file; or, with
 * read set, length octets that read() gives (called on a worker: up to n octets from
 * offset on, or a negative code). */
struct store_append {
    struct span content;
    int fd;
    uint64_t offset, length;
    ssize_t (*read)(const void *arg, uint64_t offset, void *buf, size_t n);
    const void *read_arg;
    struct span prefix;    /* put in front: Return-Path, Delivered-To, ... */
    int64_t internal_date; /* 0: now */
    int16_t date_zone;
    uint32_t flags;
    const struct span *keywords; /* by name; new ones are made */
    size_t keyword_count;
    struct span delivery_id; /* queue id and recipient: a repeated delivery with the same
                                id is answered with the first one's UID (best effort) */
    bool is_retry;           /* the one before may have come through: look in the index */
};
struct store_appended {
    uint32_t uidvalidity, uid;
    uint64_t modseq;
};
/* ERR_NOT_FOUND: no such mailbox. ERR_LIMIT: all keywords of the account are in use. */
TASK_WAITS int store_append(struct store_account *a, uint32_t mailbox,
                            const struct store_append *messages, size_t count,
                            struct store_appended *out);

/* Deliver one message, which has a delivery_id and no keywords, to the INBOX of an account,
 * which is made when it is not there; what makes it is durable with the message, by the same
 * syncs. */
TASK_WAITS int store_deliver(struct store *s, struct span id, const struct store_append *message,
                             struct store_appended *out);

struct store_uids {
    ARRAY(uint32_t) items; /* free with array_free */
};
enum store_flag_op { STORE_FLAGS_SET, STORE_FLAGS_ADD, STORE_FLAGS_REMOVE };
struct store_flag_change {
    enum store_flag_op op;
    uint32_t flags;
    const struct span *keywords; /* by name; new ones are made, but not for removing them */
    size_t keyword_count;
    uint64_t keyword_bits;    /* filled in, as the view will have them after a refresh */
    uint64_t unchanged_since; /* 0: unconditional */
};
/* Changes the messages of uids (ascending) that still exist; those that did not
 * exist any more are not an error. The UIDs refused for unchanged_since are appended
 * to *modified (may be NULL). ERR_LIMIT: all keywords of the account are in use. */
TASK_WAITS int store_set_flags(struct store_view *v, const uint32_t *uids, size_t count,
                               struct store_flag_change *change, struct store_uids *modified);
/* Those of uids that carry \Deleted (all of them when uids is NULL and count 0);
 * with any_flag also those that do not (MOVE, POP3 DELE). */
TASK_WAITS int store_expunge(struct store_view *v, const uint32_t *uids, size_t count,
                             bool any_flag);
/* Result: pairs of source and new UID, in order. */
struct store_copied {
    uint32_t uidvalidity;
    ARRAY(uint32_t) from;
    ARRAY(uint32_t) to;
};
TASK_WAITS int store_copy(struct store_view *v, const uint32_t *uids, size_t count,
                          uint32_t to_mailbox, bool move, struct store_copied *out);
void store_copied_free(struct store_copied *c);

/* --- news --- */

/* Signals its condition (on the loop) whenever somebody else may have changed the
 * account; a hint only. */
struct store_watch;
struct task_cond *store_watch_cond(struct store_watch *w);
/* How often it signalled so far. */
uint64_t store_watch_count(const struct store_watch *w);
int store_watch_start(struct store_account *a, struct store_watch **out);
void store_watch_stop(struct store_watch *w);

/* --- exclusive access --- */

/* One holder among all processes, of a named right to the account, such as "pop3"
 * (RFC 1939 8: a POP3 session locks its maildrop). -EBUSY when it is taken. Ends
 * with store_unlock() or the process. */
struct store_lock;
TASK_WAITS int store_lock(struct store_account *a, const char *name, struct store_lock **out);
void store_unlock(struct store_lock *l);

/* --- administration --- */

/* Octets and messages of all mailboxes. */
TASK_WAITS int store_usage(struct store_account *a, uint64_t *bytes, uint64_t *messages);
/* The same, opening and asking in one job. ERR_NOT_FOUND: there is no such account. */
TASK_WAITS int store_usage_of(struct store *s, struct span id, uint64_t *bytes, uint64_t *messages);
/* Check the whole account; findings, a line each, are appended to report. Sessions and
 * deliveries go on, but for the time that a new index for comparison takes to make. */
TASK_WAITS int store_verify(struct store_account *a, struct str *report);
/* Throw the index away and make it anew from the journal. */
TASK_WAITS int store_rebuild(struct store_account *a);
/* After an account was put back from a copy: every mailbox gets a uidvalidity above all
 * that the account gave before, also in the state that was lost, and the numbers of UIDs
 * and changes jump. The index, which may be of that state, is made anew. */
TASK_WAITS int store_renew(struct store_account *a);
/* Give back the space of dead messages when it is worth it: a bounded piece of work;
 * *more says that there is more to do. -EAGAIN: another process is at it. */
TASK_WAITS int store_clean(struct store_account *a, bool *more);
/* Ids of the accounts below the root, one after the other; a non-zero result of each()
 * ends it and is returned. Blocks: for tools. */
int store_accounts(struct store *s, int (*each)(void *arg, struct span id), void *arg);

#endif
