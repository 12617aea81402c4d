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
    uint32_t prev, format;
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

/* A later start has appended to the last segment: its RESERVE, if nothing else. */
static int was_continued(struct journal_writer *w, const struct mark *m)
{
    struct journal_record record;
    struct segment *s = writer_active(w);
    char name[SLOT_NAME_SIZE];
    struct disk_file *file;
    struct scan scan;
    int rc;

    writer_slot_name(name, s->slot);
    rc = disk_open(w->disk, name, DISK_READ, &file);
    if (rc < 0)
        return rc;
    scan_init(&scan, file, &s->header);
    scan.offset = s->used;
    scan.prev = m->prev;
    rc = scan_next(&scan, &record);
    scan_fini(&scan);
    disk_close(&file);
    return rc;
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
    if (RULE(RULE_MARK_END) && was_continued(w, &m) != 0)
        return 0;
    w->number = m.number;
    w->limit = m.limit;
    w->prev = m.prev;
    w->end = writer_active(w)->used;
    return 1;
}
