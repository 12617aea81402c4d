/* SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE (RFC 3501 6.3.1, 6.4; RFC 3691, RFC 4315). */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "imapd/commands.h"
#include "imapd/flags.h"
#include "imapd/set.h"
#include "imapd/sync.h"

static void say_missing(struct session *s, struct span name)
{
    struct str text = {0};

    session_append_mailbox(&text, name);
    session_no(s, "[NONEXISTENT] Mailbox doesn't exist: %s", str_cstr(&text));
    str_fini(&text);
}

/* The number of the first unseen message, 0 if none; keywords in use on the way. */
static size_t survey(const struct store_view *v, uint64_t *keywords)
{
    size_t first = 0;

    *keywords = 0;
    for (size_t i = 0; i < v->messages.len; i++) {
        *keywords |= v->messages.items[i].keywords;
        if (first == 0 && (v->messages.items[i].flags & STORE_SEEN) == 0)
            first = i + 1;
    }
    return first;
}

static void describe(struct session *s)
{
    const struct store_view *v = s->view;
    size_t unseen = survey(v, &s->shown_keywords);

    flags_say(s);
    sync_say_count(s);
    if (unseen > 0)
        session_say(s, "* OK [UNSEEN %zu] First unseen.", unseen);
    session_say(s, "* OK [UIDVALIDITY %u] UIDs valid", v->uidvalidity);
    session_say(s, "* OK [UIDNEXT %llu] Predicted next UID", (unsigned long long)v->uidnext);
}

static void open_mailbox(struct session *s, struct parse *p, bool read_only)
{
    struct span name;
    struct store_mailbox box;
    int rc;

    if (!session_take_mailbox(s, p, &name))
        return;
    if (!parse_end(p)) {
        session_bad(s, "Invalid arguments.");
        return;
    }
    /* The old one is left whatever becomes of the new one (RFC 3501 6.3.1). */
    if (s->view != NULL)
        session_say(s, "* OK [CLOSED] Previous mailbox closed.");
    session_close_mailbox(s);
    rc = store_find(s->account, name, &s->arena, &box);
    if (rc == 0 && !box.is_selectable) {
        session_no(s, "[CANNOT] Mailbox is not selectable");
        return;
    }
    if (rc == 0)
        rc = store_view_open(s->account, box.id, read_only, &s->view);
    if (rc < 0) {
        s->view = NULL;
        if (rc == ERR_NOT_FOUND)
            say_missing(s, name);
        else
            session_store_error(s, rc, "SELECT");
        return;
    }
    s->is_read_only = read_only;
    describe(s);
    if (read_only)
        session_ok(s, "[READ-ONLY] Examine completed.");
    else
        session_ok(s, "[READ-WRITE] Select completed.");
}

void command_select(struct session *s, struct parse *p)
{
    open_mailbox(s, p, false);
}

void command_examine(struct session *s, struct parse *p)
{
    open_mailbox(s, p, true);
}

/* --- expunging --- */

/* Messages that carry \Deleted, by what this session knows: for the statistics. */
static uint64_t count_deleted(const struct store_view *v)
{
    uint64_t count = 0;

    for (size_t i = 0; i < v->messages.len; i++)
        count += (v->messages.items[i].flags & STORE_DELETED) != 0;
    return count;
}

static int expunge_all(struct session *s)
{
    uint64_t count = count_deleted(s->view);
    int rc = store_expunge(s->view, NULL, 0, false);

    if (rc == 0)
        s->expunged += count;
    return rc;
}

void command_close(struct session *s, struct parse *p)
{
    int rc = 0;

    if (!parse_end(p)) {
        session_bad(s, "Invalid arguments.");
        return;
    }
    if (!s->is_read_only)
        rc = expunge_all(s);
    session_close_mailbox(s);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        session_store_error(s, rc, "CLOSE");
    else
        session_ok(s, "Close completed.");
}

void command_unselect(struct session *s, struct parse *p)
{
    if (!parse_end(p)) {
        session_bad(s, "Invalid arguments.");
        return;
    }
    session_close_mailbox(s);
    session_ok(s, "Unselect completed.");
}

/* UID EXPUNGE (RFC 4315 2.1): those of the set that carry \Deleted. */
static int expunge_set(struct session *s, const struct set *set)
{
    uint32_t *uids = set_uids(s, set);
    int rc;

    if (uids == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < set->numbers.len; i++)
        s->expunged +=
            (s->view->messages.items[set->numbers.items[i] - 1].flags & STORE_DELETED) != 0;
    rc = set->numbers.len > 0 ? store_expunge(s->view, uids, set->numbers.len, false) : 0;
    free(uids);
    return rc;
}

void command_expunge(struct session *s, struct parse *p)
{
    struct set set = {0};
    int rc;

    if (s->by_uid && !set_take(s, p, &set))
        return;
    if (!parse_end(p)) {
        session_bad(s, "Invalid arguments.");
    } else if (s->is_read_only) {
        session_no(s, "[READ-ONLY] Mailbox is read-only");
    } else {
        rc = s->by_uid ? expunge_set(s, &set) : expunge_all(s);
        if (rc == 0)
            session_ok(s, "Expunge completed.");
        else
            session_store_error(s, rc, "EXPUNGE");
    }
    set_free(&set);
}
