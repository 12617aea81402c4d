/* STORE, COPY (RFC 3501 6.4.6, 6.4.7; RFC 4315), MOVE (RFC 6851). */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "imapd/commands.h"
#include "imapd/flags.h"
#include "imapd/set.h"
#include "imapd/sync.h"

/* --- STORE --- */

struct change {
    enum store_flag_op op;
    bool is_silent;
    struct flag_list list;
    uint64_t keywords; /* of the list; the view may not have them yet */
};

static bool take_operation(struct session *s, struct parse *p, struct change *c)
{
    struct span item;

    if (!parse_space(p) || parse_atom(p, &item) < 0) {
        session_bad(s, "Missing arguments.");
        return false;
    }
    c->op = item.p[0] == '+'   ? STORE_FLAGS_ADD
            : item.p[0] == '-' ? STORE_FLAGS_REMOVE
                               : STORE_FLAGS_SET;
    if (c->op != STORE_FLAGS_SET)
        item = span_drop(item, 1);
    c->is_silent = span_iends(item, SPAN_LIT(".SILENT"));
    if (c->is_silent)
        item.n -= SPAN_LIT(".SILENT").n;
    if (!span_ieq(item, SPAN_LIT("FLAGS")) || !parse_space(p)) {
        session_bad(s, "Invalid arguments.");
        return false;
    }
    return true;
}

/* The flags a message will have, by what this session knows of it. */
static void apply(const struct change *c, const struct store_message *m, uint32_t *flags,
                  uint64_t *keywords)
{
    switch (c->op) {
    case STORE_FLAGS_SET:
        *flags = c->list.flags;
        *keywords = c->keywords;
        break;
    case STORE_FLAGS_ADD:
        *flags = m->flags | c->list.flags;
        *keywords = m->keywords | c->keywords;
        break;
    case STORE_FLAGS_REMOVE:
        *flags = m->flags & ~c->list.flags;
        *keywords = m->keywords & ~c->keywords;
        break;
    }
}

static int change_flags(struct session *s, const struct set *set, struct change *c)
{
    struct store_flag_change change = {.op = c->op,
                                       .flags = c->list.flags,
                                       .keywords = c->list.keywords,
                                       .keyword_count = c->list.keyword_count};
    uint32_t *uids = set_uids(s, set);
    uint32_t flags = 0;
    uint64_t keywords = 0, deleted = 0;
    int rc = uids == NULL ? -ENOMEM : 0;

    if (rc == 0 && set->numbers.len > 0)
        rc = store_set_flags(s->view, uids, set->numbers.len, &change, NULL);
    c->keywords = change.keyword_bits;
    free(uids);
    for (size_t i = 0; i < set->numbers.len && rc == 0; i++) {
        const struct store_message *m = &s->view->messages.items[set->numbers.items[i] - 1];
        apply(c, m, &flags, &keywords);
        deleted += (flags & ~m->flags & STORE_DELETED) != 0;
        if (c->is_silent)
            rc = sync_note_told(s, m->uid, flags, keywords);
    }
    s->deleted += deleted;
    return rc;
}

void command_store(struct session *s, struct parse *p)
{
    struct change c = {0};
    struct set set = {0};
    int rc;

    if (!set_take(s, p, &set))
        return;
    if (!take_operation(s, p, &c))
        goto out;
    if (s->is_read_only) {
        session_no(s, "[READ-ONLY] Mailbox is read-only");
        goto out;
    }
    if (!flags_take(s, p, true, &c.list))
        goto out;
    if (!parse_end(p)) {
        session_bad(s, "Invalid arguments.");
        goto out;
    }
    rc = change_flags(s, &set, &c);
    if (rc == 0)
        session_ok(s, "Store completed.");
    else
        flags_say_error(s, &c.list, rc, "STORE");
out:
    set_free(&set);
}

/* --- COPY, MOVE --- */

static bool take_target(struct session *s, struct parse *p, struct store_mailbox *box)
{
    struct span name;
    struct str text = {0};
    int rc;

    if (!session_take_mailbox(s, p, &name))
        return false;
    if (!parse_end(p)) {
        session_bad(s, "Invalid arguments.");
        return false;
    }
    rc = store_find(s->account, name, &s->arena, box);
    if (rc == ERR_NOT_FOUND || (rc == 0 && !box->is_selectable)) {
        session_append_mailbox(&text, name);
        session_no(s, "[TRYCREATE] Mailbox doesn't exist: %s", str_cstr(&text));
        str_fini(&text);
        return false;
    }
    if (rc < 0)
        session_store_error(s, rc, "COPY");
    return rc == 0;
}

/* "38505 304,319:320 3956:3958" (RFC 4315 3). */
static int append_copyuid(struct str *out, const struct store_copied *copied)
{
    str_printf(out, "%u ", copied->uidvalidity);
    set_append(out, copied->from.items, copied->from.len);
    str_append_char(out, ' ');
    return set_append(out, copied->to.items, copied->to.len);
}

static void say_copied(struct session *s, const struct store_copied *copied, bool is_move)
{
    struct str sets;

    str_init(&sets, &s->client->budget);
    if (copied->to.len == 0) {
        session_ok(s, "No messages found.");
    } else if (append_copyuid(&sets, copied) < 0) {
        session_ok(s, is_move ? "Move completed." : "Copy completed.");
    } else if (is_move) {
        session_say(s, "* OK [COPYUID %s] Moved UIDs.", str_cstr(&sets));
        session_ok(s, "Move completed.");
    } else {
        session_ok(s, "[COPYUID %s] Copy completed.", str_cstr(&sets));
    }
    str_fini(&sets);
}

static void transfer(struct session *s, struct parse *p, bool is_move)
{
    struct set set = {0};
    struct store_mailbox box;
    struct store_copied copied = {0};
    uint32_t *uids;
    int rc;

    if (!set_take(s, p, &set))
        return;
    if (take_target(s, p, &box)) {
        if (is_move && s->is_read_only) {
            session_no(s, "[READ-ONLY] Mailbox is read-only");
        } else {
            uids = set_uids(s, &set);
            rc = uids == NULL ? -ENOMEM : 0;
            if (rc == 0 && set.numbers.len > 0)
                rc = store_copy(s->view, uids, set.numbers.len, box.id, is_move, &copied);
            free(uids);
            if (rc == 0) {
                say_copied(s, &copied, is_move);
                s->expunged += is_move ? copied.from.len : 0;
            } else {
                session_store_error(s, rc, is_move ? "MOVE" : "COPY");
            }
            store_copied_free(&copied);
        }
    }
    set_free(&set);
}

void command_copy(struct session *s, struct parse *p)
{
    transfer(s, p, false);
}

void command_move(struct session *s, struct parse *p)
{
    transfer(s, p, true);
}
