/* body.h: reading messages and their records, for jobs. */
#ifndef STORE_BODY_H
#define STORE_BODY_H

#include "store/account.h"

enum { BODY_HEAD_MAX = 16 * 1024 * 1024 };

/* The message's record without its body; spans point into *text. */
int body_record(struct store_account *a, const struct index_message *m, struct str *text,
                struct record *r, struct journal_record *record);
/* A descriptor to read the message from; the caller closes out->fd. */
int body_locate(struct store_account *a, const struct index_message *m, struct store_body *out);
/* Append up to limit octets of a message, without a descriptor of its own. */
int body_read(struct store_account *a, const struct index_message *m, uint64_t limit,
              struct str *out);
/* Where a message is now, and a reader's work on it. The index is behind when another
 * process' cleaner removed a segment: look again, once. */
typedef int body_message_fn(struct store_account *a, const struct index_message *m, void *arg);
int body_with_message(struct store_account *a, uint32_t box, uint32_t uid, body_message_fn *fn,
                      void *arg);

#endif
