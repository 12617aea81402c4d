/* intake.c: the header pass; see intake.h. */
#include "intake/intake.h"

#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "intake/rewrite.h"
#include "mail/token.h"

/* Fields whose presence counts; a bit each in intake.seen. */
enum seen_field {
    SEEN_DATE,
    SEEN_FROM,
    SEEN_MESSAGE_ID,
    SEEN_TO,
    SEEN_CC,
    SEEN_RESENT_DATE,
    SEEN_RESENT_FROM,
    SEEN_RESENT_MESSAGE_ID,
    SEEN_RESENT_TO,
    SEEN_RESENT_CC,
};

static const struct {
    const char *name;
    enum seen_field bit;
} fields[] = {
    {"Date", SEEN_DATE},
    {"From", SEEN_FROM},
    {"Message-Id", SEEN_MESSAGE_ID},
    {"To", SEEN_TO},
    {"Cc", SEEN_CC},
    {"Resent-Date", SEEN_RESENT_DATE},
    {"Resent-From", SEEN_RESENT_FROM},
    {"Resent-Message-Id", SEEN_RESENT_MESSAGE_ID},
    {"Resent-To", SEEN_RESENT_TO},
    {"Resent-Cc", SEEN_RESENT_CC},
};

const char *intake_verdict_reply(enum intake_verdict verdict)
{
    switch (verdict) {
    case INTAKE_ACCEPT:
        break;
    case INTAKE_TOO_BIG:
        return "552 5.3.4 Error: message file too big";
    case INTAKE_TOO_MANY_HOPS:
        return "554 5.4.0 Error: too many hops";
    }
    return NULL;
}

void intake_begin(struct intake *in, const struct intake_options *options,
                  const struct intake_facts *facts, intake_sink_fn *sink, intake_insert_fn *insert,
                  void *arg, struct budget *budget)
{
    memset(in, 0, sizeof(*in));
    in->options = options;
    in->facts = *facts;
    in->sink = sink;
    in->insert = insert;
    in->sink_arg = arg;
    in->is_first = true;
    str_init(&in->line, budget);
    str_init(&in->held, budget);
    str_init(&in->message_id, budget);
    in->message_id.max = INTAKE_MESSAGE_ID_MAX;
}

void intake_fini(struct intake *in)
{
    str_fini(&in->line);
    str_fini(&in->held);
    str_fini(&in->message_id);
}

/* message_size_limit holds for what comes in and for what is made of it. */
static void count(struct intake *in, uint64_t *size, size_t n)
{
    uint64_t limit = in->options->message_size_limit;

    *size += n;
    if (limit > 0 && *size > limit && in->verdict == INTAKE_ACCEPT)
        in->verdict = INTAKE_TOO_BIG;
}

static void hand_on(struct intake *in, struct span octets)
{
    if (in->error == 0 && in->verdict == INTAKE_ACCEPT && octets.n > 0)
        in->error = in->sink(in->sink_arg, octets);
}

static void emit(struct intake *in, struct span octets)
{
    count(in, &in->size_out, octets.n);
    hand_on(in, octets);
}

static void emit_cstr(struct intake *in, const char *text)
{
    emit(in, span_cstr(text));
}

/* --- fields whose addresses are completed --- */

static bool is_rewritten(const struct intake *in, struct span name)
{
    return in->options->route != NULL && (in->facts.is_local || in->options->rewrites_remote) &&
           intake_is_address_field(name);
}

/* Without memory for it a field passes as it is: no message is lost for this. */
static void let_go(struct intake *in)
{
    emit(in, str_span(&in->held));
    str_fini(&in->held);
    in->is_held = false;
}

static void end_held(struct intake *in)
{
    enum route_context context = in->facts.is_local ? ROUTE_CONTEXT_LOCAL : ROUTE_CONTEXT_REMOTE;
    struct str text;

    if (!in->is_held)
        return;
    str_init(&text, in->held.budget);
    if (intake_rewrite_field(in->options->route, context, str_span(&in->held),
                             in->options->token_limit, &text) == 1) {
        str_fini(&in->held);
        in->held = text;
    } else {
        str_fini(&text);
    }
    let_go(in);
}

