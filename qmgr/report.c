#include "qmgr/report.h"

#include <time.h>

#include "base/error.h"
#include "mail/address.h"

enum { WRAP_COLUMN = 78, WORD_MAX = 900, HEADER_RETURNED_MAX = 256 << 10 };

static const char *const subjects[BOUNCE_KINDS][2] = {
    {"Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail"},
    {"Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail"},
    {"Successful Mail Delivery Report", "Successful Mail Delivery Report"},
};

/* "Sat, 21 Nov 2026 09:28:03 +0000 (UTC)" in the local zone. */
static void print_date(struct str *out, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[64];

    localtime_r(&t, &tm);
    /* %a and %b are English: no program of ours sets a locale. */
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S %z (%Z)", &tm);
    str_append_cstr(out, text);
}

static void print_boundary(const struct report_options *o, struct str *out)
{
    str_printf(out, "%s.%lld/%s", o->original_id, (long long)o->now_s, o->myhostname);
}

int report_message_id(const struct report_options *o, struct str *out)
{
    time_t t = (time_t)o->now_s;
    struct tm tm;
    char stamp[32];

    gmtime_r(&t, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S", &tm);
    return str_printf(out, "%s.%s@%s", stamp, o->queue_id, o->myhostname);
}

/* Foreign text on one line: control characters would end it. */
static void print_clean(struct str *out, struct span text, bool is_utf8)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        str_append_char(out, c < 32 || c == 127 || (c > 127 && !is_utf8) ? '?' : (char)c);
    }
}

/* Wrapped at blanks, further lines indented; start: column of the first word. */
static void print_wrapped(struct str *out, size_t column, struct span text, bool is_utf8)
{
    struct span word;
    bool is_first = true;

    while (span_token(&text, " ", &word)) {
        if (!is_first && column + 1 + word.n > WRAP_COLUMN) {
            str_append_cstr(out, "\r\n   ");
            column = 3;
        }
        if (!is_first) {
            str_append_char(out, ' ');
            column++;
        }
        for (; word.n > WORD_MAX; word = span_drop(word, WORD_MAX)) { /* RFC 5322 2.1.1 */
            print_clean(out, span_take(word, WORD_MAX), is_utf8);
            str_append_cstr(out, "\r\n   ");
        }
        print_clean(out, word, is_utf8);
        column += word.n;
        is_first = false;
    }
    str_append_cstr(out, "\r\n");
}

static bool is_utf8(const struct bounce_request *r)
{
    return (r->message.flags & QUEUE_MESSAGE_SMTPUTF8) != 0;
}

static bool is_8bit(const struct bounce_request *r)
{
    return is_utf8(r) || (queue_content_flags(&r->content) & QUEUE_EXTENT_8BIT) != 0;
}

static void print_encoding(const struct bounce_request *r, struct str *out)
{
    if (is_8bit(r))
        str_append_cstr(out, "Content-Transfer-Encoding: 8bit\r\n");
}

/* The null sender has the name that stands in From:. */
static void print_sender(const struct bounce_request *r, const struct report_options *o,
                         struct str *out)
{
    if (r->message.sender.n == 0)
        str_printf(out, "MAILER-DAEMON@%s", o->myhostname);
    else
        print_clean(out, r->message.sender, is_utf8(r));
}

/* --- the header --- */

static void print_header(const struct bounce_request *r, const struct report_options *o,
                         struct str *out)
{
    str_printf(out, "Received: by %s (%s)\r\n\tid %s; ", o->myhostname, o->mail_name, o->queue_id);
    print_date(out, o->now_s);
    str_append_cstr(out, "\r\nDate: ");
    print_date(out, o->now_s);
    str_printf(out, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\r\nSubject: %s\r\nTo: ",
               o->myhostname, subjects[r->kind][o->audience]);
    print_clean(out, o->recipient, is_utf8(r));
    /* RFC 3834 5: to the postmaster it is no answer. */
    str_printf(out,
               "\r\nAuto-Submitted: auto-%s\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=delivery-status;\r\n"
               "\tboundary=\"",
               o->audience == REPORT_TO_SENDER ? "replied" : "generated");
    print_boundary(o, out);
    str_append_cstr(out, "\"\r\n");
    print_encoding(r, out);
    str_append_cstr(out, "Message-Id: <");
    report_message_id(o, out);
    str_append_cstr(out, ">\r\n\r\nThis is a MIME-encapsulated message.\r\n");
}

