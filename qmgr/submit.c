#include "qmgr/submit.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"

static bool is_there(const struct queue_message *m, struct span address)
{
    for (size_t i = 0; i < m->recipients.len; i++)
        if (span_ieq(m->recipients.items[i].address, address))
            return true;
    return false;
}

static int add(struct queue_message *m, struct span address, struct span original)
{
    if (is_there(m, address))
        return 0;
    struct queue_recipient *r = queue_message_add(m, address);
    if (r == NULL)
        return -ENOMEM;
    return span_eq(address, original) ? 0 : arena_copy(&m->arena, original, &r->original);
}

int submit_add_recipient(struct queue_message *m, const struct route *route, struct span to)
{
    struct route_expansion list = {0};
    struct str address = {0}, why = {0};
    int rc = route_rewrite(route, ROUTE_CONTEXT_LOCAL, to, &address);

    if (rc == 0)
        rc = route_expand(route, str_span(&address), &m->arena, &list, &why);
    if (rc == ERR_LIMIT) {
        /* Better to the address itself than to nobody. */
        log_warn("%s", str_cstr(&why));
        rc = add(m, str_span(&address), str_span(&address));
    } else {
        for (size_t i = 0; rc == 0 && i < list.recipients.len; i++)
            rc = add(m, list.recipients.items[i], str_span(&address));
    }
    route_expansion_free(&list);
    str_fini(&address);
    str_fini(&why);
    return rc;
}

void submit_log(const char *program, const char *fmt, ...)
{
    char own[64], other[96];
    const char *slash;
    struct str line = {0};
    va_list ap;

    va_start(ap, fmt);
    str_vprintf(&line, fmt, ap);
    va_end(ap);
    snprintf(own, sizeof(own), "%s", log_tag());
    slash = strrchr(own, '/');
    snprintf(other, sizeof(other), "%.*s%s", slash != NULL ? (int)(slash + 1 - own) : 0, own,
             program);
    log_set_tag(other);
    log_info("%s", str_cstr(&line));
    log_set_tag(own);
    str_fini(&line);
}
