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
/* ENVELOPE and BODYSTRUCTURE of a message's octets. */
int body_describe(struct span message, struct str *envelope, struct str *bodystructure);

#endif
