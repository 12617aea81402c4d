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
#include "route/route.h"

enum alias_kind {
    ALIAS_ADDRESS, /* to be routed again */
    ALIAS_MAILBOX, /* a local user's mailbox, aliases not looked at again */
    ALIAS_REFUSED, /* "|command", /file, :include: */
};

struct alias_item {
    enum alias_kind kind;
    struct span text;  /* address, user name, or the item as it stands */
    struct span owner; /* address of the owner of the innermost alias that has one; or empty */
};

/* One item of a value: the next piece up to a comma outside quotes, trimmed and
 * without its quotes. False at the end. Pure. */
bool alias_next(struct span *rest, struct arena *arena, struct alias_item *item);

/* Where aliases are looked up; immutable. */
struct alias_table {
    const struct map_list *maps;
    const struct route *route;
    struct span transport;  /* addresses that go to it are looked up here */
    size_t limit;           /* most items of an expansion */
    bool has_owners;        /* owner_request_special */
    bool owner_is_expanded; /* expand_owner_alias */
};

struct alias_expansion {
    ARRAY(struct alias_item) items; /* addresses complete, no duplicates; texts are the arena's */
};

/* More than Postfix's 100 steps of delivery allow, and well within a task's stack. */
enum { ALIAS_DEPTH_MAX = 50 };

/* Expand the local part name, in lower case: as it is, then without its extension.
 * ERR_NOT_FOUND when it is no alias, ERR_TEMPORARY, ERR_LIMIT (too many items), -ELOOP
 * (nested too deeply), -ENOMEM. Items without a domain get $myorigin. An alias that comes
 * back to itself means the user's mailbox. Names of refused items are kept with that kind. */
TASK_WAITS int alias_expand(const struct alias_table *table, struct span name, struct arena *arena,
                            struct alias_expansion *out);
void alias_expansion_free(struct alias_expansion *e);

/* A copy in lower case. 0, -ENOMEM. */
int alias_fold(struct span name, struct arena *arena, struct span *folded);

#endif
