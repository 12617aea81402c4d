#include "store/apply.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "base/log.h"
#include "store/cached.h"
#include "store/store.h"

/* --- messages --- */

static void count_in(struct index_txn *t, struct index_box *box, const struct index_message *m)
{
    box->messages++;
    box->bytes += m->size;
    box->unseen += !(m->flags & STORE_SEEN);
    box->recent++;
    if (m->uid >= box->uidnext)
        box->uidnext = (uint64_t)m->uid + 1;
    index_box_changed(t);
    t->meta.bytes += m->size;
    t->meta.messages++;
    t->is_meta_dirty = true;
}

static void count_out(struct index_txn *t, struct index_box *box, const struct index_message *m)
{
    box->messages -= box->messages > 0;
    box->bytes -= m->size < box->bytes ? m->size : box->bytes;
    box->unseen -= !(m->flags & STORE_SEEN) && box->unseen > 0;
    box->recent -= m->uid >= box->recent_from && box->recent > 0;
    index_box_changed(t);
    t->meta.bytes -= m->size < t->meta.bytes ? m->size : t->meta.bytes;
    t->meta.messages -= t->meta.messages > 0;
    t->is_meta_dirty = true;
}

static void touch(struct index_txn *t, struct index_box *box, uint64_t modseq)
{
    if (modseq > box->modseq)
        box->modseq = modseq;
    index_box_changed(t);
}

/* The fields only while the message is at hand: a record read without its body leaves them
 * to the first search. */
static int cache(struct index_txn *t, const struct record *r, const struct journal_record *record)
{
    struct index_cached c = {.envelope = r->envelope, .bodystructure = r->bodystructure};
    struct str fields = {0};
    int rc;

    if (record->body.n > 0 && record->body.n == r->hot.size)
        c.fields = cached_fields(record->body, &fields);
    rc = index_cached_put(t, r->mailbox, (uint32_t)record->number, &c);
    str_fini(&fields);
    return rc;
}

static int deliver(struct index_txn *t, const struct record *r, const struct journal_record *record)
{
    struct index_message m = {
        .uid = (uint32_t)record->number,
        .modseq = record->number,
        .flags = r->hot.flags,
        .zone = r->hot.zone,
        .bare = r->hot.bare,
        .keywords = r->hot.keywords,
        .date = r->hot.date,
        .size = r->hot.size,
        .segment = r->flags & RECORD_BLOB ? 0 : (uint32_t)record->at.segment,
        .offset = (uint32_t)record->at.offset,
    };
    struct index_box *box;
    int rc = index_box(t, r->mailbox, &box);

    if (rc < 0)
        return rc;
    memcpy(m.guid, r->hot.guid, GUID_SIZE);
    count_in(t, box, &m);
    touch(t, box, record->number);
    rc = index_message_put(t, r->mailbox, &m);
    if (rc == 0 && r->envelope.n > 0)
        rc = cache(t, r, record);
    if (rc == 0 && r->hot.delivery != 0)
        rc = index_delivery_put(t, r->hot.delivery, r->mailbox, m.uid);
    return rc;
}

/* The messages that pairs mean, as they are now. */
struct selected {
    ARRAY(struct index_message) items;
};

static int select_messages(struct index_txn *t, uint32_t box, struct span pairs,
                           struct selected *out)
{
    struct index_walk w;
    int rc = index_walk_begin(t, box, 0, &w);

    for (size_t i = 0; rc >= 0 && i < record_pairs(pairs); i++) {
        struct index_message m;
        uint32_t first, last;
        record_pair(pairs, i, &first, &last);
        index_walk_seek(&w, first);
        while ((rc = index_walk_next(&w, &m)) > 0 && m.uid <= last) {
            struct index_message *item = array_push(&out->items);
            if (item == NULL) {
                rc = -ENOMEM;
                break;
            }
            *item = m;
        }
    }
    index_walk_end(&w);
    return rc < 0 ? rc : 0;
}

