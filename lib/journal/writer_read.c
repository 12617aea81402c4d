/* Queue mode: reading records again. */
#include <errno.h>

#include "base/error.h"
#include "journal/writer_internal.h"

int journal_read_start(struct journal_writer *w, uint64_t segment, struct journal_read_job *job)
{
    struct segment *s = writer_find_segment(w, segment);

    if (s == NULL || s->is_freeing)
        return ERR_NOT_FOUND;
    *job = (struct journal_read_job){
        .writer = w, .slot = s->slot, .header = s->header, .end = s->used};
    return 0;
}

static int open_slot(struct journal_read_job *job, struct disk_file **file)
{
    struct segment_header header;
    char name[SLOT_NAME_SIZE];
    int rc;

    writer_slot_name(name, job->slot);
    rc = disk_open(job->writer->disk, name, DISK_READ, file);
    if (rc < 0)
        return rc;
    rc = scan_read_header(*file, SEGMENT_QUEUE, job->slot, &header);
    if (rc == 0 && header.nonce != job->header.nonce)
        rc = ERR_NOT_FOUND; /* freed in the meantime */
    if (rc < 0)
        disk_close(file);
    return rc;
}

int journal_read_run(struct journal_read_job *job, journal_record_fn *each, void *arg)
{
    struct journal_record record;
    struct disk_file *file;
    struct scan scan;
    int rc = open_slot(job, &file);

    if (rc < 0)
        return rc;
    scan_init(&scan, file, &job->header);
    scan.end = job->end;
    while ((rc = scan_next(&scan, &record)) > 0) {
        rc = each(arg, &record);
        if (rc != 0)
            break;
    }
    /* Everything asked for was durable: stopping early is damage. */
    if (rc == 0 && format_align(scan.offset, 8) < format_align(job->end, 8))
        rc = ERR_CORRUPT;
    scan_fini(&scan);
    disk_close(&file);
    return rc;
}

int journal_read_one(struct journal_read_job *job, const struct journal_position *at,
                     struct str *out, struct journal_record *record)
{
    int rc = job->file == NULL ? open_slot(job, &job->file) : 0;

    return rc < 0 ? rc : scan_read_at(job->file, &job->header, at, DISK_WAIT, out, record);
}

/* --- files that stay open --- */

static struct read_file *place_of(struct journal_writer *w, uint64_t segment)
{
    return &w->read_files[segment % READ_FILES];
}

void writer_forget_file(struct journal_writer *w, uint64_t segment)
{
    struct read_file *f = place_of(w, segment);

    if (f->segment == segment)
        disk_close(&f->file);
}

void journal_read_finish(struct journal_read_job *job)
{
    struct journal_writer *w = job->writer;
    struct segment *s = writer_find_segment(w, job->header.number);
    struct read_file *f = place_of(w, job->header.number);

    if (job->file == NULL)
        return;
    if (s != NULL && !s->is_freeing) {
        disk_close(&f->file);
        *f = (struct read_file){.segment = job->header.number, .file = job->file};
        job->file = NULL;
    }
    disk_close(&job->file);
}

int journal_read_at_once(struct journal_writer *w, const struct journal_position *at,
                         struct str *out, struct journal_record *record)
{
    struct read_file *f = place_of(w, at->segment);
    struct segment *s = writer_find_segment(w, at->segment);

    if (s == NULL || f->file == NULL || f->segment != at->segment)
        return -EAGAIN;
    return scan_read_at(f->file, &s->header, at, DISK_NO_WAIT, out, record);
}
