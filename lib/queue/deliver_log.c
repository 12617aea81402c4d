/* The line that every delivery leaves, as Postfix writes it. */
#include "base/log.h"
#include "mail/address.h"
#include "queue/deliver.h"

static const char *const statuses[DELIVER_STATUSES] = {
    "sent", "deferred", "bounced", "expired", "expanded", "undeliverable", "deliverable",
};

const char *deliver_status_text(enum deliver_status status)
{
    return statuses[status];
}

void deliver_format_delay(struct str *out, int64_t us)
{
    /* Two digits that matter, none below a hundredth, trailing zeros dropped. */
    int64_t seconds = us > 0 ? us / 1000000 : 0;
    int64_t fraction = us > 0 ? us % 1000000 : 0;
    int64_t resolution = 10000;

    if (seconds >= 10)
        resolution = 1000000;
    else if (seconds >= 1)
        resolution = 100000;
    fraction += resolution / 2;
    if (fraction >= 1000000) {
        seconds++;
        fraction -= 1000000;
    }
    str_append_u64(out, (uint64_t)seconds);
    if (fraction < resolution)
        return;
    str_append_char(out, '.');
    for (int64_t digit = 100000; fraction >= resolution && digit > 0; digit /= 10) {
        str_append_char(out, (char)('0' + fraction / digit));
        fraction %= digit;
    }
}

static void put_delays(struct str *line, const struct deliver_times *t)
{
    int64_t now = t->done > 0 ? t->done : clock_wall_us();
    int64_t active = t->active > 0 ? t->active : now;
    int64_t handed = t->handed > 0 ? t->handed : now;
    int64_t before = active - t->arrival, queue = handed - active, setup = 0, transfer = 0;

    if (t->handed > 0) {
        setup = t->connected > 0 ? t->connected - handed : 0;
        transfer = now - (t->connected > 0 ? t->connected : handed);
    }
    str_append_cstr(line, ", delay=");
    deliver_format_delay(line, now - t->arrival);
    str_append_cstr(line, ", delays=");
    deliver_format_delay(line, before);
    str_append_char(line, '/');
    deliver_format_delay(line, queue);
    str_append_char(line, '/');
    deliver_format_delay(line, setup);
    str_append_char(line, '/');
    deliver_format_delay(line, transfer);
}

void deliver_log(const char *queue_id, const struct queue_recipient *recipient,
                 const struct deliver_result *result, const struct deliver_times *times,
                 int connection_use)
{
    struct str line = {0};
    struct span address = result->log_address.n > 0 ? result->log_address : recipient->address;

    str_printf(&line, "%s: to=<", queue_id);
    address_print_text(&line, address);
    if (recipient->original.n > 0 && !span_ieq(recipient->original, address)) {
        str_append_cstr(&line, ">, orig_to=<");
        address_print_text(&line, recipient->original);
    }
    str_append_char(&line, '>');
    if (result->relay.n > 0)
        str_printf(&line, ", relay=%.*s", SPAN_ARG(result->relay));
    else
        str_append_cstr(&line, ", relay=none");
    if (connection_use > 1)
        str_printf(&line, ", conn_use=%d", connection_use);
    put_delays(&line, times);
    str_printf(&line, ", dsn=%s, status=%s (%.*s)", result->dsn,
               deliver_status_text(result->status), SPAN_ARG(result->reason));
    log_info("%.*s", SPAN_ARG(str_span(&line)));
    str_fini(&line);
}