/* A piece of a field: held until its end, or passed on. */
static void put(struct intake *in, struct span octets)
{
    if (in->is_held && str_append(&in->held, octets) == 0)
        return;
    if (in->is_held) {
        in->held.error = 0;
        let_go(in);
    }
    emit(in, octets);
}

static bool has_seen(const struct intake *in, enum seen_field bit)
{
    return (in->seen & (1u << bit)) != 0;
}

static void count_hop(struct intake *in)
{
    if (++in->hops >= in->options->hopcount_limit && in->verdict == INTAKE_ACCEPT)
        in->verdict = INTAKE_TOO_MANY_HOPS;
}

int intake_prepend(struct intake *in, struct span field)
{
    if (span_istarts(field, SPAN_LIT("Received:")))
        count_hop(in);
    hand_on(in, field);
    in->top += field.n;
    return in->error;
}

/* --- the end of the header --- */

static void log_message_id(struct intake *in)
{
    log_info_as(in->options->log_tag, "%.*s: message-id=%.*s", SPAN_ARG(in->facts.queue_id),
                SPAN_ARG(str_span(&in->message_id)));
}

static void add_message_id(struct intake *in, const char *resent, struct str *text)
{
    time_t t = (time_t)in->facts.arrival_s;
    char stamp[32];
    struct tm tm;
    size_t start;

    gmtime_r(&t, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S", &tm);
    str_printf(text, "%sMessage-Id: ", resent);
    start = text->len;
    str_printf(text, "<%s.%.*s@%.*s>", stamp, SPAN_ARG(in->facts.queue_id),
               SPAN_ARG(in->options->myhostname));
    if (resent[0] == '\0' && str_error(text) == 0)
        str_set(&in->message_id, span_drop(str_span(text), start));
    str_append(text, SPAN_LIT("\r\n"));
}

/* Is it a phrase without quotes: atoms (RFC 5322 3.2.3) and blanks? */
static bool is_plain_phrase(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!token_is_atext(text.p[i]) && !ascii_is_space(text.p[i]))
            return false;
    return true;
}

/* Whoever submits writes the name: no octet of it ends the line. */
static void add_phrase(struct str *text, struct span name)
{
    bool is_plain = is_plain_phrase(name);

    if (!is_plain)
        str_append_char(text, '"');
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (c == '"' || c == '\\')
            str_append_char(text, '\\');
        str_append_char(text, (unsigned char)c < 32 || c == 127 ? ' ' : c);
    }
    if (!is_plain)
        str_append_char(text, '"');
}

/* header_from_format = standard */
static void add_from(struct intake *in, const char *resent, struct str *text)
{
    struct span name = span_trim(in->facts.full_name), sender = in->facts.sender;

    str_printf(text, "%sFrom: ", resent);
    if (sender.n == 0) {
        str_append_cstr(text, "MAILER-DAEMON");
    } else if (name.n == 0 || name.n > INTAKE_NAME_MAX) {
        str_append(text, sender);
    } else {
        add_phrase(text, name);
        str_printf(text, " <%.*s>", SPAN_ARG(sender));
    }
    str_append(text, SPAN_LIT("\r\n"));
}

