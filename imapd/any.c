/* Commands that need no mailbox (RFC 3501 6.1), ID, ENABLE, NAMESPACE and IDLE. */
#include <errno.h>

#include "base/error.h"
#include "imapd/capability.h"
#include "imapd/commands.h"
#include "imapd/sync.h"

enum { PARK_MS = 1000 };

/* Commands without arguments; blanks at the end do no harm. */
static bool is_bare(struct session *s, struct parse *p)
{
    while (parse_space(p))
        ;
    if (parse_end(p))
        return true;
    session_bad(s, "Invalid arguments.");
    return false;
}

void command_capability(struct session *s, struct parse *p)
{
    if (!is_bare(s, p))
        return;
    session_say(s, "* CAPABILITY %s", CAPABILITY_SESSION);
    session_ok(s, "Capability completed.");
}

void command_noop(struct session *s, struct parse *p)
{
    if (is_bare(s, p))
        session_ok(s, "NOOP completed.");
}

/* Every change is on disk when it was answered: nothing to do but to look around. */
void command_check(struct session *s, struct parse *p)
{
    if (is_bare(s, p))
        session_ok(s, "Check completed.");
}

void command_logout(struct session *s, struct parse *p)
{
    if (!is_bare(s, p))
        return;
    session_say(s, "* BYE Logging out");
    session_say(s, "%s OK Logout completed.", str_cstr(&s->tag));
    if (!s->is_over)
        s->disconnect = "Disconnected: Logged out";
    s->is_over = true;
}

/* --- ID (RFC 2971) --- */

/* "NIL" or "(" string SP nstring ... ")"; what the client says of itself is not kept. */
static bool take_client_id(struct parse *p)
{
    enum { PAIRS_MAX = 30 };
    struct span name, value;
    unsigned pairs = 0;

    if (!parse_space(p) || parse_word(p, "NIL"))
        return parse_end(p);
    if (!parse_char(p, '('))
        return false;
    if (parse_char(p, ')'))
        return parse_end(p);
    do {
        if (pairs++ == PAIRS_MAX || parse_string(p, &name) < 0 || !parse_space(p) ||
            parse_nstring(p, &value) < 0)
            return false;
    } while (parse_space(p));
    return parse_char(p, ')') && parse_end(p);
}

void command_id(struct session *s, struct parse *p)
{
    if (!take_client_id(p)) {
        session_bad(s, "Invalid arguments.");
        return;
    }
    session_say(s, "* ID (\"name\" \"Waypost\")");
    session_ok(s, "ID completed.");
}

/* --- ENABLE (RFC 5161) --- */

/* No extension here changes what clients get without asking: what is asked for is
 * unknown or always on, and nothing is listed. */
void command_enable(struct session *s, struct parse *p)
{
    struct span capability;
    unsigned count = 0;

    while (parse_space(p)) {
        if (parse_atom(p, &capability) < 0)
            break;
        count++;
    }
    if (count == 0 || !parse_end(p)) {
        session_bad(s, "Invalid arguments.");
        return;
    }
    session_say(s, "* ENABLED");
    session_ok(s, "Enabled.");
}

/* --- NAMESPACE (RFC 2342) --- */

void command_namespace(struct session *s, struct parse *p)
{
    if (!is_bare(s, p))
        return;
    session_say(s, "* NAMESPACE ((\"\" \"/\")) NIL NIL");
    session_ok(s, "Namespace completed.");
}

/* --- IDLE (RFC 2177) --- */

/* The client ended IDLE: with DONE, or with nonsense. */
static int take_done(struct session *s)
{
    struct span line;
    int rc = stream_read_line(s->stream, session_settings.line_limit, &line, session_patience());

    if (rc == ERR_TOO_LONG)
        rc = stream_skip_line(s->stream, session_patience());
    else if (rc == 0 && span_ieq(span_trim(line), SPAN_LIT("DONE"))) {
        session_ok(s, "Idle completed.");
        return 0;
    }
    if (rc == 0)
        str_set(&s->answer, SPAN_LIT("BAD Expected DONE."));
    return rc;
}

/* News until nothing is new. */
static void say_news(struct session *s, const struct store_watch *watch)
{
    uint64_t seen;

    do {
        seen = store_watch_count(watch);
        sync_mailbox(s, true);
    } while (!s->is_over && store_watch_count(watch) != seen);
}

/* Until the client speaks: news as it happens, and a sign of life now and then. A view
 * that nothing happens to is put away. */
static int wait_idle(struct session *s, struct store_watch *watch)
{
    deadline_t patience = session_patience(), notify = deadline_in(session_settings.notify_ms);
    deadline_t park = DEADLINE_NONE;
    int rc = 1;

    while (!s->is_over) {
        if (rc == 1) {
            say_news(s, watch);
            park = s->view != NULL ? deadline_in(PARK_MS) : DEADLINE_NONE;
        }
        rc = stream_wait_input(s->stream, store_watch_cond(watch),
                               deadline_min(park, deadline_min(patience, notify)));
        if (rc == 0)
            return 0;
        if (rc == -ETIMEDOUT && park <= clock_mono_ms()) {
            store_view_park(s->view);
            park = DEADLINE_NONE;
        } else if (rc == -ETIMEDOUT && notify < patience) {
            session_say(s, "* OK Still here");
            notify = deadline_in(session_settings.notify_ms);
        } else if (rc < 0) {
            return rc;
        }
    }
    return ERR_EOF;
}

void command_idle(struct session *s, struct parse *p)
{
    struct store_watch *watch;
    int rc;

    if (!is_bare(s, p))
        return;
    rc = store_watch_start(s->account, &watch);
    if (rc < 0) {
        session_store_error(s, rc, "watching the account");
        return;
    }
    session_say(s, "+ idling");
    /* What the command took goes back before the long wait. */
    reader_clear(&s->reader);
    arena_reset(&s->arena);
    rc = wait_idle(s, watch);
    if (rc == 0)
        rc = take_done(s);
    store_watch_stop(watch);
    if (rc < 0 && !s->is_over)
        session_lost(s, rc);
}