static void begin_part(const struct report_options *o, const char *description, struct str *out)
{
    str_append_cstr(out, "\r\n--");
    print_boundary(o, out);
    str_printf(out, "\r\nContent-Description: %s\r\n", description);
}

/* --- for people --- */

static void print_explanation(const struct bounce_request *r, const struct report_options *o,
                              struct str *out)
{
    str_printf(out, "\r\nThis is the mail system at host %s.\r\n\r\n", o->myhostname);
    switch (r->kind) {
    case BOUNCE_FAILURE:
        str_append_cstr(out,
                        "Your message could not be delivered to the recipients below, and no\r\n"
                        "further attempt will be made. What was sent is attached.\r\n");
        break;
    case BOUNCE_DELAY:
        str_printf(out,
                   "THIS IS A WARNING ONLY. You do not need to send your message again.\r\n\r\n"
                   "It could not be delivered for more than %lld hour(s). Delivery will be\r\n"
                   "tried until it is %lld day(s) old.\r\n",
                   (long long)o->delay_warning_s / 3600, (long long)o->queue_lifetime_s / 86400);
        break;
    default:
        str_append_cstr(out,
                        "Your message was delivered to the recipients below, or handed to a\r\n"
                        "system that sends no such reports.\r\n");
        break;
    }
    if (r->kind != BOUNCE_SUCCESS)
        str_append_cstr(out,
                        "\r\nFor help, please write to postmaster and include this report.\r\n");
    str_append_cstr(out, "\r\n                   The mail system\r\n");
}

static void print_for_people(const struct bounce_request *r, const struct report_options *o,
                             struct str *out)
{
    begin_part(o, "Notification", out);
    str_printf(out, "Content-Type: text/plain; charset=%s\r\n", is_utf8(r) ? "utf-8" : "us-ascii");
    print_encoding(r, out);
    if (o->audience == REPORT_TO_SENDER)
        print_explanation(r, o, out);
    for (size_t i = 0; i < r->message.recipients.len; i++) {
        const struct queue_recipient *to = &r->message.recipients.items[i];
        struct str line = {0};

        str_printf(&line, "<%.*s>", SPAN_ARG(to->address));
        if (to->original.n > 0 && !span_ieq(to->original, to->address))
            str_printf(&line, " (expanded from <%.*s>)", SPAN_ARG(to->original));
        str_printf(&line, ": %.*s", SPAN_ARG(r->results[i].reason));
        str_append_cstr(out, "\r\n");
        print_wrapped(out, 0, str_span(&line), is_utf8(r));
        str_fini(&line);
    }
}

/* --- for programs --- */

static const char *action_of(const struct bounce_request *r, size_t i)
{
    const struct deliver_result *result = &r->results[i];

    if (r->kind == BOUNCE_FAILURE)
        return "failed";
    if (r->kind == BOUNCE_DELAY)
        return "delayed";
    if (result->status == DELIVER_EXPANDED)
        return "expanded";
    return result->relayed_without_dsn ? "relayed" : "delivered";
}

static void print_field(struct str *out, const char *name, struct span value, bool utf8)
{
    str_printf(out, "%s: ", name);
    print_wrapped(out, strlen(name) + 2, value, utf8);
}

static void print_original_recipient(const struct queue_recipient *to, const char *type,
                                     struct str *out, bool utf8)
{
    struct str value = {0};

    if (to->orcpt.n > 0)
        str_append(&value, to->orcpt);
    else if (to->original.n > 0)
        str_printf(&value, "%s;%.*s", type, SPAN_ARG(to->original));
    if (value.len > 0)
        print_field(out, "Original-Recipient", str_span(&value), utf8);
    str_fini(&value);
}

static void print_diagnostic(const struct deliver_result *result, struct str *out, bool utf8)
{
    struct str value = {0};

    if (result->remote_reply.n > 0)
        str_printf(&value, "smtp; %.*s", SPAN_ARG(result->remote_reply));
    else
        str_printf(&value, "X-Postfix; %.*s", SPAN_ARG(result->reason));
    print_field(out, "Diagnostic-Code", str_span(&value), utf8);
    str_fini(&value);
}

