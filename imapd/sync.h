/* sync.h: telling the client what changed in the selected mailbox (RFC 3501 5.2, 7). */
#ifndef IMAPD_SYNC_H
#define IMAPD_SYNC_H

#include "imapd/session.h"

/* Bring the view up to date and send the untagged responses for it. Nothing when no
 * mailbox is selected. With s->by_uid FETCH responses carry the UID. */
TASK_WAITS void sync_mailbox(struct session *s, bool may_expunge);
/* The client knows these flags of a message (because it asked for silence, or was
 * told): not repeated by this command's sync. UIDs must come in ascending order. */
int sync_note_told(struct session *s, uint32_t uid, uint32_t flags, uint64_t keywords);
void sync_forget_told(struct session *s);
/* EXISTS and RECENT. */
TASK_WAITS void sync_say_count(struct session *s);

#endif
