#include "journal/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/random.h"
#include "journal/rules.h"
#include "journal/writer_internal.h"

void writer_slot_name(char name[SLOT_NAME_SIZE], uint64_t slot)
{
    snprintf(name, SLOT_NAME_SIZE, "slot.%" PRIu64, slot);
}

struct segment *writer_active(const struct journal_writer *w)
{
    return w->segments.len > 0 ? array_last(&w->segments) : NULL;
}

struct segment *writer_find_segment(const struct journal_writer *w, uint64_t number)
{
    for (size_t i = w->segments.len; i > 0; i--) {
        if (w->segments.items[i - 1].header.number == number)
            return &w->segments.items[i - 1];
    }
    return NULL;
}

uint64_t writer_room_end(const struct journal_writer *w)
{
    uint32_t seal = w->options.alignment > 64 ? w->options.alignment : 64;

    return writer_active(w)->header.size - seal;
}

/* --- the open batch --- */

static struct journal_batch *new_batch(struct journal_writer *w)
{
    struct list *item = list_pop(&w->spare);
    struct journal_batch *b =
        item ? LIST_ITEM(item, struct journal_batch, link) : NEW(struct journal_batch);

    if (b == NULL)
        return NULL;
    list_init(&b->link);
    b->writer = w;
    b->len = 0;
    b->records = 0;
    b->limit = 0;
    b->rc = 0;
    b->is_settled = false;
    return b;
}

/* A batch at the active segment's end. */
static int begin_batch(struct journal_writer *w)
{
    struct segment *active = writer_active(w);
    struct journal_batch *b = new_batch(w);

    if (b == NULL)
        return -ENOMEM;
    w->end = format_align(w->end, w->options.alignment);
    b->sequence = ++w->last_sequence;
    b->slot = active->slot;
    b->segment = active->header.number;
    b->offset = w->end;
    active->in_flight++;
    list_append(&w->waiting, &b->link);
    w->open = b;
    return 0;
}

/* Room for n more octets in the open batch's memory, zeroed. */
static unsigned char *extend(struct journal_batch *b, size_t n)
{
    if (b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap * 2 : 16384;
        unsigned char *grown;
        while (cap - b->len < n)
            cap *= 2;
        grown = realloc(b->data, cap);
        if (grown == NULL)
            return NULL;
        b->data = grown;
        b->cap = cap;
    }
    return b->data + b->len;
}

/* Append a record where the open batch ends; the place was checked. */
static int put_record(struct journal_writer *w, struct journal_record *record)
{
    struct journal_batch *b = w->open;
    struct segment *active = writer_active(w);
    size_t size = format_align(scan_record_length(record), 8);
    unsigned char *data = extend(b, size);
    struct record_header h;

    if (data == NULL)
        return -ENOMEM;
    record->number = w->number + record->count;
    h = scan_make_record(data, record, active->header.nonce, w->prev, w->limit);
    record->at = (struct journal_position){
        .segment = active->header.number, .offset = b->offset + b->len, .length = h.length};
    b->len += size;
    b->records++;
    w->end = b->offset + b->len;
    w->prev = h.header_crc;
    w->last = record->at;
    w->number = record->number;
    active->used = w->end;
    w->stat_records++;
    return 0;
}

int writer_add_own(struct journal_writer *w, enum journal_kind kind)
{
    struct journal_record record = {.kind = kind};
    int rc;

    if (w->open == NULL) {
        rc = begin_batch(w);
        if (rc < 0)
            return rc;
    }
    if (kind == JOURNAL_RESERVE) {
        uint64_t limit = w->limit;
        w->limit = (w->number > limit ? w->number : limit) + w->options.reserve;
        rc = put_record(w, &record);
        if (rc < 0) {
            w->limit = limit;
            return rc;
        }
        w->open->limit = w->limit;
        w->limit_sequence = w->open->sequence;
        return 0;
    }
    return put_record(w, &record);
}

/* --- segments --- */