static void print_recipient(const struct bounce_request *r, size_t i, struct str *out)
{
    const struct queue_recipient *to = &r->message.recipients.items[i];
    const struct deliver_result *result = &r->results[i];
    const char *type = is_utf8(r) ? "utf-8" : "rfc822";

    str_printf(out, "\r\nFinal-Recipient: %s; ", type);
    print_clean(out, to->address, is_utf8(r));
    str_append_cstr(out, "\r\n");
    print_original_recipient(to, type, out, is_utf8(r));
    str_printf(out, "Action: %s\r\nStatus: %s\r\n", action_of(r, i), result->dsn);
    if (result->remote_host.n > 0) {
        str_append_cstr(out, "Remote-MTA: dns; ");
        print_clean(out, result->remote_host, is_utf8(r));
        str_append_cstr(out, "\r\n");
    }
    print_diagnostic(result, out, is_utf8(r));
    if (r->last_attempt_s[i] > 0) {
        str_append_cstr(out, "Last-Attempt-Date: ");
        print_date(out, r->last_attempt_s[i]);
        str_append_cstr(out, "\r\n");
    }
    if (r->kind == BOUNCE_DELAY) {
        str_append_cstr(out, "Will-Retry-Until: ");
        print_date(out, r->retry_until_s);
        str_append_cstr(out, "\r\n");
    }
}

static void print_status(const struct bounce_request *r, const struct report_options *o,
                         struct str *out)
{
    const char *type = is_utf8(r) ? "utf-8" : "rfc822";

    begin_part(o, "Delivery report", out);
    str_printf(out, "Content-Type: message/%sdelivery-status\r\n", is_utf8(r) ? "global-" : "");
    if (is_utf8(r))
        print_encoding(r, out);
    str_printf(out, "\r\nReporting-MTA: dns; %s\r\n", o->myhostname);
    if (r->message.envid.n > 0) { /* RFC 3464 2.2.1 */
        str_append_cstr(out, "Original-Envelope-Id: ");
        print_clean(out, r->message.envid, false);
        str_append_cstr(out, "\r\n");
    }
    str_printf(out, "X-Postfix-Queue-ID: %s\r\nX-Postfix-Sender: %s; ", o->original_id, type);
    print_sender(r, o, out);
    str_append_cstr(out, "\r\nArrival-Date: ");
    print_date(out, r->message.arrival_us / 1000000);
    str_append_cstr(out, "\r\n");
    for (size_t i = 0; i < r->message.recipients.len; i++)
        print_recipient(r, i, out);
}

/* --- the message that returns --- */

static bool is_header_only(const struct bounce_request *r, const struct report_options *o)
{
    return r->kind != BOUNCE_FAILURE || r->message.ret == QUEUE_RETURN_HEADERS ||
           (o->size_limit > 0 && queue_content_size(&r->content) > o->size_limit) ||
           (o->audience == REPORT_TO_POSTMASTER && r->message.sender.n > 0);
}

uint64_t report_returned_size(const struct bounce_request *r, const struct report_options *o)
{
    uint64_t size = queue_content_size(&r->content);

    if (is_header_only(r, o)) {
        size = queue_content_header_size(&r->content);
        size = size < HEADER_RETURNED_MAX ? size : HEADER_RETURNED_MAX;
    }
    return size;
}

static void begin_original(const struct bounce_request *r, const struct report_options *o,
                           struct str *out)
{
    bool header_only = is_header_only(r, o);

    begin_part(o,
               r->kind == BOUNCE_SUCCESS ? (header_only ? "Message Headers" : "Message")
               : header_only             ? "Undelivered Message Headers"
                                         : "Undelivered Message",
               out);
    if (is_utf8(r))
        str_printf(out, "Content-Type: message/global%s\r\n", header_only ? "-headers" : "");
    else
        str_printf(out, "Content-Type: %s\r\n",
                   header_only ? "text/rfc822-headers" : "message/rfc822");
    print_encoding(r, out);
    str_append_cstr(out, "\r\nReturn-Path: <");
    print_sender(r, o, out);
    str_append_cstr(out, ">\r\n");
}

int report_print(const struct bounce_request *r, const struct report_options *o, struct str *out)
{
    print_header(r, o, out);
    print_for_people(r, o, out);
    print_status(r, o, out);
    begin_original(r, o, out);
    return str_error(out);
}

int report_print_end(const struct report_options *o, struct str *out)
{
    str_append_cstr(out, "\r\n--");
    print_boundary(o, out);
    return str_append_cstr(out, "--\r\n");
}
