/* restrict.c: asking restriction lists, and what a rejection looks like. */
#include "smtpd/restrict_internal.h"

#include <errno.h>

#include "base/error.h"
#include "base/log.h"

struct restrict_subject restrict_subject(const struct session *s, enum restrict_stage stage)
{
    switch (stage) {
    case RESTRICT_CLIENT:
        return (struct restrict_subject){s->name_address, "Client host", NULL};
    case RESTRICT_HELO:
        return (struct restrict_subject){s->helo, "Helo command", NULL};
    case RESTRICT_SENDER:
        return (struct restrict_subject){s->tx.sender_text, "Sender address", NULL};
    case RESTRICT_RELAY:
    case RESTRICT_RECIPIENT:
        return (struct restrict_subject){s->recipient_text, "Recipient address", NULL};
    case RESTRICT_DATA:
        return (struct restrict_subject){SPAN_LIT("DATA"), "Data command", NULL};
    case RESTRICT_END_OF_DATA:
    case RESTRICT_STAGES:
        break;
    }
    return (struct restrict_subject){SPAN_LIT("END-OF-MESSAGE"), "End-of-data", NULL};
}

enum restrict_verdict restrict_reject(struct session *s, int code, const char *dsn, const char *fmt,
                                      ...)
{
    va_list ap;

    str_clear(&s->reply_text);
    /* The class of the status is that of the code (RFC 3463 2). */
    str_printf(&s->reply_text, "%d %d%s ", code, code / 100, dsn + 1);
    va_start(ap, fmt);
    str_vprintf(&s->reply_text, fmt, ap);
    va_end(ap);
    if (str_error(&s->reply_text) != 0) {
        str_clear(&s->reply_text);
        str_append_cstr(&s->reply_text, "452 4.3.1 Insufficient memory");
    }
    if (s->server->soft_bounce)
        session_soften(&s->reply_text);
    if (s->is_warning) {
        session_log_reject(s, "reject_warning", str_span(&s->reply_text));
        return RESTRICT_DUNNO;
    }
    if (s->defer_if_reject.len > 0 && s->reply_text.data[0] == '5')
        (void)str_set(&s->reply_text, str_span(&s->defer_if_reject));
    session_log_reject(s, "reject", str_span(&s->reply_text));
    return RESTRICT_REJECT;
}

enum restrict_verdict restrict_misconfigured(struct session *s)
{
    bool warning = s->is_warning;
    enum restrict_verdict verdict;

    s->is_warning = false;
    verdict = restrict_reject(s, 451, "4.3.5", "Server configuration error");
    s->is_warning = warning;
    return verdict;
}

enum restrict_verdict restrict_table_failed(struct session *s)
{
    struct restrict_subject subject = restrict_subject(s, s->stage);
    bool warning = s->is_warning;
    enum restrict_verdict verdict;

    s->is_warning = false;
    verdict = restrict_reject(s, 451, "4.3.0", "<%.*s>: Temporary lookup failure",
                              SPAN_ARG(subject.name));
    s->is_warning = warning;
    return verdict;
}

void restrict_defer_if_permit(struct session *s, const char *fmt, ...)
{
    va_list ap;

    if (s->defer_if_permit.len > 0)
        return;
    va_start(ap, fmt);
    str_vprintf(&s->defer_if_permit, fmt, ap);
    va_end(ap);
}

enum restrict_verdict restrict_run_list(struct session *s, const struct restriction_list *list)
{
    bool warn = false;

    for (size_t i = 0; i < list->items.len; i++) {
        const struct restriction *r = &list->items.items[i];
        bool before = s->is_warning;
        enum restrict_verdict verdict;

        if (r->class == NULL && r->kind->run == NULL) { /* warn_if_reject */
            warn = true;
            continue;
        }
        /* In front of a class it holds for all of the class. */
        s->is_warning = before || warn;
        verdict = r->class != NULL ? restrict_run_list(s, r->class) : r->kind->run(s, r);
        s->is_warning = before;
        warn = false;
        if (verdict != RESTRICT_DUNNO)
            return verdict;
        if (task_is_cancelled())
            return restrict_table_failed(s);
    }
    return RESTRICT_DUNNO;
}

enum restrict_verdict restrict_run(struct session *s, enum restrict_stage stage)
{
    const struct restrictions *r = s->server->restrictions;
    enum restrict_stage before = s->stage;
    enum restrict_verdict verdict;

    s->stage = stage;
    s->depth = 0;
    str_clear(&s->defer_if_reject); /* holds within one list */
    verdict = restrict_run_list(s, &r->stages[stage]);
    /* Only MAIL and RCPT collect deferrals over several lists. */
    if (verdict != RESTRICT_REJECT && stage >= RESTRICT_DATA && s->defer_if_permit.len > 0) {
        (void)str_set(&s->reply_text, str_span(&s->defer_if_permit));
        session_log_reject(s, "reject", str_span(&s->reply_text));
        verdict = RESTRICT_REJECT;
    }
    s->stage = before;
    return verdict;
}

