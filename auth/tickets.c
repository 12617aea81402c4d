#include "auth/tickets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/random.h"

enum { ID_OCTETS = 16 };

struct ticket {
    struct hash_node node;
    struct list by_age;
    unsigned char id[ID_OCTETS];
    int64_t expires_ms;
    char *service, *user, *account;
};

struct tickets {
    struct hash by_id;
    struct list by_age; /* oldest first: all live equally long */
    size_t limit;
    int64_t lifetime_ms;
};

struct tickets *tickets_new(size_t limit, int64_t lifetime_ms)
{
    struct tickets *t = NEW(struct tickets);

    if (t == NULL)
        return NULL;
    list_init(&t->by_age);
    t->limit = limit;
    t->lifetime_ms = lifetime_ms;
    return t;
}

static void drop(struct tickets *t, struct ticket *ticket)
{
    hash_remove(&t->by_id, &ticket->node);
    list_remove(&ticket->by_age);
    free(ticket->service);
    free(ticket->user);
    free(ticket->account);
    free(ticket);
}

void tickets_free(struct tickets *t)
{
    if (t == NULL)
        return;
    LIST_FOR_SAFE(item, &t->by_age)
    drop(t, LIST_ITEM(item, struct ticket, by_age));
    hash_fini(&t->by_id);
    free(t);
}

static void drop_expired(struct tickets *t, int64_t now_ms)
{
    LIST_FOR_SAFE(item, &t->by_age)
    {
        struct ticket *ticket = LIST_ITEM(item, struct ticket, by_age);
        if (ticket->expires_ms > now_ms)
            break;
        drop(t, ticket);
    }
}

static uint64_t hash_id(const unsigned char *id)
{
    return span_hash(span_make(id, ID_OCTETS));
}

static int add(struct tickets *t, const unsigned char *id, struct span service, struct span user,
               struct span account, int64_t expires_ms)
{
    struct ticket *ticket;

    if (t->by_id.count >= t->limit)
        return ERR_LIMIT;
    ticket = NEW(struct ticket);
    if (ticket == NULL)
        return -ENOMEM;
    memcpy(ticket->id, id, ID_OCTETS);
    ticket->expires_ms = expires_ms;
    ticket->service = mem_strdup(service);
    ticket->user = mem_strdup(user);
    ticket->account = mem_strdup(account);
    list_init(&ticket->by_age);
    if (ticket->service == NULL || ticket->user == NULL || ticket->account == NULL ||
        hash_insert(&t->by_id, &ticket->node, hash_id(ticket->id)) < 0) {
        free(ticket->service);
        free(ticket->user);
        free(ticket->account);
        free(ticket);
        return -ENOMEM;
    }
    list_append(&t->by_age, &ticket->by_age);
    return 0;
}

int tickets_issue(struct tickets *t, const char *service, struct span user, struct span account,
                  int64_t now_ms, struct str *id)
{
    unsigned char octets[ID_OCTETS];
    int rc;

    drop_expired(t, now_ms);
    random_bytes(octets, ID_OCTETS);
    rc = add(t, octets, span_cstr(service), user, account, now_ms + t->lifetime_ms);
    return rc < 0 ? rc : hex_encode(id, span_make(octets, ID_OCTETS));
}

static struct ticket *find(struct tickets *t, struct span id)
{
    struct str raw = {0};
    struct ticket *found = NULL;

    if (id.n == 2 * ID_OCTETS && hex_decode(&raw, id) == 0) {
        const unsigned char *octets = (const unsigned char *)str_cstr(&raw);
        struct hash_node *n = hash_first(&t->by_id, hash_id(octets));
        for (; n != NULL && found == NULL; n = hash_next(n)) {
            struct ticket *ticket = CONTAINER_OF(n, struct ticket, node);
            if (memcmp(ticket->id, octets, ID_OCTETS) == 0)
                found = ticket;
        }
    }
    str_fini(&raw);
    return found;
}

int tickets_redeem(struct tickets *t, struct span id, struct span service, int64_t now_ms,
                   struct str *user, struct str *account)
{
    struct ticket *ticket;
    int rc = ERR_DENIED;

    drop_expired(t, now_ms);
    ticket = find(t, id);
    if (ticket == NULL)
        return ERR_DENIED;
    if (span_eq(service, span_cstr(ticket->service))) {
        rc = str_set(user, span_cstr(ticket->user));
        if (rc == 0)
            rc = str_set(account, span_cstr(ticket->account));
    }
    drop(t, ticket);
    return rc;
}

/* --- from one process to the next --- */

/* Each value ends with a NUL, which none of them has. */
static void put(struct str *out, struct span value)
{
    str_append(out, value);
    str_append_char(out, '\0');
}

int tickets_save(struct tickets *t, int64_t now_ms, struct str *out)
{
    drop_expired(t, now_ms);
    LIST_FOR(item, &t->by_age)
    {
        const struct ticket *ticket = LIST_ITEM(item, struct ticket, by_age);

        hex_encode(out, span_make(ticket->id, ID_OCTETS));
        str_append_char(out, '\0');
        str_printf(out, "%lld", (long long)ticket->expires_ms);
        str_append_char(out, '\0');
        put(out, span_cstr(ticket->service));
        put(out, span_cstr(ticket->user));
        put(out, span_cstr(ticket->account));
    }
    return str_error(out);
}

static int restore_one(struct tickets *t, const struct span *values, int64_t now_ms)
{
    struct str id = {0};
    int64_t expires_ms, latest_ms = now_ms + t->lifetime_ms;
    int rc = ERR_SYNTAX;

    if (values[0].n == 2 * ID_OCTETS && hex_decode(&id, values[0]) == 0 &&
        span_to_i64(values[1], &expires_ms) == 0)
        rc = add(t, (const unsigned char *)str_cstr(&id), values[2], values[3], values[4],
                 expires_ms < latest_ms ? expires_ms : latest_ms);
    str_fini_secret(&id);
    return rc;
}

int tickets_restore(struct tickets *t, struct span text, int64_t now_ms)
{
    struct span values[5];
    int rc = 0;

    while (rc == 0 && text.n > 0) {
        for (size_t i = 0; rc == 0 && i < COUNT_OF(values); i++)
            rc = span_next(&text, '\0', &values[i]) ? 0 : ERR_SYNTAX;
        if (rc == 0)
            rc = restore_one(t, values, now_ms);
    }
    return rc;
}
