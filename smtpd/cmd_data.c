/*
 * cmd_data.c: DATA (RFC 5321 4.1.1.4) and BDAT (RFC 3030): the message.
 *
 * Once a message has begun it is read to its end, whatever happens: what the
 * client still sends must never be taken for commands.
 */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "smtpd/data_reader.h"
#include "smtpd/session.h"

/* When the next octets must be there. With smtpd_per_request_deadline the whole
 * message has smtpd_timeout, and every octet buys time (smtpd_min_data_rate). */
struct pace {
    deadline_t deadline;
    int64_t rate;
    int64_t timeout_ms;
    bool per_request;
};

static struct pace pace_begin(const struct session *s)
{
    return (struct pace){.deadline = session_deadline(s),
                         .rate = s->server->min_data_rate,
                         .timeout_ms = s->server->timeout_ms,
                         .per_request = s->server->per_request_deadline};
}

static deadline_t pace_next(struct pace *p, size_t octets)
{
    if (!p->per_request)
        return deadline_in(p->timeout_ms);
    if (p->rate > 0)
        p->deadline += (int64_t)octets * 1000 / p->rate;
    p->deadline = deadline_min(p->deadline, deadline_in(p->timeout_ms));
    return p->deadline;
}

static bool is_strict(struct session *s)
{
    return s->server->bare_newline != BARE_NEWLINE_ALLOW &&
           (s->server->bare_newline_exclusions == NULL ||
            map_match_find(s->server->bare_newline_exclusions, s->address) != 0);
}

/* "DATA (123 bytes)" for the log line about a client that went away. */
static void note_progress(struct session *s, const char *verb)
{
    const char *text =
        arena_printf(&s->tx.arena, "%s (%llu bytes)", verb, (unsigned long long)s->tx.intake->size);

    if (text != NULL)
        s->command = arena_strdup(&s->arena, span_cstr(text));
    if (s->command == NULL)
        s->command = verb;
}

/* The commands in front: true when DATA or BDAT may begin a message. */
static bool may_begin(struct session *s, const char *verb)
{
    struct transaction *tx = &s->tx;

    if (tx->recipients.len == 0) {
        if (!tx->is_open)
            session_reply(s, "503 5.5.1 Error: need RCPT command");
        else
            session_reply(s, "554 5.5.1 Error: no valid recipients");
        return false;
    }
    s->command = verb;
    if (restrict_is_set(s->server->restrictions, RESTRICT_DATA) &&
        restrict_run(s, RESTRICT_DATA) == RESTRICT_REJECT) {
        session_reply_text(s, str_span(&s->reply_text));
        return false;
    }
    if (submit_begin(s) < 0) {
        session_reply(s, "451 4.3.0 Error: queue file write error");
        return false;
    }
    tx->reader = ARENA_NEW(&tx->arena, struct data_reader);
    if (tx->reader == NULL) {
        session_reply(s, "452 4.3.1 Insufficient memory");
        return false;
    }
    return true;
}

/* The client is gone, or silent, in mid-message. */
static enum command_result lost(struct session *s, const char *verb, int error)
{
    note_progress(s, verb);
    s->io_error = error;
    return COMMAND_REFUSED;
}

static int read_message(struct session *s)
{
    struct transaction *tx = &s->tx;
    struct pace pace = pace_begin(s);
    deadline_t deadline = pace.deadline;

    for (;;) {
        struct span avail, text, before;
        enum data_event event;
        int rc = stream_peek(s->stream, 1, &avail, deadline);

        if (rc < 0)
            return rc;
        before = avail;
        while ((event = data_next(tx->reader, &avail, &text)) == DATA_TEXT)
            (void)intake_feed(tx->intake, text); /* its error shows at the end */
        stream_consume(s->stream, before.n - avail.n);
        if (event == DATA_END)
            return 0;
        deadline = pace_next(&pace, before.n - avail.n);
        (void)task_breathe();
    }
}

/* The message is complete: refuse it, or hand it to the queue. */
static enum command_result end_message(struct session *s)
{
    struct transaction *tx = &s->tx;
    const char *refusal;

    s->command = "END-OF-MESSAGE";
    (void)intake_finish(tx->intake);
    if (tx->reader->saw_bare_lf && s->server->bare_newline == BARE_NEWLINE_REJECT && is_strict(s)) {
        log_info("%s: reject: bare <LF> received after %s from %.*s", session_queue_id(s),
                 tx->is_chunked ? "BDAT" : "DATA", SPAN_ARG(s->name_address));
        session_reply(s, "%d 5.5.2 %.*s Error: bare <LF> received", s->server->bare_newline_code,
                      SPAN_ARG(s->server->myhostname));
        return COMMAND_ERROR;
    }
    refusal = intake_verdict_reply(tx->intake->verdict);
    if (refusal != NULL) {
        session_reply(s, "%s", refusal);
        session_log_reject(s, "reject", span_cstr(refusal));
        return COMMAND_ERROR;
    }
    if (restrict_is_set(s->server->restrictions, RESTRICT_END_OF_DATA) &&
        restrict_run(s, RESTRICT_END_OF_DATA) == RESTRICT_REJECT) {
        session_reply_text(s, str_span(&s->reply_text));
        return COMMAND_ERROR;
    }
    return submit(s);
}