/* The header block goes in front of the new segment's first batch. */
static int open_segment(struct journal_writer *w, uint64_t slot)
{
    struct segment *s = array_push(&w->segments);
    unsigned char *block;
    int rc;

    if (s == NULL)
        return -ENOMEM;
    s->slot = slot;
    s->header = (struct segment_header){.flags = SEGMENT_QUEUE,
                                        .number = w->next_segment,
                                        .identity = slot,
                                        .size = w->options.segment_size,
                                        .alignment = w->options.alignment};
    while (s->header.nonce == 0)
        s->header.nonce = RULE(RULE_NONCE) ? random_u64() : s->header.number;
    w->end = 0;
    w->prev = (uint32_t)s->header.nonce;
    rc = begin_batch(w);
    if (rc < 0)
        return rc;
    block = extend(w->open, SEGMENT_HEADER_SIZE);
    if (block == NULL)
        return -ENOMEM;
    segment_header_encode(&s->header, block);
    w->open->len = SEGMENT_HEADER_SIZE;
    w->next_segment++;
    return writer_add_own(w, JOURNAL_OPEN);
}

/* The journal cannot go on: memory ran out between two steps that belong together. */
static int fail(struct journal_writer *w, int rc)
{
    if (w->error == 0) {
        w->error = rc;
        log_error("journal: no further writes: %s", error_text(rc));
    }
    return ERR_READ_ONLY;
}

int writer_switch_segment(struct journal_writer *w)
{
    struct segment *active = writer_active(w);
    uint64_t slot;
    int rc;

    /* Only then "not sealed, and not one of the last two" means damage. */
    if (w->free_slots.len == 0 || w->seal_sequence > w->confirmed)
        return -EAGAIN;
    if (active != NULL && !active->is_sealed) {
        rc = writer_add_own(w, JOURNAL_SEAL);
        if (rc < 0)
            return rc;
        active->is_sealed = true;
        w->seal_sequence = w->open->sequence;
    }
    w->open = NULL;
    slot = array_last(&w->free_slots)[0];
    w->free_slots.len--;
    rc = open_segment(w, slot);
    return rc < 0 ? fail(w, rc) : 0;
}

/* --- adding --- */

/* Numbers must stay below what is durably reserved; the next range is asked for
 * when half of this one is used, so that nobody waits for it. */
static int check_numbers(struct journal_writer *w, uint32_t count)
{
    uint64_t after = w->number + count;
    bool is_coming = w->limit > w->durable_limit;

    if (!is_coming && after + w->options.reserve / 2 >= w->durable_limit) {
        int rc = writer_add_own(w, JOURNAL_RESERVE);
        if (rc < 0)
            return rc;
    }
    if (!RULE(RULE_RESERVE_SYNC))
        return 0;
    return after < w->durable_limit ? 0 : -EAGAIN;
}

/* Place for the record, and a RESERVE in front of it, in the open batch. */
static int make_room(struct journal_writer *w, uint64_t size)
{
    uint64_t need = size + RECORD_HEADER_SIZE;
    uint64_t place = w->open ? w->end : format_align(w->end, w->options.alignment);

    if (writer_active(w)->is_sealed || place + need > writer_room_end(w))
        return writer_switch_segment(w);
    if (w->open != NULL && w->open->len + size > w->batch_max && w->open->records > 0)
        w->open = NULL;
    if (w->open == NULL) {
        if (format_align(w->end, w->options.alignment) + need > writer_room_end(w))
            return writer_switch_segment(w);
        return begin_batch(w);
    }
    return 0;
}

int64_t journal_writer_add(struct journal_writer *w, struct journal_record *record)
{
    uint64_t size = scan_record_length(record);
    /* header, OPEN and RESERVE in front, SEAL behind */
    uint64_t overhead = SEGMENT_HEADER_SIZE + 2 * RECORD_HEADER_SIZE +
                        (w->options.alignment > 64 ? w->options.alignment : 64);
    int rc;

    if (w->error < 0 || atomic_load(&w->broken) < 0)
        return ERR_READ_ONLY;
    ENSURE(record->kind >= JOURNAL_KIND_USER);
    size = format_align(size, 8);
    if (size == 0 || size > w->options.segment_size - overhead)
        return ERR_TOO_LONG;
    rc = make_room(w, size);
    if (rc == 0)
        rc = check_numbers(w, record->count);
    if (rc == 0)
        rc = put_record(w, record);
    return rc < 0 ? rc : w->open->sequence;
}

void journal_writer_set_batch_max(struct journal_writer *w, size_t octets)
{
    w->batch_max = octets;
}

size_t journal_writer_waiting(const struct journal_writer *w)
{
    size_t octets = 0;

    LIST_FOR(item, &w->waiting)
    octets += LIST_ITEM(item, struct journal_batch, link)->len;
    return octets;
}

/* --- batches --- */

