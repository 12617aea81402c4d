/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 3501 6.3). */
#include <errno.h>

#include "base/error.h"
#include "imapd/commands.h"

static bool is_at_end(struct session *s, struct parse *p)
{
    if (parse_end(p))
        return true;
    session_bad(s, "Invalid arguments.");
    return false;
}

/* "name/" says that there will be mailboxes below it (RFC 3501 6.3.3): the same name. */
static void drop_separator(struct span *name)
{
    if (name->n > 0 && name->p[name->n - 1] == '/')
        name->n--;
}

/* --- CREATE --- */

static bool is_use_taken(struct session *s, struct span use)
{
    struct store_listing listing = {0};
    bool is_taken = false;

    if (store_list(s->account, &s->arena, &listing) == 0) {
        for (size_t i = 0; i < listing.boxes.len; i++)
            is_taken |= span_ieq(listing.boxes.items[i].special_use, use);
    }
    store_listing_free(&listing);
    return is_taken;
}

/* "Sent" becomes the account's \Sent, if it has none yet (imap_special_use_mailboxes). */
static struct span special_use(struct session *s, struct span name)
{
    struct span rest = span_cstr(session_settings.special_use), item;

    while (span_token(&rest, ", \t", &item)) {
        ptrdiff_t equals = span_find(item, '=');
        if (equals > 0 && span_eq(span_take(item, (size_t)equals), name)) {
            struct span use = span_drop(item, (size_t)equals + 1);
            return is_use_taken(s, use) ? SPAN_NONE : use;
        }
    }
    return SPAN_NONE;
}

void command_create(struct session *s, struct parse *p)
{
    struct span name;
    int rc;

    if (!session_take_mailbox(s, p, &name) || !is_at_end(s, p))
        return;
    drop_separator(&name);
    if (name.n == 0) {
        session_no(s, "[CANNOT] Invalid mailbox name: Name is empty");
        return;
    }
    rc = store_create(s->account, name, special_use(s, name));
    if (rc == 0)
        session_ok(s, "Create completed.");
    else if (rc == ERR_EXISTS)
        session_no(s, "[ALREADYEXISTS] Mailbox already exists");
    else if (rc == ERR_TOO_LONG || rc == ERR_SYNTAX)
        session_no(s, "[CANNOT] Invalid mailbox name");
    else
        session_store_error(s, rc, "CREATE");
}

/* --- DELETE, RENAME --- */

static void say_missing(struct session *s, struct span name)
{
    struct str text = {0};

    session_append_mailbox(&text, name);
    session_no(s, "[NONEXISTENT] Mailbox doesn't exist: %s", str_cstr(&text));
    str_fini(&text);
}

void command_delete(struct session *s, struct parse *p)
{
    struct span name;
    struct store_mailbox box;
    int rc;

    if (!session_take_mailbox(s, p, &name) || !is_at_end(s, p))
        return;
    if (span_eq(name, SPAN_LIT("INBOX"))) {
        session_no(s, "[CANNOT] INBOX can't be deleted.");
        return;
    }
    rc = store_find(s->account, name, &s->arena, &box);
    /* Whoever deletes the mailbox he works on is back in the authenticated state. */
    if (rc == 0 && s->view != NULL && s->view->mailbox == box.id)
        session_close_mailbox(s);
    if (rc == 0)
        rc = store_delete(s->account, name);
    if (rc == 0)
        session_ok(s, "Delete completed.");
    else if (rc == ERR_NOT_FOUND)
        say_missing(s, name);
    else if (rc == ERR_EXISTS)
        session_no(s, "[CANNOT] Mailbox has children, delete them first");
    else
        session_store_error(s, rc, "DELETE");
}

void command_rename(struct session *s, struct parse *p)
{
    struct span from, to;
    int rc;

    if (!session_take_mailbox(s, p, &from) || !session_take_mailbox(s, p, &to) || !is_at_end(s, p))
        return;
    drop_separator(&to);
    rc = to.n == 0 ? ERR_SYNTAX : store_rename(s->account, from, to);
    if (rc == 0)
        session_ok(s, "Rename completed.");
    else if (rc == ERR_NOT_FOUND)
        say_missing(s, from);
    else if (rc == ERR_EXISTS)
        session_no(s, "[ALREADYEXISTS] Target mailbox already exists");
    else if (rc == ERR_TOO_LONG || rc == ERR_SYNTAX)
        session_no(s, "[CANNOT] Invalid mailbox name");
    else if (rc == ERR_DENIED)
        session_no(s, "[CANNOT] Can't rename mailbox under itself");
    else
        session_store_error(s, rc, "RENAME");
}

