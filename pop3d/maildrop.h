/*
 * maildrop.h: a POP3 session's snapshot of the INBOX: message numbers stay what
 * they were at the start, whatever other sessions do (RFC 1939 5).
 */
#ifndef POP3D_MAILDROP_H
#define POP3D_MAILDROP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/array.h"
#include "store/store.h"

struct maildrop_entry {
    uint32_t uid;
    uint64_t size;
    bool is_deleted; /* DELE: removed at QUIT */
    bool is_read;    /* RETR: \Seen at the end */
};

struct maildrop {
    struct store_account *account;
    struct store_lock *lock;
    struct store_view *view;
    uint32_t uidvalidity;
    ARRAY(struct maildrop_entry) entries;
    /* Messages read ahead, in order; those that are gone or longer have p NULL. */
    struct arena ahead_memory;
    struct span *ahead;
    size_t ahead_first, ahead_count;
    size_t next; /* the entry behind the one that maildrop_read() gave last */
};

/* -EBUSY: another session has it. Close after any result. */
TASK_WAITS int maildrop_open(struct maildrop *m, struct store *store, struct span account);
void maildrop_close(struct maildrop *m);

/* What is not marked as deleted. */
size_t maildrop_count(const struct maildrop *m);
uint64_t maildrop_size(const struct maildrop *m);
/* Message number (from 1) to entry; NULL: no such message, or deleted. */
struct maildrop_entry *maildrop_find(struct maildrop *m, struct span number);
/* The message as it is stored, good until the next call, from what was read ahead: a
 * client that takes one message after the other gets many of them with one hand-over to a
 * worker (4 KiB each: half of the CPU a message). p NULL: it is not at hand, open it. */
TASK_WAITS struct span maildrop_read(struct maildrop *m, const struct maildrop_entry *entry);
/* RSET. */
void maildrop_undelete(struct maildrop *m);
/* \Seen for what was retrieved; with remove also the end of what was deleted.
 * Durable when it returns 0. */
TASK_WAITS int maildrop_update(struct maildrop *m, bool remove);

#endif
