#include "smtp/trouble.h"

#include <stdarg.h>
#include <stdio.h>

enum { REASON_MAX = 2000 };

static const char no_memory[] = "out of memory";

static void set_dsn(struct trouble *t, struct dsn_status dsn)
{
    /* A reply that is good but out of place is no success. */
    unsigned class = dsn.class == 5 ? 5 : 4;

    snprintf(t->dsn, sizeof(t->dsn), "%u.%u.%u", class, dsn.subject % 1000U, dsn.detail % 1000U);
}

void trouble_set(struct trouble *t, struct arena *arena, const char *dsn, const char *fmt, ...)
{
    struct str text = {.max = REASON_MAX};
    va_list ap;

    *t = (struct trouble){0};
    snprintf(t->dsn, sizeof(t->dsn), "%s", dsn);
    va_start(ap, fmt);
    str_vprintf(&text, fmt, ap);
    va_end(ap);
    if (arena_copy(arena, str_span(&text), &t->reason) < 0 || t->reason.n == 0)
        t->reason = SPAN_LIT(no_memory);
    str_fini(&text);
}

/* The reply on one line, and all of it: a NUL would end the text for some readers. */
static int copy_reply(struct arena *arena, const struct reply *reply, struct span *copy)
{
    char *text;

    if (arena_copy(arena, span_take(str_span(&reply->text), REASON_MAX), copy) < 0)
        return -1;
    text = (char *)copy->p;
    for (size_t i = 0; i < copy->n; i++)
        if (text[i] == '\n')
            text[i] = ' ';
        else if ((unsigned char)text[i] < 32 || text[i] == 127)
            text[i] = '?';
    return 0;
}

void trouble_reply(struct trouble *t, struct arena *arena, const struct reply *reply,
                   const char *host, const char *before, const char *after)
{
    char *reason;

    *t = (struct trouble){0};
    set_dsn(t, reply->dsn);
    if (copy_reply(arena, reply, &t->remote_reply) < 0)
        t->remote_reply = SPAN_LIT(no_memory);
    reason = arena_printf(arena, "%s%.*s%s", before, SPAN_ARG(t->remote_reply), after);
    t->reason = reason != NULL ? span_cstr(reason) : SPAN_LIT(no_memory);
    t->remote_host = span_cstr(host);
}