struct journal_batch *journal_writer_take(struct journal_writer *w)
{
    struct list *item = w->waiting.next;
    struct journal_batch *b;
    size_t padding;

    if (item == &w->waiting)
        return NULL;
    b = LIST_ITEM(item, struct journal_batch, link);
    padding = format_align(b->len, w->options.alignment) - b->len;
    if (padding > 0) {
        unsigned char *p = extend(b, padding);
        if (p == NULL)
            return NULL;
        memset(p, 0, padding);
        b->len += padding;
    }
    if (w->open == b)
        w->open = NULL;
    list_remove(&b->link);
    list_append(&w->in_flight, &b->link);
    w->stat_batches++;
    w->stat_octets += b->len;
    return b;
}

int64_t journal_batch_sequence(const struct journal_batch *b)
{
    return b->sequence;
}

bool journal_batch_may_write(struct journal_batch *b)
{
    return !RULE(RULE_WRITE_ORDER) || atomic_load(&b->writer->written) == b->sequence - 1;
}

static int write_batch(struct journal_batch *b)
{
    char name[SLOT_NAME_SIZE];
    int rc = FAULT("journal_batch_write");

    if (rc == 0 && (b->file == NULL || b->file_slot != b->slot)) {
        disk_close(&b->file);
        writer_slot_name(name, b->slot);
        rc = disk_open(b->writer->disk, name, DISK_WRITE, &b->file);
        b->file_slot = b->slot;
    }
    if (rc == 0)
        rc = disk_write(b->file, b->data, b->len, b->offset);
    return rc;
}

int journal_batch_write(struct journal_batch *b)
{
    struct journal_writer *w = b->writer;
    int rc = atomic_load(&w->broken), none = 0;

    ENSURE(journal_batch_may_write(b));
    if (rc == 0)
        rc = write_batch(b);
    if (rc < 0)
        atomic_compare_exchange_strong(&w->broken, &none, rc);
    /* Later ones go on to find the journal broken. */
    atomic_store(&w->written, b->sequence);
    return rc;
}

int journal_batch_sync(struct journal_batch *b)
{
    int rc = FAULT("journal_batch_sync"), none = 0;

    if (rc == 0)
        rc = b->file->ops->sync(b->file);
    if (rc < 0)
        atomic_compare_exchange_strong(&b->writer->broken, &none, rc);
    return rc;
}

static void confirm(struct journal_writer *w, struct journal_batch *b)
{
    struct segment *s = writer_find_segment(w, b->segment);

    if (b->rc < 0 && w->error == 0) {
        w->error = b->rc;
        log_error("journal: a write or sync failed: %s; nothing more is accepted until a "
                  "restart",
                  error_text(b->rc));
    }
    if (w->error == 0) {
        if (b->sequence > w->confirmed)
            w->confirmed = b->sequence;
        if (b->limit > w->durable_limit)
            w->durable_limit = b->limit;
        if (b->segment > w->confirmed_segment)
            w->confirmed_segment = b->segment;
    }
    s->in_flight--;
    list_remove(&b->link);
    list_append(&w->spare, &b->link);
}

void journal_writer_settle(struct journal_writer *w, struct journal_batch *b, int rc)
{
    b->rc = rc;
    b->is_settled = true;
    if (!RULE(RULE_CONFIRM_ORDER)) {
        confirm(w, b);
        return;
    }
    while (!list_is_empty(&w->in_flight)) {
        b = LIST_ITEM(w->in_flight.next, struct journal_batch, link);
        if (!b->is_settled)
            return;
        confirm(w, b);
    }
}

int64_t journal_writer_confirmed(const struct journal_writer *w)
{
    return w->confirmed;
}

int64_t journal_writer_last(const struct journal_writer *w)
{
    return w->last_sequence;
}

uint64_t journal_writer_active(const struct journal_writer *w)
{
    return w->segments.len > 0 ? writer_active(w)->header.number : 0;
}

int journal_writer_error(const struct journal_writer *w)
{
    return w->error;
}

int writer_write_out(struct journal_writer *w)
{
    struct journal_batch *b;

    while ((b = journal_writer_take(w)) != NULL) {
        int rc = journal_batch_write(b);
        if (rc == 0)
            rc = journal_batch_sync(b);
        journal_writer_settle(w, b, rc);
        if (rc < 0)
            return rc;
    }
    return list_is_empty(&w->waiting) ? 0 : -ENOMEM;
}
