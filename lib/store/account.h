/*
 * account.h: an account of this process: what it has open, whose turn it is, and how
 * a change is made.
 *
 * Everything that touches an account's files runs as a job on a worker while its task
 * holds the account's turn, so there is one job per account at a time in a process,
 * and journal and index handles need no locks. Syncs run outside the turn.
 */
#ifndef STORE_ACCOUNT_H
#define STORE_ACCOUNT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/list.h"
#include "journal/shared.h"
#include "store/apply.h"
#include "store/index.h"
#include "store/store.h"

enum {
    ACCOUNT_ID_MAX = 64,
    ACCOUNT_PATH_MAX = ACCOUNT_ID_MAX + 8,
    RECENT_DELIVERIES = 4096, /* per process */
    OPENING_MAX = 64,
};

struct recent_delivery {
    uint64_t account, hash;
    struct store_appended appended;
};

struct store {
    int rootfd;
    dev_t device;
    ino_t inode;
    struct list link; /* in the process's list of stores */
    struct store_options options;
    struct journal_options journal;
    struct journal_boot boot;
    struct hash accounts;
    struct list open; /* accounts that hold files, the one used last first */
    size_t places;    /* taken: at most open_limit; held while files are open */
    size_t opening;   /* accounts whose turn opens files: at most OPENING_MAX */
    /* A place may be had, or may be taken from its account: who waits for that. Work that was
     * begun goes first: a change that is here with its message, news for a session. */
    struct task_cond begun, others;
    unsigned woken;                     /* of both, so far */
    struct recent_delivery *deliveries; /* RECENT_DELIVERIES, by hash */
    struct store_inotify *inotify;      /* watch.c; NULL without one */
    atomic_bool parents[256];           /* directories of the first level that are durable */
};

struct store_account {
    struct hash_node node;
    struct store *store;
    char id[ACCOUNT_ID_MAX + 1];
    char path[ACCOUNT_PATH_MAX + 1]; /* below the root */
    unsigned refs;
    unsigned awake;   /* views that are not parked */
    unsigned syncing; /* syncs outside the turn: the journal must stay open */
    bool has_place;   /* one of store.places */
    bool is_opening;  /* counts in store.opening */
    bool is_cleaning; /* a task of this process is at it */
    uint64_t dead;    /* octets expunged since the last cleaning */
    struct task_semaphore turn;
    atomic_uint waiting; /* tasks that wait for the turn */
    struct list link;    /* in store.open */
    struct list watches; /* watch.c */
    int watch_id;
    _Atomic uint64_t end_segment, end_offset; /* where this process' last change ended */

    /* Of the job that holds the turn. */
    int dirfd, guardfd;
    struct disk_real disk;
    struct journal_shared *journal;
    struct index *index;
    struct index_txn *txn; /* during a commit, for the snapshot */
};

/* fn runs on a worker with the account's turn held. */
typedef int account_fn(struct store_account *a, void *arg);
TASK_WAITS int account_run(struct store_account *a, enum task_pool pool, account_fn *fn, void *arg);
/* The same for work that was begun: it waits for no place behind work that was not. */
TASK_WAITS int account_go_on(struct store_account *a, enum task_pool pool, account_fn *fn,
                             void *arg);

/* Between the two the account's files stay open, though nobody has its turn. */
void account_begin_sync(struct store_account *a);
void account_end_sync(struct store_account *a);

/* In a job: have the journal, or journal and index, open. */
int account_need_journal(struct store_account *a);
/* The same, and made when it is not there: it begins, with INBOX and the default mailboxes,
 * under the first lock. */
int account_make_journal(struct store_account *a);
int account_need_index(struct store_account *a);
/* Bring the index to the journal's end. */
int account_catch_up(struct store_account *a);
/* Read from an index that is up to date. A damaged one is made anew, once. */
int account_view(struct store_account *a, index_fn *fn, void *arg);
/* On the loop: whether nobody appended since the index was brought to this place. False
 * when that cannot be said without a wait: a job has the turn, the files are closed. */
bool account_is_at(struct store_account *a, uint64_t segment, uint64_t offset);
/* Change the index alone (what needs no record). */
int account_update_index(struct store_account *a, index_fn *fn, void *arg);

/* --- changes --- */

/* Records in the making. */
struct commit {
    struct store_account *account;
    struct arena arena; /* of heads and whatever the builder needs */
    ARRAY(struct journal_record) records;
    uint64_t number;          /* the counter behind the records so far */
    uint64_t bytes, messages; /* totals behind them: the builder keeps these */
};
/* Adds a record that takes count numbers; returns the last of them in *number (may be
 * NULL). The builder has brought bytes and messages up to date before. */
int commit_add(struct index_txn *t, struct commit *c, struct record *r, uint32_t count,
               struct span body, uint64_t *number);
/* Adds records under the journal's lock, with the index at its end. Runs once. */
typedef int commit_build_fn(struct index_txn *t, struct commit *c, void *arg);
/* Prepare (in the job, before the lock; may be NULL), build, append, apply, sync. No
 * records: nothing was changed and nothing is synced. */
TASK_WAITS int account_commit(struct store_account *a, account_fn *prepare, commit_build_fn *build,
                              void *arg);

/* Append one DELIVER record without looking at the index, and sync: prepare gives the
 * record and the body, which must stay until the end. */
struct delivery_parts {
    struct record record;
    struct span body;
};
typedef int delivery_fn(struct store_account *a, void *arg, struct delivery_parts *out);
TASK_WAITS int account_deliver(struct store_account *a, bool create, delivery_fn *prepare,
                               void *arg, uint64_t *number);

/* Under the journal's lock: octets and messages of the account by its last record. */
bool account_totals(struct store_account *a, uint64_t *bytes, uint64_t *messages);

/* --- for the files of this library --- */

/* A job that uses no index but must not answer before all that can be read is durable. */
int account_sync_all(struct store_account *a);
/* Make the account's directory; one that is there is as good. */
int account_make_directory(struct store_account *a);
/* What its journal begins with: INBOX and the default mailboxes (a journal_begin_fn). */
int account_begin(void *arg, struct str *snapshot, uint64_t *number);
bool account_id_is_valid(struct span id);
/* A reference, without a look at the disk; store_close() gives it back. -EINVAL: not an id. */
int account_ref(struct store *s, struct span id, struct store_account **out);
/* watch.c */
int watch_init(struct store *s);
void watch_fini(struct store *s);
/* This process changed the account: wake its sessions. */
void watch_notify(struct store_account *a);

#endif
