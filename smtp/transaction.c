#include "smtp/transaction.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "smtp/envelope.h"
#include "smtp/pool.h"
#include "smtp/wire.h"

enum {
    /* Octets of commands that may be unanswered: below every socket's buffers, so that
     * neither side can wait for the other to read (RFC 2920 3.1). */
    GROUP_MAX = 4096,
    CONTENT_PIECE = 65536,
};

int transaction_begin(struct delivery *d)
{
    struct transaction *t = &d->transaction;

    *t = (struct transaction){0};
    t->recipients = ARENA_NEW_N(&d->job->arena, uint32_t, d->left);
    if (t->recipients == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < d->job->message->recipients.len; i++) {
        d->recipients[i].is_accepted = d->recipients[i].is_refused = false;
        if (!d->recipients[i].is_reported)
            t->recipients[t->count++] = i;
    }
    t->is_begun = true;
    return 0;
}

bool transaction_fits(const struct connection *c, const struct delivery *d, struct trouble *why)
{
    const struct queue_message *m = d->job->message;
    struct trouble unwanted;
    struct arena *arena = &d->job->arena;

    if (why == NULL)
        why = &unwanted;
    if (c->size_limit > 0 && d->size > c->size_limit) {
        trouble_set(why, arena, "5.3.4", "message size %llu exceeds size limit %llu of server %s",
                    (unsigned long long)d->size, (unsigned long long)c->size_limit, c->name);
        return false;
    }
    if ((m->flags & QUEUE_MESSAGE_SMTPUTF8) && !(c->features & SMTP_SMTPUTF8)) {
        trouble_set(why, arena, "5.6.7", "SMTPUTF8 is required, but was not offered by host %s",
                    c->name);
        return false;
    }
    if (m->flags & QUEUE_MESSAGE_REQUIRETLS) {
        trouble_set(why, arena, "5.7.30", "REQUIRETLS is required, but is not supported");
        return false;
    }
    return true;
}

/* --- the envelope: sending --- */

/* Whether the next step may go out now. */
static bool may_send(const struct connection *c, const struct transaction *t)
{
    bool is_data = t->sent == t->count + 1;

    if (t->is_over || t->sent > t->count + 1)
        return false;
    if (t->sent > t->received && (!(c->features & SMTP_PIPELINING) || t->unanswered > GROUP_MAX))
        return false;
    /* When all is answered and nobody was taken, DATA would be an error. */
    return !is_data || t->sent > t->received || t->accepted > 0;
}

static int send_step(struct connection *c, struct delivery *d)
{
    struct transaction *t = &d->transaction;
    const struct queue_message *m = d->job->message;
    struct str line = {.budget = &c->budget};
    int rc;

    if (t->sent == 0)
        rc = envelope_mail(&line, m, c->features, d->size, d->content_flags);
    else if (t->sent <= t->count)
        rc = envelope_rcpt(&line, &m->recipients.items[t->recipients[t->sent - 1]], c->features);
    else
        rc = str_append_cstr(&line, "DATA\r\n");
    if (rc == 0)
        rc = stream_write(c->stream, str_span(&line), deadline_in(c->settings->rcpt_ms));
    if (rc == 0) {
        t->sent++;
        t->unanswered += line.len;
    }
    str_fini(&line);
    return rc;
}

static int send_envelope(struct connection *c, struct delivery *d)
{
    int rc = 0;

    if (d->transaction.sent == 0)
        c->uses++;
    while (rc == 0 && may_send(c, &d->transaction))
        rc = send_step(c, d);
    return rc;
}

/* --- the envelope: replies --- */

static const char *const step_names[] = {"MAIL FROM", "RCPT TO", "DATA command"};

static size_t step_kind(const struct transaction *t, size_t step)
{
    return step == 0 ? 0 : step <= t->count ? 1 : 2;
}

/* "host x said: ... (in reply to RCPT TO command)". */
static void said(const struct connection *c, struct delivery *d, const char *in_reply_to,
                 struct trouble *why)
{
    struct arena *arena = &d->job->arena;
    char *before = arena_printf(arena, "host %s said: ", c->name);
    char *after = arena_printf(arena, " (in reply to %s)", in_reply_to);

    trouble_reply(why, arena, &c->reply, c->host, before != NULL ? before : "",
                  after != NULL ? after : "");
}

static void fail_accepted(const struct connection *c, struct delivery *d, const struct trouble *why)
{
    for (size_t i = 0; i < d->transaction.count; i++) {
        uint32_t index = d->transaction.recipients[i];

        if (d->recipients[index].is_accepted)
            delivery_fail(d, index, c, why);
    }
}

/* The transaction breaks off. Whoever got an answer to RCPT keeps the server's words. */
static void fail_the_rest(const struct connection *c, struct delivery *d, const struct trouble *why)
{
    for (size_t i = 0; i < d->transaction.count; i++) {
        uint32_t index = d->transaction.recipients[i];

        if (!d->recipients[index].is_refused)
            delivery_fail(d, index, c, why);
    }
}

