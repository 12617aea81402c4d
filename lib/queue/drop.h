/*
 * drop.h: files of maildrop/: what sendmail(1) leaves for pickup, written by
 * postdrop.
 *
 * A file is a list of attributes (attr.h) that ends with an empty one named
 * "content"; the message follows, with lines as the local system ends them. It is
 * complete when its owner may execute it (as Postfix marks it): a file that is
 * still being written, or whose writer died, does not count.
 */
#ifndef QUEUE_DROP_H
#define QUEUE_DROP_H

#include "base/array.h"
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

enum { DROP_HEAD_MAX = 4 << 20, DROP_RECIPIENTS_MAX = 50000 };

struct drop {
    struct span sender; /* as given with -f; empty and is_sender_set: the null sender */
    bool is_sender_set;
    struct span full_name; /* -F: for a From: field that is missing */
    struct span envid;     /* -V */
    struct span ret;       /* -R: "full", "hdrs" or empty */
    uint32_t notify;       /* -N */
    bool is_smtputf8;
    ARRAY(struct span) recipients;
};

void drop_encode(const struct drop *d, struct str *out);
/* Decode the front of a file; texts are borrowed from it. *used is where the
 * content begins. ERR_TRUNCATED: more octets are needed; ERR_SYNTAX, ERR_LIMIT. */
int drop_decode(struct drop *d, struct span front, size_t *used);
void drop_fini(struct drop *d);

#endif
