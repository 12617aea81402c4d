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

/* --- members --- */

struct known {
    struct hash_node node;
    struct span address, next_hop;
};

void member_set_fini(struct member_set *set)
{
    hash_fini(&set->known);
}

int members_add(struct members *to, struct member_set *set, const struct queue_recipient *r,
                struct arena *arena)
{
    uint64_t hash = span_ihash(r->address);
    struct hash_node *node = hash_first(&set->known, hash);
    struct queue_recipient *slot;
    struct known *known;

    for (; node != NULL; node = hash_next(node)) {
        known = CONTAINER_OF(node, struct known, node);
        if (span_ieq(known->address, r->address) && span_eq(known->next_hop, r->next_hop))
            return 0;
    }
    known = ARENA_NEW(arena, struct known);
    slot = array_push(&to->list);
    if (known == NULL || slot == NULL)
        return -ENOMEM;
    *slot = *r;
    known->address = r->address;
    known->next_hop = r->next_hop;
    return hash_insert(&set->known, &known->node, hash);
}

int forward_expand(const struct route *route, const struct queue_recipient *r, struct arena *arena,
                   struct members *to, struct member_set *set)
{
    struct route_expansion list = {0};
    int rc = expand(route, r->address, arena, &list);

    for (size_t i = 0; rc == 0 && i < list.recipients.len; i++) {
        struct queue_recipient member = *r;

        member.address = list.recipients.items[i];
        rc = members_add(to, set, &member, arena);
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
                       const struct members *to, bool is_same_sender)
{
    for (size_t i = 0; i < to->list.len; i++) {
        const struct queue_recipient *from = &to->list.items[i];
        struct queue_recipient *copy = queue_message_add(m, from->address);

        if (copy == NULL)
            return -ENOMEM;
        copy->original = is_same_sender ? from->original : from->address;
        copy->transport = from->transport;
        copy->next_hop = from->next_hop;
        if (is_same_sender)
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
    bool is_same_sender = span_eq(sender, old->sender);

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
    if (is_same_sender) {
        m.ret = old->ret;
        m.envid = old->envid;
    }
    if (rc == 0)
        rc = add_members(&m, r, to, is_same_sender);
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