/* --- subscriptions --- */

void command_subscribe(struct session *s, struct parse *p)
{
    struct span name;
    struct store_mailbox box;
    int rc;

    if (!session_take_mailbox(s, p, &name) || !is_at_end(s, p))
        return;
    drop_separator(&name);
    rc = store_find(s->account, name, &s->arena, &box);
    if (rc == ERR_NOT_FOUND) {
        say_missing(s, name);
        return;
    }
    if (rc == 0)
        rc = store_subscribe(s->account, name, true);
    if (rc == 0)
        session_ok(s, "Subscribe completed.");
    else
        session_store_error(s, rc, "SUBSCRIBE");
}

void command_unsubscribe(struct session *s, struct parse *p)
{
    struct span name;
    int rc;

    if (!session_take_mailbox(s, p, &name) || !is_at_end(s, p))
        return;
    drop_separator(&name);
    rc = store_subscribe(s->account, name, false);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        session_ok(s, "Unsubscribe completed.");
    else
        session_store_error(s, rc, "UNSUBSCRIBE");
}

/* --- STATUS --- */

enum {
    STATUS_MESSAGES = 1 << 0,
    STATUS_RECENT = 1 << 1,
    STATUS_UIDNEXT = 1 << 2,
    STATUS_UIDVALIDITY = 1 << 3,
    STATUS_UNSEEN = 1 << 4,
};

static const struct {
    const char *name;
    unsigned bit;
} status_items[] = {
    {"MESSAGES", STATUS_MESSAGES},       {"RECENT", STATUS_RECENT}, {"UIDNEXT", STATUS_UIDNEXT},
    {"UIDVALIDITY", STATUS_UIDVALIDITY}, {"UNSEEN", STATUS_UNSEEN},
};

static bool take_status_items(struct session *s, struct parse *p, unsigned *items)
{
    *items = 0;
    if (!parse_space(p) || !parse_char(p, '(')) {
        session_bad(s, "Status list is not parenthesized.");
        return false;
    }
    do {
        struct span name;
        unsigned bit = 0;
        if (parse_atom(p, &name) < 0) {
            session_bad(s, "Empty status list.");
            return false;
        }
        for (size_t i = 0; i < COUNT_OF(status_items); i++) {
            if (span_ieq(name, span_cstr(status_items[i].name)))
                bit = status_items[i].bit;
        }
        if (bit == 0) {
            session_bad(s, arena_printf(&s->arena, "Invalid status item %.*s", SPAN_ARG(name)));
            return false;
        }
        *items |= bit;
    } while (parse_space(p));
    if (parse_char(p, ')') && parse_end(p))
        return true;
    session_bad(s, "Invalid arguments.");
    return false;
}

static void say_status(struct session *s, const struct store_mailbox *box, unsigned items)
{
    const uint64_t values[COUNT_OF(status_items)] = {
        box->messages, box->recent, box->uidnext, box->uidvalidity, box->unseen,
    };
    struct str line = {0};
    bool is_first = true;

    str_append_cstr(&line, "* STATUS ");
    session_append_mailbox(&line, box->name);
    str_append_cstr(&line, " (");
    for (size_t i = 0; i < COUNT_OF(status_items); i++) {
        if ((items & status_items[i].bit) == 0)
            continue;
        str_printf(&line, "%s%s %llu", is_first ? "" : " ", status_items[i].name,
                   (unsigned long long)values[i]);
        is_first = false;
    }
    str_append_cstr(&line, ")\r\n");
    session_write(s, str_span(&line));
    str_fini(&line);
}

void command_status(struct session *s, struct parse *p)
{
    struct span name;
    struct store_mailbox box;
    unsigned items;
    int rc;

    if (!session_take_mailbox(s, p, &name) || !take_status_items(s, p, &items))
        return;
    rc = store_find(s->account, name, &s->arena, &box);
    if (rc == 0 && !box.is_selectable) {
        session_no(s, "[CANNOT] Mailbox is not selectable");
    } else if (rc == 0) {
        /* What is \Recent here is known here only. */
        if (s->view != NULL && s->view->mailbox == box.id)
            box.recent = s->view->recent.len;
        say_status(s, &box, items);
        session_ok(s, "Status completed.");
    } else if (rc == ERR_NOT_FOUND) {
        say_missing(s, name);
    } else {
        session_store_error(s, rc, "STATUS");
    }
}