static uint16_t change_flags(uint16_t flags, const struct record *r)
{
    switch (r->op) {
    case STORE_FLAGS_SET:
        return r->message_flags;
    case STORE_FLAGS_ADD:
        return flags | r->message_flags;
    default:
        return (uint16_t)(flags & ~r->message_flags);
    }
}

static uint64_t change_keywords(uint64_t keywords, const struct record *r)
{
    switch (r->op) {
    case STORE_FLAGS_SET:
        return r->keywords;
    case STORE_FLAGS_ADD:
        return keywords | r->keywords;
    default:
        return keywords & ~r->keywords;
    }
}

static int set_flags(struct index_txn *t, const struct record *r, uint64_t modseq)
{
    struct selected sel = {0};
    struct index_box *box;
    int rc = index_box(t, r->mailbox, &box);

    if (rc == 0)
        rc = select_messages(t, r->mailbox, r->uids, &sel);
    for (size_t i = 0; rc == 0 && i < sel.items.len; i++) {
        struct index_message *m = &sel.items.items[i];
        bool was_unseen = !(m->flags & STORE_SEEN), is_unseen;
        rc = index_log(t, r->mailbox, m->uid, m->modseq, modseq);
        m->flags = change_flags(m->flags, r);
        m->keywords = change_keywords(m->keywords, r);
        m->modseq = modseq;
        is_unseen = !(m->flags & STORE_SEEN);
        box->unseen = box->unseen + is_unseen - (was_unseen && box->unseen + is_unseen > 0);
        if (rc == 0)
            rc = index_message_put(t, r->mailbox, m);
    }
    if (rc == 0)
        touch(t, box, modseq);
    array_free(&sel.items);
    return rc;
}

static int remove_selected(struct index_txn *t, uint32_t id, const struct selected *sel,
                           uint64_t modseq, struct span pairs)
{
    struct index_box *box;
    int rc = index_box(t, id, &box);

    for (size_t i = 0; rc == 0 && i < sel->items.len; i++) {
        const struct index_message *m = &sel->items.items[i];
        count_out(t, box, m);
        rc = index_log(t, id, m->uid, m->modseq, 0);
        if (rc == 0)
            rc = index_message_remove(t, id, m->uid);
    }
    if (rc == 0 && sel->items.len > 0) {
        touch(t, box, modseq);
        rc = index_vanish(t, id, modseq, pairs);
    }
    return rc;
}

static int expunge(struct index_txn *t, const struct record *r, uint64_t modseq)
{
    struct selected sel = {0};
    int rc = select_messages(t, r->mailbox, r->uids, &sel);

    if (rc == 0)
        rc = remove_selected(t, r->mailbox, &sel, modseq, r->uids);
    array_free(&sel.items);
    return rc;
}

static int copy_one(struct index_txn *t, const struct record *r, struct index_box *to,
                    const struct index_message *source, uint64_t number)
{
    struct index_message m = *source;
    struct index_cached cached;
    int rc;

    m.uid = (uint32_t)number;
    m.modseq = number;
    count_in(t, to, &m);
    touch(t, to, number);
    rc = index_message_put(t, r->to, &m);
    if (rc == 0 && index_cached(t, r->mailbox, source->uid, &cached) == 0)
        rc = index_cached_put(t, r->to, m.uid, &cached);
    return rc;
}

static int copy(struct index_txn *t, const struct record *r, const struct journal_record *record)
{
    uint64_t number = record->number - record->count;
    struct selected sel = {0};
    struct index_box *to;
    int rc = index_box(t, r->to, &to);

    if (rc == 0)
        rc = select_messages(t, r->mailbox, r->uids, &sel);
    for (size_t i = 0; rc == 0 && i < sel.items.len && number < record->number; i++)
        rc = copy_one(t, r, to, &sel.items.items[i], ++number);
    if (rc == 0 && r->flags & RECORD_MOVE)
        rc = remove_selected(t, r->mailbox, &sel, record->number, r->uids);
    array_free(&sel.items);
    return rc;
}

