/* Queue mode: recovery (ARCHITECTURE.md, "The journal") and the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "journal/rules.h"
#include "journal/writer_internal.h"

void journal_options_queue(struct journal_options *o)
{
    *o = (struct journal_options){
        .segment_size = 16 * 1024 * 1024, .alignment = 4096, .reserve = 65536};
}

void journal_options_store(struct journal_options *o)
{
    *o = (struct journal_options){.segment_size = 16 * 1024 * 1024,
                                  .alignment = 8,
                                  .reserve = 65536,
                                  .write_ahead_max = 256 * 1024};
}

/* --- which slots there are --- */

struct slot_list {
    ARRAY(uint64_t) slots;
};

static int note_slot(void *arg, const char *name)
{
    struct slot_list *list = arg;
    struct span digits = span_cstr(name);
    uint64_t slot, *item;

    if (!span_starts(digits, SPAN_LIT("slot.")))
        return 0;
    digits = span_drop(digits, 5);
    if (span_to_u64(digits, &slot) < 0 || slot >= INT64_MAX)
        return 0;
    item = array_push(&list->slots);
    if (item == NULL)
        return -ENOMEM;
    *item = slot;
    return 0;
}

static int add_free_slot(struct journal_writer *w, uint64_t slot)
{
    uint64_t *item = array_push(&w->free_slots);

    if (item == NULL)
        return -ENOMEM;
    *item = slot;
    return 0;
}

/* A slot that was never finished: nothing but zeros where the header belongs. */
static bool is_blank(struct disk_file *file)
{
    unsigned char block[SEGMENT_HEADER_USED];
    ssize_t n = file->ops->read(file, block, sizeof(block), 0);

    for (ssize_t i = 0; i < n; i++) {
        if (block[i] != 0)
            return false;
    }
    return n >= 0;
}

/* Make sure that a free slot has its whole size before anybody relies on it. */
static int load_free_slot(struct journal_writer *w, uint64_t slot, struct disk_file *file)
{
    int rc = file->ops->allocate(file, w->options.segment_size);

    if (rc == -ENOSPC)
        return 0; /* not usable; the journal may well run without it */
    return rc < 0 ? rc : add_free_slot(w, slot);
}

/* Read one slot's header: a segment, free, or a file whose making was cut short. */
static int load_header(struct journal_writer *w, uint64_t slot, struct disk_file *file)
{
    struct segment_header header;
    struct segment *s;
    int rc = scan_read_header(file, SEGMENT_QUEUE, slot, &header);

    if (rc == ERR_CORRUPT && !is_blank(file)) {
        log_error("journal: slot.%llu has a damaged header: it is kept and not used",
                  (unsigned long long)slot);
        return 0;
    }
    if (rc == ERR_CORRUPT || (rc == 0 && header.nonce == 0))
        return load_free_slot(w, slot, file);
    if (rc < 0)
        return rc;
    if (header.number >= w->next_segment)
        w->next_segment = header.number + 1;
    s = array_push(&w->segments);
    if (s == NULL)
        return -ENOMEM;
    s->slot = slot;
    s->header = header;
    return 0;
}

static int load_slot(struct journal_writer *w, uint64_t slot)
{
    char name[SLOT_NAME_SIZE];
    struct disk_file *file;
    int rc;

    if (slot >= w->next_slot)
        w->next_slot = slot + 1;
    writer_slot_name(name, slot);
    rc = disk_open(w->disk, name, DISK_WRITE, &file);
    if (rc < 0)
        return rc;
    rc = load_header(w, slot, file);
    disk_close(&file);
    return rc;
}

static int compare_segments(const void *a, const void *b)
{
    uint64_t x = ((const struct segment *)a)->header.number;
    uint64_t y = ((const struct segment *)b)->header.number;

    return x < y ? -1 : x > y;
}

static int load_slots(struct journal_writer *w)
{
    struct slot_list list = {0};
    int rc = w->disk->ops->list(w->disk, note_slot, &list);

    for (size_t i = 0; rc == 0 && i < list.slots.len; i++)
        rc = load_slot(w, list.slots.items[i]);
    if (rc == 0 && w->segments.len > 0)
        qsort(w->segments.items, w->segments.len, sizeof(*w->segments.items), compare_segments);
    array_free(&list.slots);
    return rc;
}

/* --- what is in them --- */

struct loading {
    const struct journal_owner *owner;
    uint32_t prev; /* of the last good segment's last record */
    struct journal_position last;
};

