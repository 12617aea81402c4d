/* APPEND (RFC 3501 6.3.11, RFC 4315 3): the message goes from the stream to memory or a
 * file, and then into the store in one commit. */
#include "imapd/append.h"

#include <errno.h>

#include "base/error.h"
#include "imapd/commands.h"
#include "imapd/flags.h"
#include "imapd/spool.h"
#include "mail/date.h"

/* "{12}" CRLF or "{12+}" CRLF at the end of the text, its octets not read yet. */
static bool is_literal_pending(const struct parse *p)
{
    return p->rest.n > 4 && p->rest.p[0] == '{' &&
           span_find(p->rest, '}') == (ptrdiff_t)p->rest.n - 3;
}

static bool skip_flags(struct parse *p)
{
    ptrdiff_t close;

    if (!parse_char(p, '('))
        return true;
    close = span_find(p->rest, ')');
    if (close < 0)
        return false;
    p->rest = span_drop(p->rest, (size_t)close + 1);
    return parse_space(p);
}

bool append_is_message_next(struct session *s)
{
    struct parse p = {.rest = str_span(&s->reader.text), .arena = &s->arena};
    struct span word, date;

    if (parse_tag(&p, &word) < 0 || !parse_space(&p) || !parse_word(&p, "APPEND") ||
        !parse_space(&p))
        return false;
    if (is_literal_pending(&p)) /* that is the mailbox's name */
        return false;
    if (parse_astring(&p, &word) < 0 || !parse_space(&p) || !skip_flags(&p))
        return false;
    if (p.rest.n > 0 && p.rest.p[0] == '"' && (parse_string(&p, &date) < 0 || !parse_space(&p)))
        return false;
    return is_literal_pending(&p);
}

struct request {
    struct store_mailbox box;
    struct flag_list flags;
    struct mail_date date;
    bool has_date;
};

static bool take_mailbox(struct session *s, struct parse *p, struct request *r)
{
    struct span name;
    struct str text = {0};
    int rc;

    if (!session_take_mailbox(s, p, &name))
        return false;
    rc = store_find(s->account, name, &s->arena, &r->box);
    if (rc == ERR_NOT_FOUND || (rc == 0 && !r->box.is_selectable)) {
        session_append_mailbox(&text, name);
        session_no(s, "[TRYCREATE] Mailbox doesn't exist: %s", str_cstr(&text));
        str_fini(&text);
    } else if (rc < 0) {
        session_store_error(s, rc, "APPEND");
    }
    return rc == 0 && r->box.is_selectable;
}

/* " [(flags) ]["date" ]{size}": everything before the message. */
static bool take_request(struct session *s, struct parse *p, struct request *r)
{
    struct span text;

    if (!take_mailbox(s, p, r))
        return false;
    if (!parse_space(p)) {
        session_bad(s, "Missing arguments.");
        return false;
    }
    if (p->rest.n > 0 && p->rest.p[0] == '(') {
        if (!flags_take(s, p, false, &r->flags))
            return false;
        if (!parse_space(p)) {
            session_bad(s, "Invalid arguments.");
            return false;
        }
    }
    if (p->rest.n > 0 && p->rest.p[0] == '"') {
        r->has_date = true;
        if (parse_string(p, &text) < 0 || date_parse_imap(text, &r->date) < 0 || !parse_space(p)) {
            session_bad(s, "Invalid internal date.");
            return false;
        }
    }
    if (is_literal_pending(p) && s->reader.has_literal)
        return true;
    session_bad(s, "Invalid arguments.");
    return false;
}

/* The literal's octets. When they cannot be kept, *kept says why, and the rest is read all
 * the same: it is not for the client's next commands. Negative: the client is lost. */
static int receive(struct session *s, struct spool *spool, int *kept)
{
    uint64_t left = s->reader.literal_size;
    struct span octets;
    int rc = 0;

    if (s->reader.is_synchronising)
        rc = stream_printf(s->stream, session_patience(), "+ OK\r\n");
    s->reader.has_literal = false;
    *kept = 0;
    while (rc == 0 && left > 0) {
        rc = stream_peek(s->stream, 1, &octets, session_patience());
        if (rc < 0)
            return rc;
        octets = span_take(octets, left);
        left -= octets.n;
        if (*kept == 0)
            *kept = spool_feed(spool, octets);
        stream_consume(s->stream, octets.n);
    }
    if (rc == 0 && *kept == 0)
        *kept = spool_finish(spool);
    return rc;
}

/* What comes after the message: nothing but the end of the command. Further literals stay
 * for the caller to skip. */
static int receive_end(struct session *s, bool *is_right)
{
    int rc;

    str_clear(&s->reader.text);
    rc = reader_line(&s->reader, session_patience());
    *is_right = rc == 0 && !s->reader.has_literal && s->reader.text.len == 0;
    return rc == ERR_TOO_LONG ? 0 : rc;
}

static void commit(struct session *s, const struct request *r, struct spool *spool)
{
    struct store_append message = {
        .content = str_span(&spool->text),
        .fd = spool->fd,
        .length = spool->length,
        .internal_date = r->has_date ? r->date.seconds : 0,
        .date_zone = (int16_t)(r->has_date ? r->date.zone : 0),
        .flags = r->flags.flags,
        .keywords = r->flags.keywords,
        .keyword_count = r->flags.keyword_count,
    };
    struct store_appended done;
    int rc = store_append(s->account, r->box.id, &message, 1, &done);

    if (rc == 0)
        session_ok(s, "[APPENDUID %u %u] Append completed.", done.uidvalidity, done.uid);
    else if (rc == ERR_NOT_FOUND)
        session_no(s, "[TRYCREATE] Mailbox doesn't exist");
    else
        flags_say_error(s, &r->flags, rc, "APPEND");
}

static void receive_and_commit(struct session *s, const struct request *r)
{
    struct spool spool;
    bool is_right = false;
    int kept, rc;

    spool_init(&spool, session_settings.directory, &s->client->budget);
    rc = receive(s, &spool, &kept);
    if (rc == 0)
        rc = receive_end(s, &is_right);
    if (rc < 0)
        session_lost(s, rc);
    else if (kept < 0)
        session_store_error(s, kept, "APPEND");
    else if (!is_right)
        session_bad(s, "Invalid arguments.");
    else
        commit(s, r, &spool);
    spool_fini(&spool);
}

void command_append(struct session *s, struct parse *p)
{
    struct request r = {0};

    if (!take_request(s, p, &r))
        return;
    if (session_settings.message_limit > 0 &&
        s->reader.literal_size > session_settings.message_limit)
        session_no(s, "[TOOBIG] Message is larger than %llu octets",
                   (unsigned long long)session_settings.message_limit);
    else if (s->reader.literal_size == 0)
        session_no(s, "Can't save a zero byte message.");
    else
        receive_and_commit(s, &r);
}
