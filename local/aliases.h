/*
 * aliases.h: aliases(5) for local(8): what an alias' value says, and its expansion
 * to the last name.
 */
#ifndef LOCAL_ALIASES_H
#define LOCAL_ALIASES_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/span.h"
#include "map/map.h"

enum alias_kind {
    ALIAS_ADDRESS, /* somewhere else: to be routed again */
    ALIAS_MAILBOX, /* a local user's mailbox, aliases not looked at again */
    ALIAS_REFUSED, /* "|command", /file, :include: */
};

struct alias_item {
    enum alias_kind kind;
    struct span text; /* address, user name, or the item as it stands */
};

/* One item of a value: the next piece up to a comma outside quotes, trimmed and
 * without its quotes. False at the end. Pure. */
bool alias_next(struct span *rest, struct arena *arena, struct alias_item *item);

struct alias_expansion {
    ARRAY(struct alias_item) items; /* no duplicates; texts are the arena's */
};

/* Whether name@domain is delivered here: 1, 0 or negative. */
typedef int alias_is_local_fn(void *arg, struct span domain);

enum { ALIAS_ITEMS_MAX = 10000, ALIAS_DEPTH_MAX = 100 };

/* Expand name (lower-cased local part): ERR_NOT_FOUND when it is no alias,
 * ERR_TEMPORARY, ERR_LIMIT, -ENOMEM. An alias that comes back to itself means the
 * user's mailbox. Names of refused items are kept with that kind. */
TASK_WAITS int alias_expand(const struct map_list *maps, struct span name,
                            alias_is_local_fn *is_local, void *arg, struct arena *arena,
                            struct alias_expansion *out);
void alias_expansion_free(struct alias_expansion *e);

#endif