/* Walk one segment. 1: it has its first record, 0: it does not exist. */
static int load_records(struct journal_writer *w, struct segment *s, struct loading *l,
                        bool is_fresh)
{
    struct journal_record record;
    char name[SLOT_NAME_SIZE];
    struct disk_file *file;
    struct scan scan;
    int rc;

    writer_slot_name(name, s->slot);
    rc = disk_open(w->disk, name, is_fresh ? DISK_WRITE : DISK_READ, &file);
    if (rc < 0)
        return rc;
    /* After a failed sync the page cache calls clean what the disk does not have:
     * where the last process may have met one, the disk is what counts. */
    if (is_fresh && file->ops->forget != NULL) {
        file->ops->sync(file); /* whatever it says: what cannot be written is not there */
        file->ops->forget(file);
    }
    scan_init(&scan, file, &s->header);
    while ((rc = scan_next(&scan, &record)) > 0) {
        l->last = record.at;
        if (scan.limit > w->limit)
            w->limit = scan.limit;
        if (scan.number > w->number)
            w->number = scan.number;
        rc = l->owner->each != NULL ? l->owner->each(l->owner->arg, &record) : 0;
        if (rc != 0)
            break;
    }
    scan_fini(&scan);
    disk_close(&file);
    if (rc != 0)
        return rc < 0 ? rc : -EINVAL;
    s->used = scan.offset;
    s->is_sealed = scan.last_kind == JOURNAL_SEAL;
    l->prev = scan.prev;
    return scan.last_kind != 0;
}

/* A segment without a first record is a slot whose first batch was lost. */
static int load_segments(struct journal_writer *w, struct loading *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->segments.len; i++) {
        struct segment s = w->segments.items[i];
        uint32_t prev = l->prev;
        /* Batches in flight reach over two segments at most. */
        int rc = load_records(w, &s, l, i + 2 >= w->segments.len);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            l->prev = prev;
            rc = add_free_slot(w, s.slot);
            if (rc < 0)
                return rc;
            continue;
        }
        w->segments.items[kept++] = s;
    }
    w->segments.len = kept;
    return 0;
}

/* A new segment begins only when the SEAL before the last one is durable. */
static void find_damage(struct journal_writer *w)
{
    for (size_t i = 0; i + 2 < w->segments.len; i++) {
        struct segment *s = &w->segments.items[i];
        if (s->is_sealed)
            continue;
        s->is_damaged = true;
        log_error("journal: slot.%llu (segment %llu) is damaged behind octet %llu: what followed "
                  "is lost, the file is kept",
                  (unsigned long long)s->slot, (unsigned long long)s->header.number,
                  (unsigned long long)s->used);
    }
}

static int read_everything(struct journal_writer *w, const struct journal_owner *owner)
{
    struct loading l = {.owner = owner};
    int rc = load_segments(w, &l);

    if (rc < 0)
        return rc;
    find_damage(w);
    if (w->segments.len > 0) {
        w->end = writer_active(w)->used;
        w->prev = l.prev;
        w->last = l.last;
    }
    return 0;
}

/* True when the owner has kept what it knew, and that is still so. What a mark names
 * was durable before it was made. */
static bool is_kept(struct journal_writer *w, const struct journal_owner *owner)
{
    struct str mark = {0};
    bool is_known = owner->find_mark != NULL && owner->find_mark(owner->arg, &mark) == 0 &&
                    writer_apply_mark(w, str_span(&mark)) > 0 && owner->restore(owner->arg) == 0;

    str_fini(&mark);
    return is_known;
}

/* --- making it durable --- */

static int sync_slot(struct journal_writer *w, uint64_t slot)
{
    char name[SLOT_NAME_SIZE];
    struct disk_file *file;
    int rc;

    writer_slot_name(name, slot);
    rc = disk_open(w->disk, name, DISK_WRITE, &file);
    if (rc < 0)
        return rc;
    rc = file->ops->sync(file);
    disk_close(&file);
    return rc;
}

/* The page cache may show what the disk does not have (a process was killed). */
static int sync_everything(struct journal_writer *w)
{
    int rc = 0;

    for (size_t i = 0; RULE(RULE_RECOVERY_SYNC) && rc == 0 && i < w->segments.len; i++)
        rc = sync_slot(w, w->segments.items[i].slot);
    if (rc == 0 && RULE(RULE_RECOVERY_DIRECTORY))
        rc = w->disk->ops->sync_directory(w->disk);
    return rc;
}

/* The last segment but one may lack its SEAL: it was lost together with a batch
 * that nobody was told about. */
