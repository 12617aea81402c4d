#include "local/aliases.h"

#include <errno.h>

#include "base/error.h"

struct expansion {
    const struct map_list *maps;
    alias_is_local_fn *is_local;
    void *arg;
    struct arena *arena;
    struct alias_expansion *out;
    ARRAY(struct span) open; /* aliases being expanded, outermost first */
    ARRAY(struct span) seen;
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
        *item = (struct alias_item){ALIAS_ADDRESS, text};
        if (text.n == 0 || text.p[0] == '|' || text.p[0] == '/' ||
            span_istarts(text, SPAN_LIT(":include:"))) {
            item->kind = ALIAS_REFUSED;
        } else if (text.p[0] == '\\') { /* "\user": this very user */
            *item = (struct alias_item){ALIAS_MAILBOX, span_drop(text, 1)};
        }
        return true;
    }
    return false;
}

static int add(struct expansion *x, enum alias_kind kind, struct span text)
{
    struct alias_item *slot;

    for (size_t i = 0; i < x->out->items.len; i++) {
        const struct alias_item *known = &x->out->items.items[i];
        if (known->kind == kind && span_ieq(known->text, text))
            return 0;
    }
    if (x->out->items.len >= ALIAS_ITEMS_MAX)
        return ERR_LIMIT;
    slot = array_push(&x->out->items);
    if (slot == NULL)
        return -ENOMEM;
    slot->kind = kind;
    return arena_copy(x->arena, text, &slot->text);
}

static bool is_in(const struct span *names, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++) {
        if (span_ieq(names[i], name))
            return true;
    }
    return false;
}

static int expand_name(struct expansion *x, struct span name);

/* An address of an alias' value: a local name is looked up itself. */
static int expand_address(struct expansion *x, struct span address)
{
    ptrdiff_t at = span_rfind(address, '@');
    struct span local = at < 0 ? address : span_take(address, (size_t)at);
    int rc = at < 0 ? 1 : x->is_local(x->arg, span_drop(address, (size_t)at + 1));

    if (rc < 0)
        return rc;
    if (rc == 0)
        return add(x, ALIAS_ADDRESS, address);
    if (is_in(x->open.items, x->open.len, local))
        return add(x, ALIAS_MAILBOX, local);
    if (is_in(x->seen.items, x->seen.len, local))
        return 0;
    rc = expand_name(x, local);
    return rc == ERR_NOT_FOUND ? add(x, ALIAS_ADDRESS, address) : rc;
}

static int expand_value(struct expansion *x, struct span value)
{
    struct alias_item item;
    int rc = 0;

    while (rc == 0 && alias_next(&value, x->arena, &item)) {
        if (item.kind == ALIAS_ADDRESS)
            rc = expand_address(x, item.text);
        else
            rc = add(x, item.kind, item.text);
    }
    return rc;
}

static int expand_name(struct expansion *x, struct span name)
{
    struct str value = {0};
    struct span kept, *slot, *seen;
    int rc;

    if (x->open.len >= ALIAS_DEPTH_MAX)
        return ERR_LIMIT;
    rc = map_list_find(x->maps, name, 0, &value);
    if (rc == 0)
        rc = arena_copy(x->arena, name, &kept);
    if (rc == 0 && ((slot = array_push(&x->open)) == NULL || (seen = array_push(&x->seen)) == NULL))
        rc = -ENOMEM;
    if (rc == 0) {
        *slot = *seen = kept;
        rc = expand_value(x, str_span(&value));
        x->open.len--;
    }
    str_fini(&value);
    return rc;
}

int alias_expand(const struct map_list *maps, struct span name, alias_is_local_fn *is_local,
                 void *arg, struct arena *arena, struct alias_expansion *out)
{
    struct expansion x = {
        .maps = maps, .is_local = is_local, .arg = arg, .arena = arena, .out = out};
    int rc;

    *out = (struct alias_expansion){0};
    rc = expand_name(&x, name);
    array_free(&x.open);
    array_free(&x.seen);
    if (rc < 0)
        alias_expansion_free(out);
    return rc;
}