static void take_mail_reply(struct connection *c, struct delivery *d)
{
    struct trouble why;

    if (c->reply.code / 100 == 2) {
        d->transaction.is_mail_accepted = true;
        c->is_transaction_open = true;
        return;
    }
    said(c, d, "MAIL FROM command", &why);
    delivery_fail_all(d, c, &why);
    d->transaction.is_over = true;
}

static void take_rcpt_reply(struct connection *c, struct delivery *d, uint32_t index)
{
    struct trouble why;

    if (!d->transaction.is_mail_accepted)
        return;
    if (c->reply.code / 100 == 2) {
        d->recipients[index].is_accepted = true;
        d->transaction.accepted++;
        return;
    }
    said(c, d, "RCPT TO command", &why);
    d->recipients[index].is_refused = true;
    delivery_fail(d, index, c, &why);
}

static void take_data_reply(struct connection *c, struct delivery *d)
{
    struct trouble why;

    d->transaction.is_over = true;
    if (c->reply.code / 100 == 3) {
        d->transaction.is_data_open = true;
        return;
    }
    /* A server that says 2xx is somewhere else in the conversation. */
    if (c->reply.code / 100 == 2)
        c->is_broken = true;
    said(c, d, "DATA command", &why);
    fail_accepted(c, d, &why);
}

static void take_reply(struct connection *c, struct delivery *d)
{
    struct transaction *t = &d->transaction;
    size_t step = t->received++;

    if (t->received == t->sent)
        t->unanswered = 0;
    if (step == 0)
        take_mail_reply(c, d);
    else if (step <= t->count)
        take_rcpt_reply(c, d, t->recipients[step - 1]);
    else
        take_data_reply(c, d);
}

/* RFC 5321 3.8: after 421 nothing more is answered. */
static void server_closes(struct connection *c, struct delivery *d, const char *in_reply_to)
{
    struct trouble why;

    said(c, d, in_reply_to, &why);
    why.site = true;
    fail_the_rest(c, d, &why);
}

static int step_timeout(const struct settings *s, const struct transaction *t, int64_t *ms)
{
    size_t kind = step_kind(t, t->received);

    *ms = kind == 0 ? s->mail_ms : kind == 1 ? s->rcpt_ms : s->data_init_ms;
    return (int)kind;
}

static int lost(struct connection *c, struct delivery *d, int rc, const char *where)
{
    struct trouble why;

    c->is_broken = true;
    if (rc == -ECANCELED)
        return rc;
    connection_explain(c, rc, where, &d->job->arena, &why);
    fail_the_rest(c, d, &why);
    return 0;
}

/* The server may have closed the connection while it was idle. */
static bool was_gone(const struct connection *c, const struct transaction *t, int rc)
{
    return c->uses > 1 && t->received == 0 &&
           (rc == ERR_EOF || rc == ERR_TRUNCATED || rc == -EPIPE || rc == -ECONNRESET);
}

static int exchange_envelope(struct connection *c, struct delivery *d)
{
    struct transaction *t = &d->transaction;
    int64_t timeout_ms;
    int rc, kind;

    while ((rc = send_envelope(c, d)) == 0 && t->received < t->sent) {
        kind = step_timeout(c->settings, t, &timeout_ms);
        rc = connection_read(c, timeout_ms);
        if (rc < 0)
            break;
        if (c->is_broken) {
            if (c->uses > 1 && t->received == 0)
                return ERR_EOF;
            server_closes(c, d,
                          kind == 0   ? "MAIL FROM command"
                          : kind == 1 ? "RCPT TO command"
                                      : "DATA command");
            return 0;
        }
        take_reply(c, d);
    }
    if (rc == 0)
        return 0;
    if (was_gone(c, t, rc)) {
        c->is_broken = true;
        return ERR_EOF;
    }
    struct str where = {0};
    str_printf(&where, "sending %s", step_names[step_kind(t, t->received)]);
    rc = lost(c, d, rc, str_cstr(&where));
    str_fini(&where);
    return rc;
}

/* --- content --- */

/* Lines that need no change, as most do, are not copied. */
static int send_piece(struct connection *c, struct wire *w, struct span piece)
{
    deadline_t deadline = deadline_in(c->settings->data_xfer_ms);
    size_t plain = wire_plain(w, piece);
    int rc = plain > 0 ? stream_write(c->stream, span_take(piece, plain), deadline) : 0;

    if (rc < 0 || plain == piece.n)
        return rc;
    str_clear(&c->out);
    rc = wire_encode(w, span_drop(piece, plain), &c->out);
    return rc < 0 ? rc : stream_write(c->stream, str_span(&c->out), deadline);
}

