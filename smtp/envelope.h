/* envelope.h: the text of MAIL and RCPT commands, from a message. Pure. */
#ifndef SMTP_ENVELOPE_H
#define SMTP_ENVELOPE_H

#include <stdint.h>

#include "base/str.h"
#include "queue/message.h"

/* Append the command with its CRLF. features: enum smtp_feature of the server; size and
 * content_flags (enum queue_extent_flag) are the content's. ERR_SYNTAX when the address
 * cannot be written as one. */
int envelope_mail(struct str *out, const struct queue_message *m, unsigned features, uint64_t size,
                  uint32_t content_flags);
int envelope_rcpt(struct str *out, const struct queue_recipient *r, unsigned features);

/* Whether an address can stand in a command at all: it is not empty and holds no controls. */
bool envelope_is_writable(struct span address);

#endif
