#include "journal/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "journal/shared_internal.h"

struct journal_reader {
    struct disk *disk;
    struct open_segment *segment;
    struct scan scan;
    bool heads_only;
    bool is_incomplete; /* older segments are missing and no snapshot replaces them */
};

void journal_cursor_encode(const struct journal_cursor *c, unsigned char out[JOURNAL_CURSOR_SIZE])
{
    uint64_t words[] = {c->segment, c->offset, c->nonce,
                        c->number,  c->limit,  (uint64_t)c->prev << 32 | c->last_kind};

    for (size_t i = 0; i < JOURNAL_CURSOR_SIZE; i++)
        out[i] = (unsigned char)(words[i / 8] >> 8 * (i % 8));
}

int journal_cursor_decode(struct span octets, struct journal_cursor *c)
{
    uint64_t words[JOURNAL_CURSOR_SIZE / 8] = {0};

    if (octets.n != JOURNAL_CURSOR_SIZE)
        return ERR_CORRUPT;
    for (size_t i = 0; i < JOURNAL_CURSOR_SIZE; i++)
        words[i / 8] |= (uint64_t)(unsigned char)octets.p[i] << 8 * (i % 8);
    *c = (struct journal_cursor){.segment = words[0],
                                 .offset = words[1],
                                 .nonce = words[2],
                                 .number = words[3],
                                 .limit = words[4],
                                 .prev = (uint32_t)(words[5] >> 32),
                                 .last_kind = (uint32_t)words[5]};
    if (c->segment != 0 && c->offset < SEGMENT_HEADER_SIZE)
        return ERR_CORRUPT;
    return 0;
}

/* 1: the segment after this one exists with its first record. */
static int next_segment(struct journal_reader *r, uint64_t number, struct open_segment **out)
{
    struct open_segment *s;
    int rc = segment_open(r->disk, number + 1, DISK_READ, &s);

    if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT)
        return 0;
    if (rc < 0)
        return rc;
    rc = segment_begins(s, NULL);
    if (rc > 0 && out != NULL)
        *out = s;
    else
        segment_close(&s);
    return rc;
}

/* Go to a segment (taken). Bodies may be skipped only where they were synced. */
static int enter(struct journal_reader *r, struct open_segment *s)
{
    int rc = r->heads_only ? next_segment(r, s->header.number, NULL) : 0;

    if (rc < 0) {
        segment_close(&s);
        return rc;
    }
    segment_close(&r->segment);
    scan_fini(&r->scan);
    r->segment = s;
    scan_init(&r->scan, s->file, &s->header);
    r->scan.heads_only = rc > 0;
    if (rc > 0)
        r->scan.chunk = 16 * 1024;
    return 0;
}

static int open_at(struct journal_reader *r, const struct journal_cursor *from)
{
    struct open_segment *s;
    int rc = segment_open(r->disk, from->segment, DISK_READ, &s);

    if (rc == ERR_CORRUPT)
        return ERR_NOT_FOUND;
    if (rc < 0)
        return rc;
    if (s->header.nonce != from->nonce) {
        segment_close(&s);
        return ERR_NOT_FOUND;
    }
    rc = enter(r, s);
    if (rc == 0)
        scan_resume(&r->scan, from);
    return rc;
}

/* The newest of the listed segments that begins with a snapshot, else the oldest. */
static int choose_first(struct journal_reader *r, const struct segment_list *list,
                        struct open_segment **best, bool *has_snapshot)
{
    int rc = 0;

    *has_snapshot = false;
    for (size_t i = list->numbers.len; i > 0 && !*has_snapshot; i--) {
        struct open_segment *s;
        rc = segment_open(r->disk, list->numbers.items[i - 1], DISK_READ, &s);
        if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND)
            continue;
        if (rc < 0)
            return rc;
        rc = segment_begins(s, has_snapshot);
        if (rc <= 0) {
            segment_close(&s);
            if (rc < 0)
                return rc;
            continue;
        }
        segment_close(best);
        *best = s;
    }
    return *best != NULL ? 0 : ERR_NOT_FOUND;
}

/* A cleaner may remove what was just listed: as long as the list changes, list again. */
static int open_first(struct journal_reader *r)
{
    enum { TRIES = 100 };
    struct open_segment *best = NULL;
    struct segment_list list = {0};
    uint64_t oldest = 0;
    int rc = ERR_NOT_FOUND;

    for (int i = 0; i < TRIES; i++) {
        bool has_snapshot;
        segment_close(&best);
        rc = segment_list_read(r->disk, &list);
        if (rc == 0)
            rc = choose_first(r, &list, &best, &has_snapshot);
        if (rc < 0)
            break;
        r->is_incomplete = !has_snapshot && best->header.number != 1;
        if (!r->is_incomplete || list.numbers.items[0] == oldest)
            break;
        oldest = list.numbers.items[0];
    }
    array_free(&list.numbers);
    if (rc < 0) {
        segment_close(&best);
        return rc;
    }
    return enter(r, best);
}

int journal_reader_open(struct disk *disk, const struct journal_cursor *from, bool heads_only,
                        struct journal_reader **out)
{
    struct journal_reader *r = NEW(struct journal_reader);
    int rc;

    if (r == NULL)
        return -ENOMEM;
    r->disk = disk;
    r->heads_only = heads_only;
    rc = from != NULL && from->segment != 0 ? open_at(r, from) : open_first(r);
    if (rc < 0) {
        journal_reader_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void journal_reader_close(struct journal_reader *r)
{
    if (r == NULL)
        return;
    segment_close(&r->segment);
    scan_fini(&r->scan);
    free(r);
}

/* Behind the SEAL: 1 when there was a next segment to go to. A segment that was
 * removed took changes with it that only a later snapshot has. */
static int advance(struct journal_reader *r)
{
    uint64_t number = r->segment->header.number;
    struct segment_list list = {0};
    struct open_segment *s;
    int rc = next_segment(r, number, &s);

    if (rc > 0) {
        rc = enter(r, s);
        return rc < 0 ? rc : 1;
    }
    if (rc < 0)
        return rc;
    rc = segment_list_read(r->disk, &list);
    if (rc == 0 && list.numbers.len > 0 && *array_last(&list.numbers) > number + 1)
        rc = ERR_NOT_FOUND;
    array_free(&list.numbers);
    return rc;
}

int journal_reader_next(struct journal_reader *r, struct journal_record *record)
{
    if (r->is_incomplete) {
        r->is_incomplete = false;
        return ERR_CORRUPT;
    }
    for (;;) {
        int rc = scan_next(&r->scan, record);
        if (rc != 0)
            return rc;
        if (r->scan.last_kind == JOURNAL_SEAL) {
            rc = advance(r);
            if (rc <= 0)
                return rc;
            continue;
        }
        rc = next_segment(r, r->segment->header.number, NULL);
        if (rc <= 0)
            return rc;
        /* The next segment exists, so this one was sealed: perhaps just now. */
        rc = scan_next(&r->scan, record);
        return rc != 0 ? rc : ERR_CORRUPT;
    }
}

void journal_reader_cursor(const struct journal_reader *r, struct journal_cursor *out)
{
    scan_cursor(&r->scan, out);
}

int journal_reader_skip(struct journal_reader *r)
{
    struct open_segment *s;
    int rc;

    if (r->scan.last_kind == 0)
        return 0; /* the gap is before the first record */
    rc = next_segment(r, r->segment->header.number, &s);
    if (rc > 0)
        return enter(r, s);
    return rc < 0 ? rc : ERR_NOT_FOUND;
}
