/* Listings as mailq and postqueue -j print them. */
#include <stdio.h>
#include <time.h>

#include "queue/admin.h"

enum { REASON_COLUMN = 76 };

void queue_listing_print_head(struct str *out)
{
    str_printf(out, "%-17s %8s %-19s %s\n", "----Queue ID-----", "--Size--", "---Arrival Time----",
               "--Sender/Recipient------");
}

void queue_listing_print_tail(uint64_t messages, uint64_t octets, struct str *out)
{
    if (messages == 0)
        str_append_cstr(out, "Mail queue is empty\n");
    else
        str_printf(out, "\n-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)octets / 1024,
                   (unsigned long long)messages, messages == 1 ? "" : "s");
}

/* Foreign text must not reach a terminal as it is. */
static void put_clean(struct str *out, struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        str_append_char(out, c < 32 || c == 127 ? '?' : (char)c);
    }
}

static void put_reason(struct str *out, struct span reason)
{
    if (reason.n == 0)
        reason = SPAN_LIT("reason unavailable");
    if (reason.n < REASON_COLUMN)
        str_append_fill(out, ' ', REASON_COLUMN - reason.n);
    str_append_char(out, '(');
    put_clean(out, reason);
    str_append_cstr(out, ")\n");
}

void queue_listing_print(const struct queue_listing *l, struct str *out)
{
    char id[QUEUE_ID_TEXT_MAX + 4], time_text[32];
    time_t arrival = (time_t)l->arrival_s;
    struct span reason = SPAN_NONE;
    struct tm tm;

    queue_id_format(id, l->id);
    if (l->queue == QUEUE_ACTIVE)
        strcat(id, "*");
    else if (l->queue == QUEUE_HOLD)
        strcat(id, "!");
    if (l->is_forced_to_expire)
        strcat(id, "#");
    localtime_r(&arrival, &tm);
    strftime(time_text, sizeof(time_text), "%a %b %e %H:%M:%S", &tm);
    str_printf(out, "%-17s %8llu %19.19s ", id, (unsigned long long)l->size, time_text);
    if (l->sender.n == 0)
        str_append_cstr(out, "MAILER-DAEMON");
    put_clean(out, l->sender);
    str_append_char(out, '\n');
    for (size_t i = 0; i < l->recipients.len; i++) {
        const struct queue_listed_recipient *r = &l->recipients.items[i];

        if (!span_eq(r->reason, reason)) {
            put_reason(out, r->reason);
            reason = r->reason;
        }
        str_printf(out, "%-17s %8s %-19s ", "", "", "");
        put_clean(out, r->address);
        str_append_char(out, '\n');
    }
}

/* --- JSON (RFC 8259) --- */

/* Length of the valid UTF-8 sequence at the front, or 0. */
static size_t utf8_length(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] >= 0xf0 && p[0] < 0xf5   ? 4
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                                             : 0;
    if (n == 0 || n > s.n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static void put_json(struct str *out, struct span text)
{
    str_append_char(out, '"');
    while (text.n > 0) {
        unsigned char c = (unsigned char)text.p[0];
        size_t n = c > 127 ? utf8_length(text) : 1;

        if (c == '"' || c == '\\')
            str_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            str_printf(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c < 32 || c == 127)
            str_printf(out, "\\u%04X", c);
        else if (n == 0)
            str_append_char(out, '?');
        else
            str_append(out, span_take(text, n));
        text = span_drop(text, n > 0 ? n : 1);
    }
    str_append_char(out, '"');
}

void queue_listing_print_json(const struct queue_listing *l, struct str *out)
{
    char id[QUEUE_ID_TEXT_MAX];

    str_printf(out,
               "{\"queue_name\": \"%s\", \"queue_id\": \"%s\", \"arrival_time\": %lld, "
               "\"message_size\": %llu, \"forced_expire\": %s, \"sender\": ",
               queue_name_text(l->queue), queue_id_format(id, l->id), (long long)l->arrival_s,
               (unsigned long long)l->size, l->is_forced_to_expire ? "true" : "false");
    put_json(out, l->sender.n > 0 ? l->sender : SPAN_LIT("MAILER-DAEMON"));
    str_append_cstr(out, ", \"recipients\": [");
    for (size_t i = 0; i < l->recipients.len; i++) {
        str_append_cstr(out, i > 0 ? ", {\"address\": " : "{\"address\": ");
        put_json(out, l->recipients.items[i].address);
        if (l->recipients.items[i].reason.n > 0) {
            str_append_cstr(out, ", \"delay_reason\": ");
            put_json(out, l->recipients.items[i].reason);
        }
        str_append_char(out, '}');
    }
    str_append_cstr(out, "]}\n");
}
