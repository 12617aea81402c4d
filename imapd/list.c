/* LIST and LSUB (RFC 3501 6.3.8, 6.3.9), with attributes of RFC 3348 and RFC 6154, and
 * the options of RFC 6154 for special uses. */
#include <errno.h>

#include "base/error.h"
#include "imapd/commands.h"
#include "imapd/pattern.h"
#include "mail/imap.h"

enum { PATTERNS_MAX = 32 };

struct request {
    struct span patterns[PATTERNS_MAX]; /* the reference in front */
    size_t count;
    bool is_root_asked; /* the pattern is "" */
    bool only_special, only_subscribed;
    /* What RETURN asks for (RFC 5258 3.1); without options all but subscriptions. */
    bool is_extended, shows_subscribed, shows_children, shows_special;
};

struct listed {
    const struct store_mailbox *box; /* NULL: there is none of that name */
    struct span name;                /* UTF-8 */
    struct span wire;
    bool is_subscribed, has_children;
};

/* --- the request --- */

static bool take_option(struct request *r, struct span word, bool is_return)
{
    if (span_ieq(word, SPAN_LIT("SPECIAL-USE")) && is_return)
        r->shows_special = true;
    else if (span_ieq(word, SPAN_LIT("SPECIAL-USE")))
        r->only_special = r->shows_special = true;
    else if (span_ieq(word, SPAN_LIT("SUBSCRIBED")) && is_return)
        r->shows_subscribed = true;
    else if (span_ieq(word, SPAN_LIT("SUBSCRIBED")))
        r->only_subscribed = r->shows_subscribed = true;
    else if (span_ieq(word, SPAN_LIT("CHILDREN")) && is_return)
        r->shows_children = true;
    else
        return false;
    return true;
}

static bool take_options(struct session *s, struct parse *p, struct request *r, bool is_return)
{
    struct span word;

    r->is_extended = true;
    if (parse_char(p, ')'))
        return true;
    do {
        if (parse_atom(p, &word) < 0) {
            session_bad(s, "Invalid arguments.");
            return false;
        }
        if (!take_option(r, word, is_return)) {
            session_bad(s, arena_printf(&s->arena, "Unknown %s option %.*s",
                                        is_return ? "return" : "selection", SPAN_ARG(word)));
            return false;
        }
    } while (parse_space(p));
    if (!parse_char(p, ')')) {
        session_bad(s, "Invalid arguments.");
        return false;
    }
    return true;
}

static bool add_pattern(struct session *s, struct request *r, struct span reference,
                        struct span pattern)
{
    char *joined;

    if (r->count == PATTERNS_MAX) {
        session_bad(s, "Too many patterns.");
        return false;
    }
    joined = arena_alloc(&s->arena, reference.n + pattern.n + 1);
    if (joined == NULL) {
        session_store_error(s, -ENOMEM, "LIST");
        return false;
    }
    if (reference.n > 0)
        memcpy(joined, reference.p, reference.n);
    if (pattern.n > 0)
        memcpy(joined + reference.n, pattern.p, pattern.n);
    r->patterns[r->count++] = span_make(joined, reference.n + pattern.n);
    return true;
}

static bool take_patterns(struct session *s, struct parse *p, struct request *r,
                          struct span reference)
{
    bool is_list = parse_char(p, '(');
    struct span pattern;

    do {
        if (parse_list_mailbox(p, &pattern) < 0) {
            session_bad(s, parse_end(p) ? "Missing arguments." : "Invalid arguments.");
            return false;
        }
        r->is_root_asked |= pattern.n == 0;
        if (!add_pattern(s, r, reference, pattern))
            return false;
    } while (is_list && parse_space(p));
    if (is_list && !parse_char(p, ')')) {
        session_bad(s, "Invalid arguments.");
        return false;
    }
    return true;
}

static bool take_request(struct session *s, struct parse *p, struct request *r, bool is_extended)
{
    struct span reference;
    bool is_right = parse_space(p);

    r->is_extended = false;
    if (is_right && is_extended && parse_char(p, '(')) {
        if (!take_options(s, p, r, false))
            return false;
        is_right = parse_space(p);
    }
    if (!is_right || parse_astring(p, &reference) < 0 || !parse_space(p)) {
        session_bad(s, parse_end(p) ? "Missing arguments." : "Invalid arguments.");
        return false;
    }
    if (!take_patterns(s, p, r, reference))
        return false;
    if (is_extended && parse_space(p)) {
        if (!parse_word(p, "RETURN") || !parse_space(p) || !parse_char(p, '(')) {
            session_bad(s, "Invalid arguments.");
            return false;
        }
        if (!take_options(s, p, r, true))
            return false;
    }
    if (!parse_end(p)) {
        session_bad(s, "Invalid arguments.");
        return false;
    }
    return true;
}

