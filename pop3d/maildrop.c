#include "pop3d/maildrop.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

/* What a session holds at most of messages that its client has not asked for yet. */
enum { AHEAD_OCTETS = 64 * 1024, AHEAD_MESSAGES = 32 };

static int take_snapshot(struct maildrop *m)
{
    for (size_t i = 0; i < m->view->messages.len; i++) {
        const struct store_message *message = &m->view->messages.items[i];
        struct maildrop_entry *entry = array_push(&m->entries);
        if (entry == NULL)
            return -ENOMEM;
        entry->uid = message->uid;
        entry->size = message->size;
    }
    m->uidvalidity = m->view->uidvalidity;
    return 0;
}

int maildrop_open(struct maildrop *m, struct store *store, struct span account)
{
    struct arena arena = {0};
    struct store_mailbox inbox;
    int rc;

    *m = (struct maildrop){0};
    rc = store_open(store, account, true, &m->account);
    if (rc == 0)
        rc = store_lock(m->account, "pop3", &m->lock);
    if (rc == 0)
        rc = store_find(m->account, SPAN_LIT("INBOX"), &arena, &inbox);
    if (rc == 0)
        rc = store_view_open(m->account, inbox.id, true, &m->view);
    if (rc == 0)
        rc = take_snapshot(m);
    arena_reset(&arena);
    return rc;
}

void maildrop_close(struct maildrop *m)
{
    array_free(&m->entries);
    arena_reset(&m->ahead_memory);
    if (m->view != NULL)
        store_view_close(m->view);
    if (m->lock != NULL)
        store_unlock(m->lock);
    if (m->account != NULL)
        store_close(m->account);
    *m = (struct maildrop){0};
}

size_t maildrop_count(const struct maildrop *m)
{
    size_t count = 0;

    for (size_t i = 0; i < m->entries.len; i++)
        count += !m->entries.items[i].is_deleted;
    return count;
}

uint64_t maildrop_size(const struct maildrop *m)
{
    uint64_t size = 0;

    for (size_t i = 0; i < m->entries.len; i++) {
        if (!m->entries.items[i].is_deleted)
            size += m->entries.items[i].size;
    }
    return size;
}

struct maildrop_entry *maildrop_find(struct maildrop *m, struct span number)
{
    uint64_t n;

    if (span_to_u64(number, &n) < 0 || n == 0 || n > m->entries.len ||
        m->entries.items[n - 1].is_deleted)
        return NULL;
    return &m->entries.items[n - 1];
}

static void forget_ahead(struct maildrop *m)
{
    arena_reset(&m->ahead_memory);
    m->ahead = NULL;
    m->ahead_count = 0;
}

/* From the entry at first on, up to one that is too long. What fails is read again, and its
 * error told, when the client asks for it. */
static void read_ahead(struct maildrop *m, size_t first)
{
    uint32_t uids[AHEAD_MESSAGES];
    uint64_t octets = 0;
    size_t count = 0;

    forget_ahead(m);
    for (size_t i = first; i < m->entries.len && count < AHEAD_MESSAGES; i++) {
        octets += m->entries.items[i].size;
        if (octets > AHEAD_OCTETS)
            break;
        uids[count++] = m->entries.items[i].uid;
    }
    if (count > 0)
        m->ahead = ARENA_NEW_N(&m->ahead_memory, struct span, count);
    if (m->ahead == NULL)
        return;
    m->ahead_first = first;
    m->ahead_count = count;
    if (store_heads(m->view, uids, count, AHEAD_OCTETS, &m->ahead_memory, m->ahead) < 0)
        forget_ahead(m);
}

static bool is_ahead(const struct maildrop *m, size_t at)
{
    return at >= m->ahead_first && at - m->ahead_first < m->ahead_count;
}

struct span maildrop_read(struct maildrop *m, const struct maildrop_entry *entry)
{
    size_t at = (size_t)(entry - m->entries.items);
    bool is_in_order = at > 0 && at == m->next;

    m->next = at + 1;
    if (is_in_order && !is_ahead(m, at))
        read_ahead(m, at);
    return is_ahead(m, at) ? m->ahead[at - m->ahead_first] : SPAN_NONE;
}

void maildrop_undelete(struct maildrop *m)
{
    for (size_t i = 0; i < m->entries.len; i++)
        m->entries.items[i].is_deleted = false;
}

/* UIDs of the entries that are to be removed (or, without remove, marked \Seen). */
static size_t collect(const struct maildrop *m, bool deleted, uint32_t *uids)
{
    size_t count = 0;

    for (size_t i = 0; i < m->entries.len; i++) {
        const struct maildrop_entry *e = &m->entries.items[i];
        if (deleted ? e->is_deleted : e->is_read)
            uids[count++] = e->uid;
    }
    return count;
}

int maildrop_update(struct maildrop *m, bool remove)
{
    struct store_flag_change seen = {.op = STORE_FLAGS_ADD, .flags = STORE_SEEN};
    uint32_t *uids = calloc(m->entries.len + 1, sizeof(*uids));
    size_t count;
    int rc = 0;

    if (uids == NULL)
        return -ENOMEM;
    count = collect(m, false, uids);
    if (count > 0)
        rc = store_set_flags(m->view, uids, count, &seen, NULL);
    if (rc == 0 && remove && (count = collect(m, true, uids)) > 0)
        rc = store_expunge(m->view, uids, count, true);
    free(uids);
    return rc;
}
