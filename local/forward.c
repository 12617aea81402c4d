#include "local/forward.h"

#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "service/service.h"

enum { PIECE_OCTETS = 65536 };

/* --- where it goes --- */

static int expand(const struct route *route, struct span address, struct arena *arena,
                  struct route_expansion *list)
{
    struct str full = {0}, why = {0};
    int rc = route_rewrite(route, ROUTE_CONTEXT_LOCAL, address, &full);

    if (rc == 0)
        rc = route_expand(route, str_span(&full), arena, list, &why);
    if (rc < 0 && why.len > 0)
        log_warn("%s", str_cstr(&why));
    str_fini(&full);
    str_fini(&why);
    return rc;
}

int forward_is_final(const struct route *route, struct span address, struct arena *arena)
{
    struct route_expansion list = {0};
    enum route_class class = ROUTE_CLASS_DEFAULT;
    int rc = route_is_local_domain(route, route_domain(address));

    if (rc != 0)
        return rc;
    rc = route_classify(route, route_domain(address), &class);
    if (rc == 0 && class == ROUTE_CLASS_VIRTUAL_MAILBOX) {
        rc = expand(route, address, arena, &list);
        if (rc == 0)
            rc = list.recipients.len == 1 && span_ieq(list.recipients.items[0], address);
        route_expansion_free(&list);
    }
    return rc;
}

static bool is_there(const struct members *to, struct span address)
{
    for (size_t i = 0; i < to->list.len; i++)
        if (span_ieq(to->list.items[i].address, address))
            return true;
    return false;
}

int forward_expand(const struct route *route, const struct queue_recipient *r, struct span address,
                   struct arena *arena, struct members *to)
{
    struct route_expansion list = {0};
    int rc = expand(route, address, arena, &list);

    for (size_t i = 0; rc == 0 && i < list.recipients.len; i++) {
        struct queue_recipient *slot;

        if (is_there(to, list.recipients.items[i]))
            continue;
        slot = array_push(&to->list);
        if (slot == NULL)
            rc = -ENOMEM;
        else
            *slot =
                (struct queue_recipient){.address = list.recipients.items[i],
                                         .original = r->original.n > 0 ? r->original : r->address};
    }
    route_expansion_free(&list);
    return rc;
}

/* --- the message --- */

static int upload_content(struct queue_upload *upload, const struct deliver_job *job,
                          struct span address)
{
    uint64_t size = queue_content_size(&job->content);
    struct str piece = {0};
    int rc = str_printf(&piece, "Delivered-To: %.*s\r\n", SPAN_ARG(address));

    if (rc >= 0)
        rc = queue_upload_append(upload, str_span(&piece));
    for (uint64_t at = 0; rc == 0 && at < size; at += PIECE_OCTETS) {
        uint64_t n = size - at < PIECE_OCTETS ? size - at : PIECE_OCTETS;

        str_clear(&piece);
        rc = queue_content_copy(&job->content, at, n, &piece);
        if (rc >= 0)
            rc = queue_upload_append(upload, str_span(&piece));
    }
    str_fini(&piece);
    return rc;
}

/* Success is told by who delivered to the alias (RFC 3461 5.2.7.3). */
static uint32_t notify_of(const struct queue_recipient *r)
{
    uint32_t notify = r->notify & ~(uint32_t)QUEUE_NOTIFY_SUCCESS;

    return r->notify != 0 && notify == 0 ? (uint32_t)QUEUE_NOTIFY_NEVER : notify;
}

static int add_members(struct queue_message *m, const struct queue_recipient *r,
                       const struct members *to)
{
    for (size_t i = 0; i < to->list.len; i++) {
        const struct queue_recipient *from = &to->list.items[i];
        struct queue_recipient *copy = queue_message_add(m, from->address);

        if (copy == NULL)
            return -ENOMEM;
        copy->original = from->original;
        copy->transport = from->transport;
        copy->next_hop = from->next_hop;
        copy->orcpt = r->orcpt;
        copy->notify = notify_of(r);
    }
    return 0;
}

int forward_submit(struct queue_client *queue, const struct deliver_job *job,
                   const struct queue_recipient *r, struct span sender, const struct members *to,
                   struct str *id)
{
    const struct queue_message *old = job->message;
    struct queue_message m;
    struct queue_upload *upload = NULL;
    char text[QUEUE_ID_TEXT_MAX];

    queue_message_init(&m, NULL);
    int rc = queue_upload_begin(&upload, queue, NULL);
    if (rc == 0)
        rc = upload_content(upload, job, r->address);
    if (rc == 0)
        rc = queue_take_id(queue, &m.id);
    m.sender = sender;
    m.arrival_us = clock_wall_us();
    m.body = old->body;
    m.flags = old->flags & (uint32_t)(QUEUE_MESSAGE_SMTPUTF8 | QUEUE_MESSAGE_REQUIRETLS);
    m.message_id = old->message_id;
    m.listener = span_cstr(service_entry_name());
    if (span_eq(sender, old->sender)) {
        m.ret = old->ret;
        m.envid = old->envid;
    }
    if (rc == 0)
        rc = add_members(&m, r, to);
    if (rc == 0) {
        rc = queue_commit(queue, &m, upload);
        upload = NULL;
    }
    queue_upload_abort(upload);
    if (rc == 0)
        rc = str_append_cstr(id, queue_id_format(text, m.id));
    queue_message_fini(&m);
    return rc;
}