enum { EXPECTED = 16384 }; /* octets of a message whose size nobody announced */

enum command_result cmd_data(struct session *s, struct span argument)
{
    enum command_result result;
    int rc;

    if (argument.n > 0) {
        session_reply(s, "501 5.5.4 Syntax: DATA");
        return COMMAND_ERROR;
    }
    if (!may_begin(s, "DATA"))
        return COMMAND_ERROR;
    data_reader_init(s->tx.reader, false, is_strict(s), s->server->blank_stray);
    session_reply(s, "354 End data with <CR><LF>.<CR><LF>");
    stream_expect(s->stream, s->tx.announced_size > 0 ? s->tx.announced_size : EXPECTED);
    rc = read_message(s);
    if (rc < 0)
        return lost(s, "DATA", rc);
    result = end_message(s);
    session_reset(s);
    return result;
}

/* --- BDAT --- */

/* "count [LAST]" */
static int parse_chunk(struct span argument, uint64_t *size, bool *is_last)
{
    struct span word;

    *is_last = false;
    if (!span_token(&argument, " \t", &word) || word.n > 18 || span_to_u64(word, size) != 0)
        return ERR_SYNTAX;
    if (!span_token(&argument, " \t", &word))
        return 0;
    if (!span_ieq(word, SPAN_LIT("LAST")) || span_trim(argument).n > 0)
        return ERR_SYNTAX;
    *is_last = true;
    return 0;
}

/* Without a size nobody can say where the next command begins. */
static enum command_result bad_chunk(struct session *s)
{
    session_reply(s, "521 5.5.4 Syntax: BDAT count [LAST]");
    return COMMAND_CLOSE;
}

/* Read size octets; feed them to the message, if there is one that still wants
 * them. */
static int read_chunk(struct session *s, uint64_t size, bool is_wanted)
{
    struct transaction *tx = &s->tx;
    struct pace pace = pace_begin(s);
    deadline_t deadline = pace.deadline;

    stream_expect(s->stream, size);
    while (size > 0) {
        struct span avail, text;
        int rc = stream_peek(s->stream, 1, &avail, deadline);

        if (rc < 0)
            return rc;
        avail = span_take(avail, size < avail.n ? (size_t)size : avail.n);
        size -= avail.n;
        deadline = pace_next(&pace, avail.n);
        for (struct span rest = avail; is_wanted && rest.n > 0;)
            if (data_next(tx->reader, &rest, &text) == DATA_TEXT)
                (void)intake_feed(tx->intake, text);
        stream_consume(s->stream, avail.n);
        (void)task_breathe();
    }
    return 0;
}

void bdat_discard(struct session *s, struct span argument)
{
    uint64_t size;
    bool is_last;

    if (parse_chunk(span_trim(argument), &size, &is_last) != 0)
        s->is_hangup = true;
    else
        s->io_error = read_chunk(s, size, false);
}

/* The first chunk opens the message. What is wrong with the transaction is said
 * after its octets were read. */
static bool begin_chunks(struct session *s)
{
    struct transaction *tx = &s->tx;

    if (tx->is_chunked)
        return true;
    if (!may_begin(s, "BDAT"))
        return false;
    data_reader_init(tx->reader, true, true, s->server->blank_stray);
    tx->is_chunked = true;
    return true;
}

static void finish_chunks(struct transaction *tx)
{
    struct span text;

    while (data_finish(tx->reader, &text) == DATA_TEXT)
        (void)intake_feed(tx->intake, text);
}

enum command_result cmd_bdat(struct session *s, struct span argument)
{
    struct transaction *tx = &s->tx;
    enum command_result result;
    uint64_t size;
    bool is_last;
    int rc;

    if (s->server->discarded_keywords & EHLO_CHUNKING) {
        session_reply(s, "521 5.5.1 Error: command not implemented");
        return COMMAND_CLOSE;
    }
    if (parse_chunk(argument, &size, &is_last) != 0)
        return bad_chunk(s);
    if (tx->chunk_failed) {
        s->io_error = read_chunk(s, size, false);
        if (s->io_error < 0)
            return COMMAND_REFUSED;
        session_reply(s, "551 5.0.0 Discarded %llu bytes after earlier error",
                      (unsigned long long)size);
        if (is_last)
            session_reset(s);
        return COMMAND_ERROR;
    }
    if (!begin_chunks(s)) {
        s->io_error = read_chunk(s, size, false);
        /* Further chunks of this message are thrown away as well. */
        tx->is_chunked = tx->chunk_failed = tx->is_open && !is_last;
        return COMMAND_ERROR;
    }
    rc = read_chunk(s, size, true);
    if (rc < 0)
        return lost(s, "BDAT", rc);
    if (tx->intake->verdict == INTAKE_TOO_BIG) {
        session_reply(s, "552 5.3.4 Chunk exceeds message size limit");
        tx->chunk_failed = true;
        if (is_last)
            session_reset(s);
        return COMMAND_ERROR;
    }
    if (!is_last) {
        session_reply(s, "250 2.0.0 Ok: %llu bytes", (unsigned long long)size);
        return COMMAND_OK;
    }
    finish_chunks(tx);
    result = end_message(s);
    session_reset(s);
    return result;
}
