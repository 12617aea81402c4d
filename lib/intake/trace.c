/* trace.c: the Received: field, in Postfix's shape. */
#include <time.h>

#include "intake/intake.h"
#include "mail/date.h"

int intake_print_date(struct str *out, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    struct mail_date date = {.seconds = seconds};

    if (localtime_r(&t, &tm) == NULL)
        return date_append(out, date);
    date.zone = (int)(tm.tm_gmtoff / 60);
    date_append(out, date);
    return str_printf(out, " (%s)", tm.tm_zone != NULL ? tm.tm_zone : "");
}

static void print_tls(struct str *out, const struct intake_trace *trace)
{
    struct span head = trace->tls, rest = SPAN_NONE;
    ptrdiff_t at = span_search(trace->tls, SPAN_LIT(" key-exchange "));

    if (at < 0)
        at = span_search(trace->tls, SPAN_LIT(" server-signature "));
    if (at >= 0) {
        head = span_take(trace->tls, (size_t)at);
        rest = span_drop(trace->tls, (size_t)at);
    }
    str_printf(out, "\r\n\t(using %.*s", SPAN_ARG(head));
    if (rest.n > 0)
        str_printf(out, "\r\n\t%.*s", SPAN_ARG(rest));
    str_append_char(out, ')');
    if (trace->tls_client.n > 0)
        str_printf(out, "\r\n\t%.*s", SPAN_ARG(trace->tls_client));
}

int intake_print_received(struct str *out, const struct intake_options *options,
                          const struct intake_facts *facts, const struct intake_trace *trace)
{
    struct span helo = trace->helo.n > 0 ? trace->helo : trace->client_name;

    str_printf(out, "Received: from %.*s (%.*s [%.*s])", SPAN_ARG(helo),
               SPAN_ARG(trace->client_name), SPAN_ARG(trace->client_address));
    if (trace->tls.n > 0)
        print_tls(out, trace);
    if (trace->login.n > 0)
        str_printf(out, "\r\n\t(Authenticated sender: %.*s)", SPAN_ARG(trace->login));
    str_printf(out, "\r\n\tby %.*s (%.*s) with %.*s id %.*s", SPAN_ARG(options->myhostname),
               SPAN_ARG(options->mail_name), SPAN_ARG(trace->protocol), SPAN_ARG(facts->queue_id));
    if (trace->recipient.n > 0)
        str_printf(out, "\r\n\tfor <%.*s>; ", SPAN_ARG(trace->recipient));
    else
        str_append(out, SPAN_LIT(";\r\n\t"));
    intake_print_date(out, facts->arrival_s);
    return str_append(out, SPAN_LIT("\r\n"));
}
