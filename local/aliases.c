#include "local/aliases.h"

#include <errno.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "task/task.h"

/* A name or address that was met, in expansion.names or .items. */
struct known {
    struct hash_node node;
    struct span text;
    bool is_local; /* an item: the text is a local part, whatever the domain */
    bool is_open;  /* a name: its value is being expanded */
};

struct expansion {
    const struct alias_table *table;
    struct arena *arena;
    struct alias_expansion *out;
    struct hash names, items; /* of struct known, by span_ihash of the text */
    struct span owner;        /* of the alias being expanded, or of one around it */
    size_t depth;
};

void alias_expansion_free(struct alias_expansion *e)
{
    array_free(&e->items);
}

/* The end of an item: a comma outside quotes, or a newline. */
static size_t item_length(struct span text)
{
    bool is_quoted = false;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\' && i + 1 < text.n)
            i++;
        else if (text.p[i] == '"')
            is_quoted = !is_quoted;
        else if (text.p[i] == ',' && !is_quoted)
            return i;
    }
    return text.n;
}

static struct span unquote(struct span text, struct arena *arena)
{
    char *plain;
    size_t n = 0;

    if (text.n < 2 || text.p[0] != '"' || text.p[text.n - 1] != '"')
        return text;
    text = span_drop(span_take(text, text.n - 1), 1);
    plain = arena_alloc(arena, text.n + 1);
    if (plain == NULL)
        return SPAN_NONE;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\' && i + 1 < text.n)
            i++;
        plain[n++] = text.p[i];
    }
    return span_make(plain, n);
}

bool alias_next(struct span *rest, struct arena *arena, struct alias_item *item)
{
    while (rest->n > 0) {
        size_t n = item_length(*rest);
        struct span text = span_trim(span_take(*rest, n));
        *rest = span_drop(*rest, n + 1);
        if (text.n == 0)
            continue;
        text = unquote(text, arena);
        *item = (struct alias_item){.kind = ALIAS_ADDRESS, .text = text};
        if (text.n == 0 || text.p[0] == '|' || text.p[0] == '/' ||
            span_istarts(text, SPAN_LIT(":include:"))) {
            item->kind = ALIAS_REFUSED;
        } else if (text.p[0] == '\\') { /* "\user": this very user */
            *item = (struct alias_item){.kind = ALIAS_MAILBOX, .text = span_drop(text, 1)};
        }
        return true;
    }
    return false;
}

/* --- what was met --- */

static struct known *find_known(const struct hash *among, struct span text, bool is_local)
{
    struct hash_node *node = hash_first(among, span_ihash(text));

    for (; node != NULL; node = hash_next(node)) {
        struct known *known = CONTAINER_OF(node, struct known, node);
        if (known->is_local == is_local && span_ieq(known->text, text))
            return known;
    }
    return NULL;
}

static int remember(struct expansion *x, struct hash *among, struct span text, bool is_local,
                    struct known **out)
{
    struct known *known = ARENA_NEW(x->arena, struct known);

    if (known == NULL || arena_copy(x->arena, text, &known->text) < 0)
        return -ENOMEM;
    known->is_local = is_local;
    *out = known;
    return hash_insert(among, &known->node, span_ihash(text));
}

/* key tells one recipient from another: the local part for users of this host. */
static int add(struct expansion *x, enum alias_kind kind, struct span text, struct span key,
               bool is_local)
{
    struct alias_item *slot;
    struct known *known;
    int rc;

    if (find_known(&x->items, key, is_local) != NULL)
        return 0;
    if (x->out->items.len >= x->table->limit)
        return ERR_LIMIT;
    rc = remember(x, &x->items, key, is_local, &known);
    if (rc < 0)
        return rc;
    slot = array_push(&x->out->items);
    if (slot == NULL)
        return -ENOMEM;
    slot->kind = kind;
    slot->owner = x->owner;
    return arena_copy(x->arena, text, &slot->text);
}

/* --- expansion --- */

int alias_fold(struct span name, struct arena *arena, struct span *folded)
{
    char *text = arena_alloc(arena, name.n + 1);

    if (text == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < name.n; i++)
        text[i] = ascii_lower(name.p[i]);
    *folded = span_make(text, name.n);
    return 0;
}

/* In standard form: without a domain it gets $myorigin. */
static int complete(const struct expansion *x, struct span address, struct span *out)
{
    struct str full = {0};
    int rc = route_rewrite(x->table->route, ROUTE_CONTEXT_LOCAL, address, &full);

    if (rc == 0)
        rc = arena_copy(x->arena, str_span(&full), out);
    str_fini(&full);
    return rc;
}

