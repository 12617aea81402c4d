/* support_session.h: whole IMAP sessions against a real store in a temporary directory. */
#ifndef SUPPORT_SESSION_H
#define SUPPORT_SESSION_H

#include "base/str.h"
#include "tests/unit/net/support_peer.h"

/* In a task. A store of its own; ended by the second function. */
void sessions_begin(void);
void sessions_end(void);
/* Play a client's octets as one session of an account; what it was told is appended to
 * *out. limit: the session's memory. */
void session_play(const char *account, enum peer_split split, struct span script, size_t limit,
                  struct str *out);

#endif
