/*
 * Address lists (RFC 5322 3.4). The grammar is tried from the most special form to the most
 * general one, as Dovecot does: group, name and angle address, bare address; what is left
 * over makes an item that says what is missing.
 */
#include <errno.h>

#include "mail/addrlist.h"
#include "mail/token.h"

struct list_parser {
    struct arena *arena;
    struct token_reader r;
    struct str text, comment;  /* scratch */
    struct addrlist_item item; /* the one being read */
    struct addrlist_item **tail;
    unsigned left; /* items that may still be added */
    int error;
};

static struct span take_text(struct list_parser *l, const struct str *text)
{
    struct span copy = SPAN_LIT("");

    if (str_error(text) != 0 || arena_copy(l->arena, str_span(text), &copy) < 0)
        l->error = -ENOMEM;
    return copy;
}

static bool is_at(const struct list_parser *l, char c)
{
    return !token_at_end(&l->r) && *l->r.p == c;
}

static void add_item(struct list_parser *l)
{
    struct addrlist_item *item;

    if (l->left == 0)
        return;
    l->left--;
    item = ARENA_NEW(l->arena, struct addrlist_item);
    if (item == NULL) {
        l->error = -ENOMEM;
        return;
    }
    *item = l->item;
    l->item = (struct addrlist_item){0};
    *l->tail = item;
    l->tail = &item->next;
}

static void add_mailbox(struct list_parser *l)
{
    if (l->item.mailbox.p == NULL) {
        l->item.mailbox = SPAN_LIT("MISSING_MAILBOX");
        l->item.is_broken = true;
    }
    if (l->item.domain.n == 0) {
        l->item.domain = SPAN_LIT("MISSING_DOMAIN");
        l->item.is_broken = true;
    }
    add_item(l);
}

static int read_local_part(struct list_parser *l)
{
    int left;

    str_clear(&l->text);
    left = *l->r.p == '"' ? token_quoted(&l->r, &l->text) : token_loose_dot_atom(&l->r, &l->text);
    if (left >= 0)
        l->item.mailbox = take_text(l, &l->text);
    return left;
}

static int read_domain(struct list_parser *l)
{
    int left;

    str_clear(&l->text);
    left = token_domain(&l->r, &l->text);
    if (left >= 0)
        l->item.domain = take_text(l, &l->text);
    return left;
}

/* obs-domain-list: "@one,@two" in front of ':'. */
static int read_route(struct list_parser *l)
{
    str_clear(&l->text);
    while (is_at(l, '@')) {
        int left;

        if (l->text.len > 0)
            str_append_char(&l->text, ',');
        str_append_char(&l->text, '@');
        left = token_domain(&l->r, &l->text);
        if (left <= 0)
            return left;
        while (token_skip_blanks(&l->r) > 0 && *l->r.p == ',')
            l->r.p++;
    }
    if (token_at_end(&l->r))
        return 0;
    l->item.route = take_text(l, &l->text);
    return 1;
}

/* At '<'. */
static int read_angle_address(struct list_parser *l)
{
    l->r.p++;
    if (token_skip_blanks(&l->r) <= 0)
        return -1;
    if (*l->r.p == '@') {
        if (read_route(l) > 0 && *l->r.p == ':') {
            l->r.p++;
        } else {
            l->item.route = SPAN_LIT("INVALID_ROUTE");
            if (token_at_end(&l->r))
                return -1;
        }
        if (token_skip_blanks(&l->r) <= 0)
            return -1;
    }
    if (*l->r.p != '>') {
        if (read_local_part(l) <= 0)
            return -1;
        if (*l->r.p == '@' && read_domain(l) <= 0)
            return -1;
    }
    if (!is_at(l, '>'))
        return -1;
    l->r.p++;
    return token_skip_blanks(&l->r);
}

/* [display-name] angle-addr; -1: this is something else. */
static int read_name_address(struct list_parser *l)
{
    str_clear(&l->text);
    if (token_phrase(&l->r, &l->text) <= 0 || *l->r.p != '<')
        return -1;
    if (l->text.len > 0)
        l->item.name = take_text(l, &l->text);
    if (read_angle_address(l) < 0) {
        l->item.domain = SPAN_LIT("SYNTAX_ERROR");
        l->item.is_broken = true;
    }
    return !token_at_end(&l->r);
}

