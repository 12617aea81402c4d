/* alias.c: virtual alias expansion, as virtual(5) and cleanup(8) describe it. */
#include <errno.h>

#include "base/error.h"
#include "base/hash.h"
#include "mail/address.h"
#include "route/internal.h"

/* A set of addresses, case folded. Nodes live in the arena. */
struct seen {
    struct hash_node node;
    struct span address;
};

static bool is_seen(const struct hash *set, struct span address)
{
    struct hash_node *n = hash_first(set, span_ihash(address));

    for (; n != NULL; n = hash_next(n))
        if (span_ieq(CONTAINER_OF(n, struct seen, node)->address, address))
            return true;
    return false;
}

static int add_seen(struct hash *set, struct arena *arena, struct span address)
{
    struct seen *s = ARENA_NEW(arena, struct seen);

    if (s == NULL)
        return -ENOMEM;
    s->address = address;
    return hash_insert(set, &s->node, span_ihash(address));
}

struct expansion {
    const struct route *r;
    struct arena *arena;
    struct route_expansion *out;
    struct hash expanded; /* addresses that may not be expanded again */
    struct str *why;
    struct span root;
};

static int refuse(struct expansion *x, const char *what)
{
    str_printf(x->why,
               "unreasonable virtual_alias_maps map %s for %.*s -- message not accepted, "
               "try again later",
               what, SPAN_ARG(x->root));
    return ERR_LIMIT;
}

/* Take the next address of a table value off *rest: addresses stand behind commas
 * or blanks, a local part may be quoted. */
static bool next_address(struct span *rest, struct span *item)
{
    bool in_quotes = false;
    size_t i = 0, n;

    while (i < rest->n && (rest->p[i] == ',' || ascii_is_space(rest->p[i])))
        i++;
    *rest = span_drop(*rest, i);
    for (n = 0; n < rest->n; n++) {
        char c = rest->p[n];

        if (c == '\\' && n + 1 < rest->n)
            n++;
        else if (c == '"')
            in_quotes = !in_quotes;
        else if (!in_quotes && (c == ',' || ascii_is_space(c)))
            break;
    }
    if (n > rest->n)
        n = rest->n;
    *item = span_take(*rest, n);
    *rest = span_drop(*rest, n);
    return item->n > 0;
}

/* From table form to internal form: quotes go, a missing domain comes. */
static int to_internal(struct expansion *x, struct span item, struct span extension,
                       struct span *result)
{
    struct address a;
    struct str plain, text;
    ptrdiff_t at;
    int rc;

    if (item.n > 1 && item.p[0] == '<' && item.p[item.n - 1] == '>')
        item = span_take(span_drop(item, 1), item.n - 2);
    str_init(&plain, x->arena->budget);
    str_init(&text, x->arena->budget);
    if (span_find(item, '"') < 0 || address_parse(x->arena, item, ADDRESS_ALLOW_UTF8, &a) != 0)
        str_append(&plain, item);
    else
        address_print_internal(&plain, &a);
    route_rewrite(x->r, ROUTE_CONTEXT_LOCAL, str_span(&plain), &text);
    rc = str_error(&plain) != 0 ? str_error(&plain) : str_error(&text);
    if (rc == 0 && extension.n > 0) {
        str_clear(&plain);
        at = span_rfind(str_span(&text), '@');
        if (at < 0)
            at = (ptrdiff_t)text.len;
        str_append(&plain, span_take(str_span(&text), (size_t)at));
        str_append(&plain, extension);
        str_append(&plain, span_drop(str_span(&text), (size_t)at));
        rc = str_error(&plain);
        if (rc == 0)
            rc = str_set(&text, str_span(&plain));
    }
    if (rc == 0)
        rc = arena_copy(x->arena, str_span(&text), result);
    str_fini(&plain);
    str_fini(&text);
    return rc;
}

/* "@domain" as a result keeps the local part. */
static int with_local_part(struct expansion *x, struct span address, struct span item,
                           struct span *full)
{
    const char *text =
        arena_printf(x->arena, "%.*s%.*s", SPAN_ARG(route_local_part(address)), SPAN_ARG(item));

    *full = span_cstr(text);
    return text == NULL ? -ENOMEM : 0;
}

/* Replace recipient number at by the value's first address, add the others. */
static int replace(struct expansion *x, size_t at, struct span value, struct span extension)
{
    struct span address = x->out->recipients.items[at], item;
    bool is_first = true;
    int rc = 0;

    while (rc == 0 && next_address(&value, &item)) {
        struct span result;

        if (item.p[0] == '@')
            rc = with_local_part(x, address, item, &item);
        if (rc == 0)
            rc = to_internal(x, item, extension, &result);
        if (rc != 0)
            return rc;
        if ((int64_t)result.n > x->r->alias_length_limit)
            return refuse(x, "address length");
        if (is_first) {
            x->out->recipients.items[at] = result;
        } else {
            struct span *more = array_push(&x->out->recipients);

            if (more == NULL)
                return -ENOMEM;
            *more = result;
            /* Here already, so that a huge value costs no more than the limit. */
            if ((int64_t)x->out->recipients.len > x->r->expansion_limit)
                return refuse(x, "expansion size");
        }
        is_first = false;
        /* An address may stand in its own expansion, once. */
        if (span_ieq(address, result))
            rc = add_seen(&x->expanded, x->arena, result);
    }
    /* A value without any address leaves the recipient as it is. */
    if (rc == 0 && is_first)
        rc = add_seen(&x->expanded, x->arena, address);
    return rc;
}

static int expand_one(struct expansion *x, size_t at)
{
    for (int64_t depth = 0;; depth++) {
        struct span address = x->out->recipients.items[at], extension;
        struct str value;
        int rc;

        if (is_seen(&x->expanded, address))
            return 0;
        if (depth >= x->r->recursion_limit)
            return refuse(x, "nesting");
        str_init(&value, x->arena->budget);
        rc = route_find_address(x->r, x->r->virtual_alias_maps, address, &value, &extension);
        if (rc == 0)
            rc = replace(x, at, str_span(&value), x->r->propagate_virtual ? extension : SPAN_NONE);
        else if (rc == ERR_NOT_FOUND)
            rc = 1;
        str_fini(&value);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
}

static int remove_duplicates(struct route_expansion *e, struct arena *arena)
{
    struct hash set = {0};
    size_t kept = 0;
    int rc = 0;

    for (size_t i = 0; i < e->recipients.len && rc == 0; i++) {
        if (is_seen(&set, e->recipients.items[i]))
            continue;
        e->recipients.items[kept++] = e->recipients.items[i];
        rc = add_seen(&set, arena, e->recipients.items[i]);
    }
    e->recipients.len = kept;
    hash_fini(&set);
    return rc;
}

int route_expand(const struct route *r, struct span recipient, struct arena *arena,
                 struct route_expansion *out, struct str *why)
{
    struct expansion x = {.r = r, .arena = arena, .out = out, .why = why, .root = recipient};
    struct span *first = array_push(&out->recipients);
    int rc;

    if (first == NULL)
        return -ENOMEM;
    rc = arena_copy(arena, recipient, first);
    if (rc == 0 && r->virtual_alias_maps != NULL && recipient.n > 0) {
        for (size_t i = 0; i < out->recipients.len && rc == 0; i++)
            rc = expand_one(&x, i);
        if (rc == 0 && out->recipients.len > 1)
            rc = remove_duplicates(out, arena);
    }
    hash_fini(&x.expanded);
    return rc;
}

void route_expansion_free(struct route_expansion *e)
{
    array_free(&e->recipients);
}
