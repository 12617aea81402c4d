/* Queue mode: where the journal ended, for an owner that keeps its own state with it. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "journal/rules.h"
#include "journal/writer_internal.h"

/* The octets of a mark: one of these, then a segment each. They never leave the machine,
 * and whoever keeps them has a checksum over them. */
struct mark {
    uint64_t segments;
    uint64_t number, limit;
    uint64_t last; /* where the last record begins */
    uint32_t length, prev;
    uint64_t format;
};
enum { MARK_FORMAT = 1 };

struct marked_segment {
    uint64_t slot, number, nonce;
    uint32_t used, is_sealed;
};

int journal_writer_mark(const struct journal_writer *w, struct str *mark)
{
    struct mark m = {.segments = w->segments.len,
                     .number = w->number,
                     .limit = w->limit,
                     .last = w->last.offset,
                     .length = w->last.length,
                     .prev = w->prev,
                     .format = MARK_FORMAT};

    if (w->error < 0)
        return ERR_READ_ONLY;
    if (w->segments.len == 0 || w->confirmed < w->last_sequence)
        return -EBUSY;
    str_append(mark, span_make(&m, sizeof(m)));
    for (size_t i = 0; i < w->segments.len; i++) {
        const struct segment *s = &w->segments.items[i];
        struct marked_segment marked = {.slot = s->slot,
                                        .number = s->header.number,
                                        .nonce = s->header.nonce,
                                        .used = (uint32_t)s->used,
                                        .is_sealed = s->is_sealed};

        if (s->is_damaged)
            return ERR_CORRUPT;
        str_append(mark, span_make(&marked, sizeof(marked)));
    }
    return str_error(mark);
}

/* The last record is whole, as it was when it was synced. */
static bool is_whole(struct journal_writer *w, struct disk_file *file, const struct mark *m)
{
    const struct segment_header *header = &writer_active(w)->header;
    struct journal_position at = {header->number, m->last, m->length};
    struct journal_record record;
    struct str octets = {0};
    int rc = scan_read_at(file, header, &at, DISK_WAIT, &octets, &record);

    str_fini(&octets);
    return rc == 0 && record.number == m->number;
}

/* A later start has appended to the segment: its RESERVE, if nothing else. */
static bool was_continued(struct journal_writer *w, struct disk_file *file, const struct mark *m)
{
    struct segment *s = writer_active(w);
    struct journal_record record;
    struct scan scan;
    int rc;

    scan_init(&scan, file, &s->header);
    scan.offset = s->used;
    scan.prev = m->prev;
    rc = scan_next(&scan, &record);
    scan_fini(&scan);
    return rc != 0;
}

static bool ends_there(struct journal_writer *w, const struct mark *m)
{
    char name[SLOT_NAME_SIZE];
    struct disk_file *file;
    bool ends;

    writer_slot_name(name, writer_active(w)->slot);
    if (disk_open(w->disk, name, DISK_READ, &file) < 0)
        return false;
    ends = is_whole(w, file, m) && !was_continued(w, file, m);
    disk_close(&file);
    return ends;
}

int writer_apply_mark(struct journal_writer *w, struct span mark)
{
    struct mark m;

    if (mark.n < sizeof(m))
        return 0;
    memcpy(&m, mark.p, sizeof(m));
    mark = span_drop(mark, sizeof(m));
    if (m.format != MARK_FORMAT || m.segments != w->segments.len || m.segments == 0 ||
        mark.n != m.segments * sizeof(struct marked_segment))
        return 0;
    for (size_t i = 0; i < w->segments.len; i++) {
        struct segment *s = &w->segments.items[i];
        struct marked_segment marked;

        memcpy(&marked, mark.p + i * sizeof(marked), sizeof(marked));
        if (marked.slot != s->slot || marked.number != s->header.number ||
            marked.nonce != s->header.nonce)
            return 0;
        s->used = marked.used;
        s->is_sealed = marked.is_sealed;
    }
    if (RULE(RULE_MARK_END) && !ends_there(w, &m))
        return 0;
    w->number = m.number;
    w->limit = m.limit;
    w->prev = m.prev;
    w->last = (struct journal_position){writer_active(w)->header.number, m.last, m.length};
    w->end = writer_active(w)->used;
    return 1;
}