static bool is_wanted(const struct request *r, struct span wire)
{
    for (size_t i = 0; i < r->count; i++) {
        if (pattern_matches(r->patterns[i], wire))
            return true;
    }
    return false;
}

/* --- the mailboxes --- */

/* INBOX stands first, the others in order. */
static struct store_mailbox *find_box(const struct store_listing *l, struct span name)
{
    size_t low = 0, high = l->boxes.len;

    if (high > 0 && span_eq(l->boxes.items[0].name, SPAN_LIT("INBOX"))) {
        if (span_eq(name, SPAN_LIT("INBOX")))
            return &l->boxes.items[0];
        low = 1;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = span_cmp(l->boxes.items[middle].name, name);
        if (order == 0)
            return &l->boxes.items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool parent_of(struct span name, struct span *parent)
{
    ptrdiff_t slash = span_rfind(name, '/');

    *parent = slash > 0 ? span_take(name, (size_t)slash) : SPAN_NONE;
    return slash > 0;
}

/* One flag for each mailbox: is another one below it? */
static unsigned char *find_parents(struct session *s, const struct store_listing *l)
{
    unsigned char *marks = arena_alloc(&s->arena, l->boxes.len + 1);
    struct span parent;

    for (size_t i = 0; i < l->boxes.len && marks != NULL; i++) {
        const struct store_mailbox *box;
        if (parent_of(l->boxes.items[i].name, &parent) && (box = find_box(l, parent)) != NULL)
            marks[box - l->boxes.items] = 1;
    }
    return marks;
}

static void add_word(struct str *out, struct span word)
{
    if (out->data[out->len - 1] != '(')
        str_append_char(out, ' ');
    str_append(out, word);
}

static void append_attributes(struct str *out, const struct request *r, const struct listed *l)
{
    bool is_there = l->box != NULL && (l->box->is_selectable || !r->is_extended);

    if (!is_there)
        add_word(out, SPAN_LIT("\\NonExistent"));
    else if (!l->box->is_selectable)
        add_word(out, SPAN_LIT("\\Noselect"));
    if (r->shows_subscribed && l->is_subscribed)
        add_word(out, SPAN_LIT("\\Subscribed"));
    if (r->shows_children || !r->is_extended)
        add_word(out, l->has_children ? SPAN_LIT("\\HasChildren") : SPAN_LIT("\\HasNoChildren"));
    if (l->box != NULL && l->box->special_use.n > 0 && (r->shows_special || !r->is_extended))
        add_word(out, l->box->special_use);
}

static void say_listed(struct session *s, const struct request *r, const struct listed *l)
{
    struct str line;

    str_init(&line, &s->client->budget);
    str_append_cstr(&line, "* LIST (");
    if (str_error(&line) == 0) {
        append_attributes(&line, r, l);
        str_append_cstr(&line, ") \"/\" ");
        imap_append_astring(&line, l->wire);
        str_append_cstr(&line, "\r\n");
    }
    if (str_error(&line) < 0)
        session_out_of_memory(s);
    else
        session_write(s, str_span(&line));
    str_fini(&line);
}

static bool is_shown(const struct request *r, const struct listed *l)
{
    if (r->only_special && (l->box == NULL || l->box->special_use.n == 0))
        return false;
    if (r->only_subscribed && !l->is_subscribed)
        return false;
    return is_wanted(r, l->wire);
}

static void list_one(struct session *s, const struct request *r, struct listed *l)
{
    struct str wire;

    str_init(&wire, &s->client->budget);
    if (imap_utf7_encode(&wire, l->name) == 0) {
        l->wire = str_span(&wire);
        if (is_shown(r, l))
            say_listed(s, r, l);
    }
    str_fini(&wire);
}

static void list_boxes(struct session *s, const struct request *r, const struct store_listing *all)
{
    unsigned char *has_children = find_parents(s, all);

    for (size_t i = 0; i < all->boxes.len && has_children != NULL && !s->is_over; i++) {
        const struct store_mailbox *box = &all->boxes.items[i];
        struct listed l = {
            .box = box,
            .name = box->name,
            .is_subscribed = box->is_subscribed,
            .has_children = has_children[i],
        };
        list_one(s, r, &l);
        (void)task_breathe();
    }
    for (size_t i = 0; i < all->subscriptions.len && r->only_subscribed && !s->is_over; i++) {
        struct listed l = {.name = all->subscriptions.items[i], .is_subscribed = true};
        if (find_box(all, l.name) == NULL)
            list_one(s, r, &l);
    }
}

/* The separator, and the root of the reference's hierarchy. */
static void say_root(struct session *s, struct span reference)
{
    struct str line;

    str_init(&line, &s->client->budget);
    str_append_cstr(&line, "* LIST (\\Noselect) \"/\" ");
    imap_append_astring(&line, span_take(reference, (size_t)(span_find(reference, '/') + 1)));
    str_append_cstr(&line, "\r\n");
    session_write(s, str_span(&line));
    str_fini(&line);
}

void command_list(struct session *s, struct parse *p)
{
    struct request r = {0};
    struct store_listing all = {0};
    int rc;

    if (!take_request(s, p, &r, true))
        return;
    if (r.is_root_asked && r.count == 1) {
        say_root(s, r.patterns[0]);
        session_ok(s, "List completed.");
        return;
    }
    rc = store_list(s->account, &s->arena, &all);
    if (rc == 0) {
        list_boxes(s, &r, &all);
        session_ok(s, "List completed.");
    } else {
        session_store_error(s, rc, "LIST");
    }
    store_listing_free(&all);
}

/* --- LSUB --- */

static bool is_in(const struct span *names, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++) {
        if (span_eq(names[i], name))
            return true;
    }
    return false;
}

static void say_subscription(struct session *s, struct span wire, const char *attributes)
{
    struct str line = {0};

    str_printf(&line, "* LSUB (%s) \"/\" ", attributes);
    imap_append_astring(&line, wire);
    str_append_cstr(&line, "\r\n");
    session_write(s, str_span(&line));
    str_fini(&line);
}

/* Names in order: those that start like this one stand next to it. */
static bool was_shown(struct span parent, struct span previous)
{
    return span_starts(previous, parent) && (previous.n == parent.n || previous.p[parent.n] == '/');
}

/* "foo/bar" is subscribed and "%" asks for "foo": that is how the client learns of
 * something below it (RFC 3501 6.3.9). */
static void say_parents(struct session *s, const struct request *r, const struct store_listing *all,
                        size_t index, struct span name)
{
    const struct span previous = index > 0 ? all->subscriptions.items[index - 1] : SPAN_LIT("");
    struct str wire;

    while (parent_of(name, &name)) {
        if (was_shown(name, previous) ||
            is_in(all->subscriptions.items, all->subscriptions.len, name))
            continue;
        str_init(&wire, &s->client->budget);
        if (imap_utf7_encode(&wire, name) == 0 && is_wanted(r, str_span(&wire)))
            say_subscription(s, str_span(&wire), "\\Noselect");
        str_fini(&wire);
    }
}

static bool ends_with_percent(const struct request *r)
{
    struct span pattern = r->patterns[0];

    return pattern.n > 0 && pattern.p[pattern.n - 1] == '%';
}

static void list_subscriptions(struct session *s, const struct request *r,
                               const struct store_listing *all)
{
    struct str wire;

    str_init(&wire, &s->client->budget);
    for (size_t i = 0; i < all->subscriptions.len && !s->is_over; i++) {
        struct span name = all->subscriptions.items[i];
        str_clear(&wire);
        if (imap_utf7_encode(&wire, name) == 0 && is_wanted(r, str_span(&wire)))
            say_subscription(s, str_span(&wire), "");
        if (ends_with_percent(r))
            say_parents(s, r, all, i, name);
        (void)task_breathe();
    }
    str_fini(&wire);
}

void command_lsub(struct session *s, struct parse *p)
{
    struct request r = {0};
    struct store_listing all = {0};
    int rc;

    if (!take_request(s, p, &r, false))
        return;
    rc = store_list(s->account, &s->arena, &all);
    if (rc == 0) {
        list_subscriptions(s, &r, &all);
        session_ok(s, "Lsub completed.");
    } else {
        session_store_error(s, rc, "LSUB");
    }
    store_listing_free(&all);
}
