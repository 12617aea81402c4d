/* Queue mode: making and freeing slots. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"
#include "journal/rules.h"
#include "journal/writer_internal.h"

bool journal_writer_needs_slot(const struct journal_writer *w)
{
    return w->free_slots.len == 0 && !w->is_slot_coming && w->error == 0;
}

void journal_slot_start(struct journal_writer *w, struct journal_slot_job *job)
{
    *job = (struct journal_slot_job){.writer = w, .slot = w->next_slot++};
    w->is_slot_coming = true;
}

/* The header of a slot that no segment uses. */
static void encode_free_header(const struct journal_writer *w, uint32_t slot,
                               unsigned char block[SEGMENT_HEADER_SIZE])
{
    segment_header_encode(&(struct segment_header){.flags = SEGMENT_QUEUE,
                                                   .identity = slot,
                                                   .size = w->options.segment_size,
                                                   .alignment = w->options.alignment},
                          block);
}

/* The first write to an allocated block makes the next sync commit the file system's
 * own journal (ext4: 0.6 ms and not 0.2), so every block is written before a batch needs
 * it. In pieces: a batch's sync that comes meanwhile waits for one of them at most. */
static int write_zeros(struct disk_file *file, uint64_t size)
{
    struct iovec parts[DISK_PARTS_MAX];
    int rc = 0;

    for (uint64_t at = 0; rc == 0 && at < size; at += DISK_ZEROS_MAX) {
        int count =
            disk_add_zeros(parts, 0, size - at < DISK_ZEROS_MAX ? size - at : DISK_ZEROS_MAX);
        rc = file->ops->write(file, parts, count, at);
        if (rc == 0)
            rc = file->ops->sync(file);
    }
    return rc;
}

/* A file that exists after a crash without its header is a free slot all the
 * same; one whose making failed is removed. */
static int make_slot(struct journal_slot_job *job)
{
    const struct journal_options *o = &job->writer->options;
    unsigned char block[SEGMENT_HEADER_SIZE];
    struct disk *disk = job->writer->disk;
    char name[SLOT_NAME_SIZE];
    int rc;

    writer_slot_name(name, job->slot);
    rc = disk_open(disk, name, DISK_WRITE | DISK_CREATE | DISK_NEW, &job->file);
    if (rc < 0)
        return rc;
    encode_free_header(job->writer, job->slot, block);
    rc = job->file->ops->allocate(job->file, o->segment_size);
    if (rc == 0)
        rc = write_zeros(job->file, o->segment_size);
    if (rc == 0)
        rc = disk_write(job->file, block, sizeof(block), 0);
    if (rc == 0)
        rc = job->file->ops->sync(job->file);
    if (rc == 0 && RULE(RULE_DIRECTORY_SYNC))
        rc = disk->ops->sync_directory(disk);
    if (rc < 0)
        disk->ops->unlink(disk, name);
    return rc;
}

void journal_slot_run(struct journal_slot_job *job)
{
    job->rc = make_slot(job);
    disk_close(&job->file);
}

int journal_slot_finish(struct journal_slot_job *job)
{
    struct journal_writer *w = job->writer;
    uint64_t *item;

    w->is_slot_coming = false;
    if (job->rc < 0)
        return job->rc;
    item = array_push(&w->free_slots);
    if (item == NULL)
        return -ENOMEM;
    *item = job->slot;
    return 0;
}

/* --- cleaner --- */

bool journal_writer_segment(const struct journal_writer *w, size_t index,
                            struct journal_segment_info *out)
{
    const struct segment *s;

    if (index >= w->segments.len)
        return false;
    s = &w->segments.items[index];
    *out = (struct journal_segment_info){.number = s->header.number,
                                         .used = s->used,
                                         .size = s->header.size,
                                         .is_active = index + 1 == w->segments.len,
                                         .is_settled = s->in_flight == 0,
                                         .is_damaged = s->is_damaged};
    return true;
}

int journal_free_start(struct journal_writer *w, uint64_t segment, struct journal_free_job *job)
{
    struct segment *s = writer_find_segment(w, segment);

    if (s == NULL)
        return ERR_NOT_FOUND;
    if (w->error < 0)
        return ERR_READ_ONLY;
    if (s == writer_active(w) || s->in_flight > 0 || s->is_damaged || s->is_freeing)
        return -EBUSY;
    /* The highest limit must stay readable: a later segment has it. */
    if (RULE(RULE_FREE_LIMIT) && w->confirmed_segment <= segment)
        return -EBUSY;
    s->is_freeing = true;
    writer_forget_file(w, segment);
    *job = (struct journal_free_job){.writer = w, .segment = segment, .slot = s->slot};
    return 0;
}

static int clear_header(struct journal_free_job *job)
{
    const struct journal_options *o = &job->writer->options;
    unsigned char block[SEGMENT_HEADER_SIZE];
    struct disk_file *file;
    char name[SLOT_NAME_SIZE];
    int rc = FAULT("journal_free");

    writer_slot_name(name, job->slot);
    if (rc == 0)
        rc = disk_open(job->writer->disk, name, DISK_WRITE, &file);
    if (rc < 0)
        return rc;
    encode_free_header(job->writer, job->slot, block);
    rc = file->ops->allocate(file, o->segment_size); /* the size may have been changed */
    if (rc == 0)
        rc = disk_write(file, block, sizeof(block), 0);
    if (rc == 0 && RULE(RULE_FREE_SYNC))
        rc = file->ops->sync(file);
    disk_close(&file);
    return rc;
}

void journal_free_run(struct journal_free_job *job)
{
    job->rc = clear_header(job);
}

int journal_free_finish(struct journal_free_job *job)
{
    struct journal_writer *w = job->writer;
    struct segment *s = writer_find_segment(w, job->segment);
    uint64_t *item;

    if (job->rc < 0) {
        /* Whether it is free is not known: it stays out of use until a restart. */
        s->is_damaged = true;
        log_error("journal: slot.%llu cannot be freed: %s", (unsigned long long)job->slot,
                  error_text(job->rc));
        return job->rc;
    }
    item = array_push(&w->free_slots);
    if (item == NULL)
        return -ENOMEM;
    *item = job->slot;
    array_remove(&w->segments, (size_t)(s - w->segments.items));
    return 0;
}

void journal_writer_get_stats(const struct journal_writer *w, struct journal_writer_stats *out)
{
    *out = (struct journal_writer_stats){.batches = w->stat_batches,
                                         .records = w->stat_records,
                                         .octets = w->stat_octets,
                                         .segments = w->segments.len,
                                         .slots_free = w->free_slots.len,
                                         .number = w->number,
                                         .limit = w->durable_limit};
    for (size_t i = 0; i < w->segments.len; i++)
        out->damaged += w->segments.items[i].is_damaged;
}
