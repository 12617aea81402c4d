/*
 * deposit.h: writing one message into a Unix user's mbox or Maildir, by the
 * program local-mailbox. Blocking, single-threaded; runs as the user but for
 * opening and locking a file in the mail spool.
 */
#ifndef LOCAL_DEPOSIT_H
#define LOCAL_DEPOSIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

/* Exit codes of local-mailbox, from sysexits.h. */
enum deposit_exit {
    DEPOSIT_DONE = 0,
    DEPOSIT_NO_USER = 67,
    DEPOSIT_LOOP = 70,
    DEPOSIT_TOO_LARGE = 73, /* mailbox_size_limit */
    DEPOSIT_TRY_AGAIN = 75,
};

struct deposit {
    const char *path;    /* of the mbox file, or of the Maildir (ends with "/") */
    const char *user;    /* for messages */
    const char *address; /* Delivered-To: a message that has it already is a loop */
    const char *sender;  /* for the From_ line */
    uid_t uid;
    gid_t gid;
    uint64_t size_limit; /* octets; 0: none */
    bool uses_fcntl, uses_dotlock;
    unsigned lock_attempts, lock_delay_s, stale_lock_s;
};

/* The message on fd in wire form (CRLF), its added header lines included, read from
 * the start. *why is the text for the log and the sender. */
enum deposit_exit deposit_maildir(const struct deposit *d, int fd, struct str *why);
/* Open or make the file and take the locks; with root's rights in a spool. The file
 * is *mbox; on success deposit_unlock_mbox() must follow whatever happens. */
enum deposit_exit deposit_open_mbox(const struct deposit *d, int *mbox, struct str *why);
enum deposit_exit deposit_write_mbox(const struct deposit *d, int fd, int mbox, struct str *why);
void deposit_unlock_mbox(const struct deposit *d);
/* Whether the header of the message has "Delivered-To: address" below the first
 * line of that name, which is this delivery's own. */
bool deposit_is_loop(int fd, const char *address);

#endif