static int seal_predecessor(struct journal_writer *w)
{
    struct journal_record record = {.kind = JOURNAL_SEAL, .number = w->number};
    unsigned char block[RECORD_HEADER_SIZE];
    struct segment *s = w->segments.len > 1 ? &w->segments.items[w->segments.len - 2] : NULL;
    struct journal_record last;
    char name[SLOT_NAME_SIZE];
    struct disk_file *file;
    struct scan scan;
    int rc;

    if (s == NULL || s->is_sealed)
        return 0;
    writer_slot_name(name, s->slot);
    rc = disk_open(w->disk, name, DISK_WRITE, &file);
    if (rc < 0)
        return rc;
    scan_init(&scan, file, &s->header);
    while ((rc = scan_next(&scan, &last)) > 0)
        record.number = last.number;
    scan_fini(&scan);
    if (rc == 0) {
        uint64_t offset = format_align(scan.offset, w->options.alignment);
        scan_make_record(block, &record, s->header.nonce, scan.prev, scan.limit);
        rc = disk_write(file, block, sizeof(block), offset);
        s->used = offset + sizeof(block);
        s->is_sealed = true;
    }
    if (rc == 0)
        rc = file->ops->sync(file);
    disk_close(&file);
    return rc;
}

static int make_slot_now(struct journal_writer *w)
{
    struct journal_slot_job job;

    if (w->free_slots.len > 0)
        return 0;
    journal_slot_start(w, &job);
    journal_slot_run(&job);
    return journal_slot_finish(&job);
}

/* Numbers go on at the limit: what lies below it may have been given away by a
 * process whose records did not last. */
static int start_numbers(struct journal_writer *w)
{
    struct segment *active = writer_active(w);
    int rc = 0;

    if (RULE(RULE_JUMP)) {
        if (w->limit > w->number)
            w->number = w->limit;
    }
    w->durable_limit = w->limit;
    if (active == NULL || active->is_sealed ||
        format_align(w->end, w->options.alignment) + RECORD_HEADER_SIZE > writer_room_end(w)) {
        rc = make_slot_now(w);
        if (rc == 0)
            rc = writer_switch_segment(w);
    }
    if (rc == 0)
        rc = writer_add_own(w, JOURNAL_RESERVE);
    if (rc < 0)
        return rc;
    if (!RULE(RULE_JUMP_SYNC)) {
        w->durable_limit = w->limit;
        return 0;
    }
    return writer_write_out(w);
}

static int check_options(const struct journal_options *o)
{
    bool is_aligned = o->alignment == 8 || o->alignment == 512 || o->alignment == 4096;

    if (!is_aligned || o->segment_size % o->alignment != 0 ||
        o->segment_size < 4 * SEGMENT_HEADER_SIZE || o->segment_size > UINT32_MAX || o->reserve < 2)
        return -EINVAL;
    return 0;
}

static int load(struct journal_writer *w, const struct journal_owner *owner)
{
    int rc = load_slots(w);

    if (rc < 0 || is_kept(w, owner))
        return rc;
    rc = read_everything(w, owner);
    if (rc == 0)
        rc = sync_everything(w);
    return rc < 0 ? rc : seal_predecessor(w);
}

static int open_writer(struct journal_writer *w, const struct journal_owner *owner)
{
    int rc = disk_open(w->disk, "tail", DISK_WRITE | DISK_CREATE, &w->lock);

    if (rc == 0)
        rc = w->lock->ops->lock(w->lock, DISK_LOCK_APPEND, false);
    if (rc == 0)
        rc = load(w, owner);
    if (rc == 0)
        rc = start_numbers(w);
    return rc;
}

int journal_writer_open_kept(struct disk *disk, const struct journal_options *options,
                             const struct journal_owner *owner, struct journal_writer **out)
{
    struct journal_writer *w;
    int rc = check_options(options);

    if (rc < 0)
        return rc;
    w = NEW(struct journal_writer);
    if (w == NULL)
        return -ENOMEM;
    w->disk = disk;
    w->options = *options;
    w->batch_max = 1024 * 1024;
    w->next_segment = 1;
    list_init(&w->waiting);
    list_init(&w->in_flight);
    list_init(&w->spare);
    rc = open_writer(w, owner);
    if (rc < 0) {
        journal_writer_close(w);
        return rc;
    }
    *out = w;
    return 0;
}

int journal_writer_open(struct disk *disk, const struct journal_options *options,
                        journal_record_fn *each, void *arg, struct journal_writer **out)
{
    return journal_writer_open_kept(disk, options,
                                    &(struct journal_owner){.each = each, .arg = arg}, out);
}

static void free_batches(struct list *batches)
{
    struct list *item;

    while ((item = list_pop(batches)) != NULL) {
        struct journal_batch *b = LIST_ITEM(item, struct journal_batch, link);
        disk_close(&b->file);
        free(b->data);
        free(b);
    }
}

void journal_writer_close(struct journal_writer *w)
{
    if (w == NULL)
        return;
    free_batches(&w->waiting);
    free_batches(&w->in_flight);
    free_batches(&w->spare);
    for (size_t i = 0; i < READ_FILES; i++)
        disk_close(&w->read_files[i].file);
    array_free(&w->segments);
    array_free(&w->free_slots);
    disk_close(&w->lock);
    free(w);
}
