/* set.h: sequence sets against the selected mailbox (RFC 3501 9, sequence-set). */
#ifndef IMAPD_SET_H
#define IMAPD_SET_H

#include "imapd/session.h"

/* Message numbers (from 1) in ascending order, each once. */
struct set {
    ARRAY(uint32_t) numbers;
};

/* Take " sequence-set", UIDs with s->by_uid. Numbers beyond the last message are an
 * error, unknown UIDs are not. False: the answer is set. */
TASK_WAITS bool set_take(struct session *s, struct parse *p, struct set *out);
void set_free(struct set *set);
/* The messages of parsed ranges: numbers, or UIDs. ERR_NOT_FOUND: a number is too
 * large, unless may_miss is set. -ENOMEM. */
int set_resolve(const struct store_view *v, const struct parse_set *ranges, bool by_uid,
                bool may_miss, struct set *out);
/* The UIDs of a set, to be freed; NULL without memory. */
uint32_t *set_uids(const struct session *s, const struct set *set);

/* Append "1:3,7" for ascending numbers. */
int set_append(struct str *out, const uint32_t *numbers, size_t count);

#endif