/* What RFC 6409 8 lets a submission server complete, in Postfix's order. */
static void add_missing(struct intake *in)
{
    const char *resent = in->is_resent ? "Resent-" : "";
    struct str text;

    str_init(&text, in->line.budget);
    if (!has_seen(in, in->is_resent ? SEEN_RESENT_MESSAGE_ID : SEEN_MESSAGE_ID))
        add_message_id(in, resent, &text);
    if (!has_seen(in, in->is_resent ? SEEN_RESENT_DATE : SEEN_DATE)) {
        str_printf(&text, "%sDate: ", resent);
        intake_print_date(&text, in->facts.arrival_s);
        str_append(&text, SPAN_LIT("\r\n"));
    }
    if (!has_seen(in, in->is_resent ? SEEN_RESENT_FROM : SEEN_FROM))
        add_from(in, resent, &text);
    if (!has_seen(in, SEEN_TO) && !has_seen(in, SEEN_CC) && !has_seen(in, SEEN_RESENT_TO) &&
        !has_seen(in, SEEN_RESENT_CC) && span_find(in->options->undisclosed, ':') > 0)
        str_printf(&text, "%.*s\r\n", SPAN_ARG(in->options->undisclosed));
    if (in->error == 0)
        in->error = str_error(&text);
    count(in, &in->size_out, text.len);
    if (in->error == 0 && in->verdict == INTAKE_ACCEPT && text.len > 0)
        in->error = in->insert(in->sink_arg, in->top, str_span(&text));
    str_fini(&text);
}

static void end_field(struct intake *in)
{
    if (in->in_message_id)
        in->message_id.len = span_trim(str_span(&in->message_id)).n;
    end_held(in);
    in->in_message_id = false;
    in->is_dropped = false;
    in->field_size = 0;
}

static void end_header(struct intake *in)
{
    end_field(in);
    if (in->facts.is_local || in->options->always_add_missing)
        add_missing(in);
    log_message_id(in);
    in->state = INTAKE_BODY;
}

/* --- one line of the header --- */

/* The name in front of the colon, or empty: no header field (RFC 5322 2.2; blanks
 * in front of the colon are obsolete but legal, 4.5). */
static struct span field_name(struct span line)
{
    size_t n = 0, end;

    while (n < line.n && line.p[n] > 32 && line.p[n] < 127 && line.p[n] != ':')
        n++;
    for (end = n; end < line.n && ascii_is_blank(line.p[end]);)
        end++;
    return end < line.n && line.p[end] == ':' ? span_take(line, n) : SPAN_NONE;
}

static bool is_dropped_name(const struct intake *in, struct span name)
{
    struct span rest = in->options->drop_headers, word;

    while (span_token(&rest, ", \t\r\n", &word))
        if (span_ieq(word, name))
            return true;
    return false;
}

/* Keep what is seen of a Message-Id: value for the log, folds undone. */
static void keep_message_id(struct intake *in, struct span text)
{
    if (in->message_id.len > 0)
        str_append_char(&in->message_id, ' ');
    str_append(&in->message_id, span_trim(text));
    if (str_error(&in->message_id) != 0) {
        /* Too long to log: the line shows what fits. */
        in->message_id.error = 0;
        in->in_message_id = false;
    }
}

static void begin_field(struct intake *in, struct span name, struct span line)
{
    end_field(in);
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (span_ieq(name, span_cstr(fields[i].name)))
            in->seen |= 1u << fields[i].bit;
    if (span_istarts(name, SPAN_LIT("Resent-")))
        in->is_resent = true;
    if (span_ieq(name, SPAN_LIT("Received")))
        count_hop(in);
    in->is_dropped = is_dropped_name(in, name);
    in->is_held = !in->is_dropped && is_rewritten(in, name);
    if (span_ieq(name, SPAN_LIT("Message-Id")) && in->message_id.len == 0) {
        in->in_message_id = true;
        keep_message_id(in, span_drop(line, (size_t)span_find(line, ':') + 1));
    }
}

/* Hand a piece of a field through, as far as header_size_limit allows. */
static void emit_field(struct intake *in, struct span text)
{
    uint64_t left = in->options->header_size_limit > in->field_size
                        ? in->options->header_size_limit - in->field_size
                        : 0;

    in->field_size += text.n;
    if (!in->is_dropped)
        put(in, span_take(text, left < text.n ? (size_t)left : text.n));
}

static void emit_line_end(struct intake *in)
{
    if (!in->is_dropped)
        put(in, SPAN_LIT("\r\n"));
}

/* "From " in front of a message is a mailbox' line and no header (mbox(5)). */
static bool is_mailbox_line(struct span line)
{
    while (line.n > 0 && line.p[0] == '>')
        line = span_drop(line, 1);
    return span_istarts(line, SPAN_LIT("From "));
}