/* Does the recipient exist (smtpd_reject_unlisted_recipient)? */
static enum restrict_verdict check_listed(struct session *s, const struct route_result *result,
                                          struct span name, const char *class, const char *dsn)
{
    const struct restrictions *r = s->server->restrictions;
    enum route_existence existence;
    int code = 550;

    if (route_check_recipient(s->server->route, result, &existence) < 0)
        return restrict_table_failed(s);
    switch (existence) {
    case ROUTE_EXISTS:
        return RESTRICT_DUNNO;
    case ROUTE_UNKNOWN_LOCAL:
        code = r->unknown_local_code;
        break;
    case ROUTE_UNKNOWN_VIRTUAL_ALIAS:
        code = r->unknown_alias_code;
        if (strcmp(dsn, "5.1.0") == 0)
            dsn = "5.1.7"; /* a sender, of a domain that has only aliases */
        break;
    case ROUTE_UNKNOWN_VIRTUAL_MAILBOX:
        code = r->unknown_mailbox_code;
        break;
    case ROUTE_UNKNOWN_RELAY:
        code = r->unknown_relay_code;
        break;
    case ROUTE_REFUSED:
    case ROUTE_DEFERRED: {
        /* "5.1.6 User has moved to ...": the status may stand in front. */
        struct span text = result->next_hop, status = SPAN_NONE;

        if (text.n > 5 && (text.p[0] == '4' || text.p[0] == '5') && text.p[1] == '.') {
            (void)span_token(&text, " ", &status);
            text = span_trim(text);
        }
        return restrict_reject(
            s, existence == ROUTE_REFUSED ? 550 : 450,
            status.n == 5 ? (char[]){status.p[0], '.', status.p[2], '.', status.p[4], '\0'} : dsn,
            "<%.*s>: %s rejected: %.*s", SPAN_ARG(name), class, SPAN_ARG(text));
    }
    }
    return restrict_reject(s, code, dsn, "<%.*s>: %s rejected: User unknown%s", SPAN_ARG(name),
                           class, route_unknown_table(s->server->route, existence));
}

enum restrict_verdict restrict_unlisted_recipient(struct session *s)
{
    if (s->recipient_checked || s->resolved == NULL)
        return RESTRICT_DUNNO;
    s->recipient_checked = !s->is_warning;
    return check_listed(s, s->resolved, s->recipient_text, "Recipient address", "5.1.1");
}

enum restrict_verdict restrict_unlisted_sender(struct session *s)
{
    struct route_result result;

    if (!s->tx.is_open || s->tx.sender.n == 0)
        return RESTRICT_DUNNO;
    if (route_resolve(s->server->route, s->tx.sender, &s->tx.arena, &result) < 0)
        return restrict_table_failed(s);
    return check_listed(s, &result, s->tx.sender_text, "Sender address", "5.1.0");
}

static enum restrict_verdict run_recipient_lists(struct session *s)
{
    const struct restrictions *r = s->server->restrictions;
    const bool delayed = s->server->delay_reject;
    const struct {
        enum restrict_stage stage;
        bool applies;
    } order[] = {
        {RESTRICT_CLIENT, delayed},
        {RESTRICT_HELO, delayed && s->helo.n > 0},
        {RESTRICT_SENDER, delayed && s->tx.is_open},
        {RESTRICT_RELAY, r->relay_before_recipient},
        {RESTRICT_RECIPIENT, true},
        {RESTRICT_RELAY, !r->relay_before_recipient},
    };

    for (size_t i = 0; i < COUNT_OF(order); i++)
        if (order[i].applies && restrict_run(s, order[i].stage) == RESTRICT_REJECT)
            return RESTRICT_REJECT;
    return RESTRICT_DUNNO;
}

enum restrict_verdict restrict_check_recipient(struct session *s)
{
    const struct restrictions *r = s->server->restrictions;
    enum restrict_verdict verdict;
    struct route_result result;

    str_clear(&s->defer_if_permit);
    str_clear(&s->defer_if_reject);
    s->recipient_checked = false;
    s->stage = RESTRICT_RECIPIENT;
    if (route_resolve(s->server->route, s->recipient, &s->tx.arena, &result) < 0)
        return restrict_table_failed(s);
    s->resolved = &result;
    verdict = run_recipient_lists(s);
    if (verdict != RESTRICT_REJECT && !s->tx.is_discarded) {
        if (r->reject_unlisted_recipient)
            verdict = restrict_unlisted_recipient(s);
        if (verdict != RESTRICT_REJECT && r->reject_unlisted_sender)
            verdict = restrict_unlisted_sender(s);
    }
    if (verdict != RESTRICT_REJECT && s->defer_if_permit.len > 0) {
        (void)str_set(&s->reply_text, str_span(&s->defer_if_permit));
        session_log_reject(s, "reject", str_span(&s->reply_text));
        verdict = RESTRICT_REJECT;
    }
    s->resolved = NULL;
    return verdict;
}
