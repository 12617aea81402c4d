/*
 * attr.h: lists of named values as the queue's records and messages hold them:
 * for each the length of the name, the name, the length of the value, the value;
 * lengths are LEB128. Order is kept, names may repeat, what a reader does not
 * know it keeps or skips.
 */
#ifndef QUEUE_ATTR_H
#define QUEUE_ATTR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

enum { QUEUE_ATTR_NAME_MAX = 64 };

/* Append one value; errors stick in out. Empty values are written too. */
void queue_attr_put(struct str *out, const char *name, struct span value);
void queue_attr_put_span(struct str *out, struct span name, struct span value);
/* Decimal. */
void queue_attr_put_u64(struct str *out, const char *name, uint64_t value);
void queue_attr_put_i64(struct str *out, const char *name, int64_t value);

/* Take the next pair off *rest (borrowed): 1, 0 at the end, ERR_SYNTAX. */
int queue_attr_next(struct span *rest, struct span *name, struct span *value);
/* First value of that name: 0, ERR_NOT_FOUND or ERR_SYNTAX. */
int queue_attr_get(struct span list, const char *name, struct span *value);
int queue_attr_get_u64(struct span list, const char *name, uint64_t *value);

#endif