/* One line without its end, or the first INTAKE_LINE_MAX octets of it. False: the
 * header has ended in front of it. */
static bool take_line(struct intake *in, struct span line)
{
    bool is_first = in->is_first;
    struct span name;

    in->is_first = false;
    if (line.n == 0)
        return false;
    if (ascii_is_blank(line.p[0])) {
        if (is_first)
            return false;
        if (in->in_message_id)
            keep_message_id(in, line);
    } else if (is_first && is_mailbox_line(line)) {
        emit_cstr(in, "X-Mailbox-Line: ");
    } else {
        name = field_name(line);
        if (name.n == 0)
            return false;
        begin_field(in, name, line);
    }
    emit_field(in, line);
    return true;
}

/* The line that is collected is complete (or as long as we look at). */
static void end_line(struct intake *in, bool is_complete)
{
    struct span line = str_span(&in->line);

    if (take_line(in, line)) {
        if (is_complete)
            emit_line_end(in);
        in->state = is_complete ? INTAKE_HEADER : INTAKE_LONG_LINE;
    } else {
        end_header(in);
        /* A body without a blank line in front of it gets one. */
        emit(in, SPAN_LIT("\r\n"));
        if (line.n > 0) {
            emit(in, line);
            if (is_complete)
                emit(in, SPAN_LIT("\r\n"));
        }
    }
    str_clear(&in->line);
}

/* Take octets up to and including the next CRLF; true when one was there. text is
 * what stands in front of it. A CR at the end of a piece is kept back. */
static bool take_to_line_end(struct intake *in, struct span *octets, struct span *text,
                             bool *held_cr)
{
    ptrdiff_t lf = span_find(*octets, '\n');

    *held_cr = false;
    if (lf < 0) {
        *text = *octets;
        *octets = SPAN_NONE;
        if (text->n > 0 && text->p[text->n - 1] == '\r') {
            text->n--;
            *held_cr = true;
        }
        return false;
    }
    *text = span_take(*octets, (size_t)lf);
    if (text->n > 0 && text->p[text->n - 1] == '\r')
        text->n--;
    *octets = span_drop(*octets, (size_t)lf + 1);
    return true;
}

static void feed_header(struct intake *in, struct span *octets)
{
    struct span text;
    bool had_cr = in->after_cr, has_end;

    /* A CR that ended the last piece and was not half of a CRLF. */
    if (had_cr && octets->p[0] != '\n')
        str_append_char(&in->line, '\r');
    has_end = take_to_line_end(in, octets, &text, &in->after_cr);
    if (in->state == INTAKE_LONG_LINE) {
        if (in->line.len > 0)
            emit_field(in, str_span(&in->line));
        str_clear(&in->line);
        emit_field(in, text);
        if (has_end) {
            emit_line_end(in);
            in->state = INTAKE_HEADER;
        }
        return;
    }
    str_append(&in->line, text);
    if (str_error(&in->line) != 0) {
        in->error = in->error != 0 ? in->error : str_error(&in->line);
        str_clear(&in->line);
    }
    if (has_end || in->line.len > INTAKE_LINE_MAX)
        end_line(in, has_end);
}

int intake_feed(struct intake *in, struct span octets)
{
    count(in, &in->size, octets.n);
    while (octets.n > 0 && in->state != INTAKE_BODY)
        feed_header(in, &octets);
    if (octets.n > 0 && in->after_cr && in->state == INTAKE_BODY) {
        emit(in, SPAN_LIT("\r"));
        in->after_cr = false;
    }
    emit(in, octets);
    return in->error;
}

int intake_finish(struct intake *in)
{
    if (in->state == INTAKE_HEADER && in->line.len > 0)
        end_line(in, true);
    if (in->state == INTAKE_LONG_LINE)
        emit_line_end(in);
    if (in->state != INTAKE_BODY)
        end_header(in);
    return in->error;
}