/* No '@' came: one word is taken for a mailbox, more for a display name. */
static void read_nameless(struct list_parser *l, bool was_quoted)
{
    size_t length;

    str_append_char(&l->text, ' ');
    length = l->text.len;
    (void)token_phrase(&l->r, &l->text);
    if (l->text.len != length) {
        l->item.mailbox = SPAN_NONE;
        l->item.name = take_text(l, &l->text);
    } else if (!was_quoted) {
        l->item.domain = SPAN_LIT("");
    }
    l->item.is_broken = true;
}

/* local-part "@" domain, with a trailing comment as the name. */
static int read_bare_address(struct list_parser *l)
{
    bool was_quoted = is_at(l, '"'), has_domain = false;
    int left;

    str_clear(&l->comment);
    left = read_local_part(l);
    if (left <= 0)
        l->item.is_broken = true;
    if (left != 0 && is_at(l, '@')) {
        int left_domain = read_domain(l);

        has_domain = true;
        if (left_domain <= 0)
            left = left_domain;
    }
    if (l->comment.len > 0) {
        l->item.name = take_text(l, &l->comment);
    } else if (!has_domain) {
        read_nameless(l, was_quoted);
        left = -1;
    }
    return left;
}

static int read_mailbox(struct list_parser *l)
{
    const char *start = l->r.p;
    int left = read_name_address(l);

    if (left < 0) {
        l->r.p = start;
        left = read_bare_address(l);
        if (l->item.is_broken && l->item.name.p == NULL && l->item.mailbox.p != NULL &&
            l->item.domain.p == NULL) {
            l->item.name = l->item.mailbox;
            l->item.mailbox = SPAN_NONE;
        }
    }
    if (left < 0)
        l->item.is_broken = true;
    add_mailbox(l);
    return left;
}

/* display-name ":" [mailbox-list] ";"; -1: this is no group. */
static int read_group(struct list_parser *l)
{
    int left;

    str_clear(&l->text);
    if (token_phrase(&l->r, &l->text) <= 0 || *l->r.p != ':')
        return -1;
    l->r.p++;
    left = token_skip_blanks(&l->r);
    l->item.is_broken = left <= 0;
    l->item.mailbox = take_text(l, &l->text);
    add_item(l);
    if (left > 0 && *l->r.p != ';') {
        for (;;) {
            (void)read_mailbox(l);
            if (!is_at(l, ','))
                break;
            l->r.p++;
            if (token_skip_blanks(&l->r) <= 0) {
                left = -1;
                break;
            }
        }
    }
    if (left >= 0) {
        if (is_at(l, ';')) {
            l->r.p++;
            left = token_skip_blanks(&l->r);
        } else {
            left = -1;
        }
    }
    l->item.is_broken = left < 0;
    add_item(l);
    return left == 0 ? 0 : 1;
}

static void read_list(struct list_parser *l)
{
    while (l->left > 0 && l->error == 0) {
        const char *start = l->r.p;
        int left = read_group(l);

        if (left < 0) {
            l->r.p = start;
            left = read_mailbox(l);
        }
        if (left == 0 || !is_at(l, ','))
            return;
        l->r.p++;
        left = token_skip_blanks(&l->r);
        if (left < 0)
            add_mailbox(l);
        if (left <= 0)
            return;
    }
}

int addrlist_parse(struct arena *arena, struct span value, unsigned items_max,
                   struct addrlist_item **list)
{
    struct list_parser l = {
        .arena = arena,
        .r = token_begin(value),
        .tail = list,
        .left = items_max,
    };

    *list = NULL;
    str_init(&l.text, arena->budget);
    str_init(&l.comment, arena->budget);
    l.r.comment = &l.comment;
    if (token_skip_blanks(&l.r) > 0)
        read_list(&l);
    str_fini(&l.text);
    str_fini(&l.comment);
    return l.error;
}