static int moved(struct index_txn *t, const struct record *r, const struct journal_record *record)
{
    for (size_t i = 0; i < record_pairs(r->owners); i++) {
        struct index_message m;
        uint32_t box, uid;
        int rc;
        record_pair(r->owners, i, &box, &uid);
        rc = index_message(t, box, uid, &m);
        if (rc == ERR_NOT_FOUND || (rc == 0 && memcmp(m.guid, r->hot.guid, GUID_SIZE) != 0))
            continue;
        if (rc == 0) {
            m.segment = (uint32_t)record->at.segment;
            m.offset = (uint32_t)record->at.offset;
            rc = index_message_put(t, box, &m);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* --- mailboxes --- */

static int create(struct index_txn *t, const struct record *r, uint64_t number)
{
    bool is_inbox = span_eq(r->name, SPAN_LIT("INBOX"));
    struct index_box box = {.id = is_inbox ? STORE_INBOX : (uint32_t)number,
                            .uidvalidity = r->value,
                            .is_selectable = true,
                            .uidnext = 1,
                            .modseq = number,
                            .vanished_floor = 0};
    uint32_t id;

    if (r->name.n > INDEX_NAME_MAX || r->other.n > INDEX_SPECIAL_MAX)
        return ERR_CORRUPT;
    if (index_box_find(t, r->name, &id) == 0)
        return 0;
    memcpy(box.name, r->name.p, r->name.n);
    box.name_length = (uint16_t)r->name.n;
    if (r->other.n > 0)
        memcpy(box.special, r->other.p, r->other.n);
    box.special_length = (uint16_t)r->other.n;
    if (r->value > t->meta.uidvalidity)
        t->meta.uidvalidity = r->value;
    t->is_meta_dirty = true;
    return index_box_add(t, &box);
}

static void forget_messages(struct index_txn *t, struct index_box *box)
{
    t->meta.bytes -= box->bytes < t->meta.bytes ? box->bytes : t->meta.bytes;
    t->meta.messages -= box->messages < t->meta.messages ? box->messages : t->meta.messages;
    t->is_meta_dirty = true;
    box->messages = box->bytes = box->unseen = box->recent = 0;
    box->vanished = 0;
    index_box_changed(t);
}

/* Messages go when it is no longer selectable, with a fresh uidvalidity when it is again. */
static int selectable(struct index_txn *t, const struct record *r, uint64_t number)
{
    struct index_box *box;
    int rc = index_box(t, r->mailbox, &box);

    if (rc < 0)
        return rc;
    box->is_selectable = r->value != 0;
    touch(t, box, number);
    if (r->value != 0) {
        box->uidvalidity = r->value;
        if (r->value > t->meta.uidvalidity)
            t->meta.uidvalidity = r->value;
        t->is_meta_dirty = true;
        return 0;
    }
    forget_messages(t, box);
    box->vanished_floor = number;
    return index_box_clear(t, r->mailbox);
}

static int remove_box(struct index_txn *t, const struct record *r)
{
    struct index_box *box;
    int rc = index_box(t, r->mailbox, &box);

    if (rc < 0)
        return rc;
    forget_messages(t, box);
    return index_box_remove(t, r->mailbox);
}

static int special_use(struct index_txn *t, const struct record *r)
{
    struct index_box *box;
    int rc = index_box(t, r->mailbox, &box);

    if (rc == 0 && r->other.n > INDEX_SPECIAL_MAX)
        rc = ERR_CORRUPT;
    if (rc < 0)
        return rc;
    if (r->other.n > 0)
        memcpy(box->special, r->other.p, r->other.n);
    box->special_length = (uint16_t)r->other.n;
    index_box_changed(t);
    return 0;
}

/* Each mailbox a uidvalidity of its own, as when they were made. */
static int renew(struct index_txn *t, const struct record *r, uint64_t number)
{
    struct index_boxes all = {0};
    int rc = index_box_list(t, &all);

    for (size_t i = 0; rc == 0 && i < all.items.len; i++) {
        struct index_box *box;
        rc = index_box(t, all.items.items[i].id, &box);
        if (rc < 0)
            break;
        box->uidvalidity = r->value + (uint32_t)i;
        touch(t, box, number);
        if (box->uidvalidity > t->meta.uidvalidity)
            t->meta.uidvalidity = box->uidvalidity;
    }
    t->is_meta_dirty = true;
    array_free(&all.items);
    return rc;
}

static int change_box(struct index_txn *t, const struct record *r, uint64_t number)
{
    switch (r->op) {
    case RECORD_BOX_CREATE:
        return create(t, r, number);
    case RECORD_BOX_DELETE:
        return remove_box(t, r);
    case RECORD_BOX_RENAME:
        return index_box_rename(t, r->mailbox, r->other);
    case RECORD_BOX_SELECTABLE:
        return selectable(t, r, number);
    case RECORD_BOX_SUBSCRIBE:
        return index_subscribe(t, r->name, r->value != 0);
    case RECORD_BOX_RENEW:
        return renew(t, r, number);
    default:
        return special_use(t, r);
    }
}

/* --- records --- */

static int apply(struct index_txn *t, const struct record *r, const struct journal_record *record)
{
    switch (r->kind) {
    case RECORD_DELIVER:
        return deliver(t, r, record);
    case RECORD_FLAGS:
        return set_flags(t, r, record->number);
    case RECORD_EXPUNGE:
        return expunge(t, r, record->number);
    case RECORD_COPY:
        return copy(t, r, record);
    case RECORD_MAILBOX:
        return change_box(t, r, record->number);
    case RECORD_KEYWORD:
        return index_keyword_put(t, r->value, r->name);
    default:
        return moved(t, r, record);
    }
}

int apply_record(struct index_txn *t, const struct journal_record *record)
{
    struct record r;
    int rc;

    if (record->kind < JOURNAL_KIND_USER)
        return 0;
    rc = record_decode(record->kind, record->head, &r);
    if (rc == 0)
        rc = apply(t, &r, record);
    if (rc == ERR_CORRUPT && index_is_bad(t->index))
        return rc;
    if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND) {
        log_error("store: record %llu of kind %u does not fit (%s) and is passed over",
                  (unsigned long long)record->number, record->kind, error_text(rc));
        rc = 0;
    }
    return rc;
}

static int open_reader(struct index_txn *t, struct disk *disk, struct journal_reader **out)
{
    int rc = journal_reader_open(disk, &t->meta.applied, true, out);

    if (rc != ERR_NOT_FOUND || t->meta.applied.segment == 0)
        return rc;
    rc = index_empty(t);
    return rc < 0 ? rc : journal_reader_open(disk, NULL, true, out);
}

/* A snapshot says what is known already, except at the start and behind a gap. */
static int apply_any(struct index_txn *t, const struct journal_record *record, bool *is_behind_gap)
{
    bool is_wanted = t->meta.applied.segment == 0 || *is_behind_gap;

    if (record->kind == JOURNAL_OPEN && record->flags & JOURNAL_SNAPSHOT && is_wanted) {
        *is_behind_gap = false;
        return snapshot_load(t, record->body);
    }
    return apply_record(t, record);
}

int apply_tail(struct index_txn *t, struct disk *disk, unsigned limit, bool *more)
{
    struct journal_reader *r;
    struct journal_record record;
    bool is_behind_gap = false;
    unsigned count = 0;
    int rc = open_reader(t, disk, &r);

    *more = false;
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    for (;;) {
        rc = journal_reader_next(r, &record);
        if (rc == ERR_CORRUPT) {
            log_error("store: a journal is damaged in a sealed segment; records are missing");
            rc = journal_reader_skip(r);
            if (rc < 0)
                break;
            is_behind_gap = true;
            continue;
        }
        if (rc == ERR_NOT_FOUND) {
            /* The segment that follows was cleaned away: start anew. */
            rc = index_empty(t);
            *more = rc == 0;
            break;
        }
        if (rc <= 0)
            break;
        rc = apply_any(t, &record, &is_behind_gap);
        if (rc < 0)
            break;
        journal_reader_cursor(r, &t->meta.applied);
        t->is_meta_dirty = true;
        if (++count >= limit) {
            *more = true;
            break;
        }
    }
    journal_reader_close(r);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 0;
}