static int expand_local(struct expansion *x, struct span local);

/* An address of an alias' value: one that would come back here is looked up itself. */
static int expand_address(struct expansion *x, struct span item)
{
    struct route_result route = {0};
    struct span address, local;
    int rc = complete(x, item, &address);

    if (rc == 0)
        rc = route_resolve(x->table->route, address, x->arena, &route);
    if (rc < 0)
        return rc;
    if (!span_eq(route.transport, x->table->transport))
        return add(x, ALIAS_ADDRESS, address, address, false);
    rc = alias_fold(route_local_part(route.recipient), x->arena, &local);
    if (rc == 0)
        rc = expand_local(x, local);
    return rc == ERR_NOT_FOUND ? add(x, ALIAS_ADDRESS, route.recipient, local, true) : rc;
}

static int expand_value(struct expansion *x, struct span value)
{
    struct alias_item item;
    struct span user;
    int rc = 0;

    while (rc == 0 && alias_next(&value, x->arena, &item)) {
        switch (item.kind) {
        case ALIAS_ADDRESS:
            rc = expand_address(x, item.text);
            break;
        case ALIAS_MAILBOX:
            user = span_find(item.text, '@') < 0 ? item.text : route_local_part(item.text);
            rc = add(x, item.kind, item.text, user, true);
            break;
        case ALIAS_REFUSED:
            rc = add(x, item.kind, item.text, item.text, false);
        }
        if (rc == 0)
            rc = task_breathe();
    }
    return rc;
}

/* The address that failures of this alias go to: owner-NAME, or what that stands for
 * with expand_owner_alias. ERR_NOT_FOUND: there is none. */
static int find_owner(const struct expansion *x, struct span name, struct span *owner)
{
    struct str value = {0};
    struct span rest, address;
    struct alias_item item;
    int rc;

    if (!x->table->has_owners)
        return ERR_NOT_FOUND;
    address = span_cstr(arena_printf(x->arena, "owner-%.*s", SPAN_ARG(name)));
    rc = address.n == 0 ? -ENOMEM : map_list_find(x->table->maps, address, 0, &value);
    rest = str_span(&value);
    if (rc == 0 && x->table->owner_is_expanded && alias_next(&rest, x->arena, &item) &&
        rest.n == 0 && item.kind == ALIAS_ADDRESS)
        address = item.text;
    if (rc == 0)
        rc = complete(x, address, owner);
    str_fini(&value);
    return rc;
}

/* With its owner, if it has one; else that of the alias around it stays. */
static int expand_owned(struct expansion *x, struct span name, struct span value)
{
    struct span outer = x->owner;
    int rc = find_owner(x, name, &x->owner);

    if (rc == 0 || rc == ERR_NOT_FOUND)
        rc = expand_value(x, value);
    x->owner = outer;
    return rc;
}

static int expand_name(struct expansion *x, struct span name)
{
    struct str value = {0};
    struct known *known;
    int rc = map_list_find(x->table->maps, name, 0, &value);

    if (rc == 0 && x->depth >= ALIAS_DEPTH_MAX)
        rc = -ELOOP;
    if (rc == 0)
        rc = remember(x, &x->names, name, false, &known);
    if (rc == 0) {
        known->is_open = true;
        x->depth++;
        rc = expand_owned(x, known->text, str_span(&value));
        x->depth--;
        known->is_open = false;
    }
    str_fini(&value);
    return rc;
}

static int expand_local(struct expansion *x, struct span local)
{
    struct span extension, user = route_split_extension(x->table->route, local, &extension);
    const struct span names[] = {local, user};

    for (size_t i = 0; i < (user.n < local.n ? 2 : 1); i++) {
        const struct known *known = find_known(&x->names, names[i], false);
        int rc;

        if (known != NULL)
            return known->is_open ? add(x, ALIAS_MAILBOX, local, local, true) : 0;
        rc = expand_name(x, names[i]);
        if (rc != ERR_NOT_FOUND)
            return rc;
    }
    return ERR_NOT_FOUND;
}

int alias_expand(const struct alias_table *table, struct span name, struct arena *arena,
                 struct alias_expansion *out)
{
    struct expansion x = {.table = table, .arena = arena, .out = out};
    int rc;

    *out = (struct alias_expansion){0};
    rc = expand_local(&x, name);
    hash_fini(&x.names);
    hash_fini(&x.items);
    if (rc < 0)
        alias_expansion_free(out);
    return rc;
}