static int send_inline(struct connection *c, struct wire *w, const struct queue_content *content)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < content->extents.len; i++) {
        const struct queue_extent *e = &content->extents.items[i];
        struct span rest = span_drop(content->inline_octets, e->offset);

        if (e->length > rest.n)
            return ERR_CORRUPT;
        rest = span_take(rest, e->length);
        while (rc == 0 && rest.n > 0) {
            rc = send_piece(c, w, span_take(rest, CONTENT_PIECE));
            rest = span_drop(rest, CONTENT_PIECE);
        }
    }
    return rc;
}

struct content_read {
    const struct queue_content *content;
    uint64_t offset;
    char *data;
    ssize_t got;
};

static void read_on_worker(void *arg)
{
    struct content_read *r = arg;

    r->got = queue_content_read(r->content, r->offset, r->data, CONTENT_PIECE);
}

static int send_file(struct connection *c, struct wire *w, const struct queue_content *content)
{
    struct content_read r = {.content = content, .data = mem_new(CONTENT_PIECE)};
    int rc = r.data == NULL ? -ENOMEM : 0;

    while (rc == 0) {
        rc = task_offload(TASK_POOL_STORE, read_on_worker, &r);
        if (rc == 0 && r.got <= 0) {
            rc = r.got == 0 ? 0 : ERR_CORRUPT;
            break;
        }
        if (rc == 0)
            rc = send_piece(c, w, span_make(r.data, (size_t)r.got));
        r.offset += (uint64_t)r.got;
    }
    free(r.data);
    return rc;
}

static int send_content(struct connection *c, struct delivery *d)
{
    struct wire w = {.line_limit = c->settings->line_limit};
    const struct queue_content *content = &d->job->content;
    int rc = content->fd >= 0 ? send_file(c, &w, content) : send_inline(c, &w, content);

    if (rc < 0)
        return rc;
    str_clear(&c->out);
    rc = wire_end(&w, &c->out);
    return rc < 0
               ? rc
               : stream_write(c->stream, str_span(&c->out), deadline_in(c->settings->data_xfer_ms));
}

/* --- the verdict --- */

/* What may follow the end of the data in its group: the next delivery's envelope, or the
 * end of the conversation. */
static int send_follower(struct connection *c)
{
    struct delivery *next = pool_bind_next(c);

    if (next != NULL)
        return send_envelope(c, next);
    if (!(c->features & SMTP_PIPELINING) || pool_may_keep(c))
        return 0;
    c->is_quit_sent = true;
    return stream_write(c->stream, SPAN_LIT("QUIT\r\n"), deadline_in(c->settings->data_xfer_ms));
}

static void take_verdict(struct connection *c, struct delivery *d)
{
    struct trouble why;

    c->is_transaction_open = false;
    if (c->reply.code / 100 != 2) {
        said(c, d, "end of DATA command", &why);
        why.site = c->is_broken;
        fail_accepted(c, d, &why);
        return;
    }
    for (size_t i = 0; i < d->transaction.count; i++)
        if (d->recipients[d->transaction.recipients[i]].is_accepted)
            delivery_sent(d, d->transaction.recipients[i], c);
}

static int deliver_content(struct connection *c, struct delivery *d)
{
    const char *where = "sending message body";
    int64_t sent_us;
    int rc = send_content(c, d);

    if (rc == 0)
        rc = send_follower(c);
    if (rc == 0)
        rc = stream_flush(c->stream, deadline_in(c->settings->data_xfer_ms));
    if (rc == 0) {
        where = "sending end of data -- message may be sent more than once";
        sent_us = clock_mono_us();
        rc = connection_read(c, c->settings->data_done_ms);
        if (rc == 0)
            pool_note_verdict(c, clock_mono_us() - sent_us);
    }
    if (rc < 0)
        return lost(c, d, rc, where);
    take_verdict(c, d);
    return 0;
}

/* The server wants data that nobody is to get (RFC 2920 3.1): a single dot. */
static int deliver_nothing(struct connection *c)
{
    int rc = stream_write(c->stream, SPAN_LIT(".\r\n"), deadline_in(c->settings->data_xfer_ms));

    if (rc == 0)
        rc = connection_read(c, c->settings->data_done_ms);
    c->is_transaction_open = false;
    c->is_broken |= rc < 0;
    return rc == -ECANCELED ? rc : 0;
}

int transaction_run(struct connection *c, struct delivery *d)
{
    struct transaction *t = &d->transaction;
    struct trouble why;
    int rc;

    if (!t->is_begun && transaction_begin(d) < 0)
        return -ENOMEM;
    if (t->sent == 0 && !transaction_fits(c, d, &why)) {
        delivery_fail_all(d, c, &why);
        t->is_begun = false;
        return 0;
    }
    d->job->times.connected = clock_wall_us();
    rc = exchange_envelope(c, d);
    d->job->connection_use = (int)c->uses;
    if (rc == 0 && t->is_data_open && !c->is_broken)
        rc = t->accepted > 0 ? deliver_content(c, d) : deliver_nothing(c);
    t->is_begun = false;
    return rc;
}
