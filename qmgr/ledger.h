/*
 * ledger.h: the queue on disk: the journal with its recovery, and the files of
 * large content. Everything that is durable goes through here.
 *
 *   queue/journal/   lib/journal's segments
 *   queue/large/     one file per large content, named by a random number
 */
#ifndef QMGR_LEDGER_H
#define QMGR_LEDGER_H

#include "ipc/ipc.h"
#include "qmgr/entry.h"
#include "qmgr/record.h"
#include "task/task.h"

/* Take the lock, build the entries from a snapshot or from every record (those on hold on
 * hold, all others deferred until their time). queue_fd: the queue directory. -EAGAIN:
 * another process is the writer. With a message in *why. The only task
 * that runs waits for it. */
TASK_WAITS int ledger_open(int queue_fd, struct str *why);
TASK_WAITS void ledger_close(void);
/* Before it is closed: leave the next start what it would otherwise read out of the whole
 * journal. No other task changes entries any more. Where it fails, that start is slow. */
TASK_WAITS void ledger_keep_entries(void);
/* 0, or ERR_READ_ONLY after a failed sync. */
int ledger_error(void);

/* count numbers for queue ids, from *first on. */
TASK_WAITS int ledger_take_ids(uint32_t count, uint64_t *first);
/* Append MESSAGE records and wait until they are durable. */
TASK_WAITS int ledger_commit(struct journal_record *records, size_t count);
/* Load a message with all that became of it. */
TASK_WAITS int ledger_load(struct entry *e, struct loaded *l, bool with_content);
/* Put the content into a message: its file's descriptor, or the octets, which are read
 * again when l does not have them (and stay in l). */
TASK_WAITS int ledger_put_content(struct entry *e, struct loaded *l, struct ipc_out *m);
/* A RESULT record (its head), a STATE record of l (takes the next sequence
 * number). Nobody waits for them. */
TASK_WAITS int ledger_write_result(struct entry *e, struct span head, uint32_t sequence);
TASK_WAITS int ledger_write_state(struct entry *e, struct loaded *l);
/* The message is done: a REMOVED record that nobody waits for; the entry is
 * freed, its file is unlinked when the record is durable. */
TASK_WAITS int ledger_remove(struct entry *e);
/* Wait until everything written so far is durable. */
TASK_WAITS int ledger_flush(void);

/* --- large content --- */

/* A new empty file: its number and a write-only descriptor. */
TASK_WAITS int ledger_new_file(uint64_t *file, int *fd);
/* Make a file durable before the record that names it; ERR_CORRUPT when it is
 * shorter than `size`. */
TASK_WAITS int ledger_sync_file(uint64_t file, uint64_t size);
/* A fresh read-only descriptor. ERR_NOT_FOUND. */
TASK_WAITS int ledger_open_file(uint64_t file, int *fd);
void ledger_drop_file(uint64_t file);
bool ledger_file_is_used(uint64_t file);

/* --- commits that are over --- */

/* What is kept of a commit's random id. */
uint64_t ledger_commit_hash(struct span commit);
/* True when this commit arrived, also when the message is gone by now. */
bool ledger_was_committed(uint64_t number, uint64_t commit_hash);

/* Flush, and unlink files of removed messages now. */
TASK_WAITS void ledger_reap(void);

/* Tasks that run beside: unlinking, sweeping stale files, the cleaner. */
void ledger_run_reaper(void *arg);
void ledger_run_cleaner(void *arg);

/* For the cleaner. */
struct journal;
struct journal *ledger_journal(void);
/* Segments with this number and above may hold records that commits under way
 * have written and no entry knows of. */
uint64_t ledger_first_unsettled_segment(void);
/* Clean segments as long as one is worth it. 0, or why it ended. */
TASK_WAITS int ledger_clean(void);

#endif
