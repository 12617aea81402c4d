#include "journal/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"
#include "journal/rules.h"
#include "journal/shared_internal.h"

/* --- opening --- */

static int check_options(const struct journal_options *o)
{
    bool is_aligned = o->alignment == 8 || o->alignment == 512 || o->alignment == 4096;

    if (!is_aligned || o->segment_size % o->alignment != 0 ||
        o->segment_size < 2 * SEGMENT_HEADER_SIZE || o->segment_size > UINT32_MAX || o->reserve < 2)
        return -EINVAL;
    return 0;
}

/* The tail file may be lost: a journal is where its segments are. */
static bool has_segments(struct disk *disk)
{
    struct segment_list list = {0};
    bool yes = segment_list_read(disk, &list) == 0 && list.numbers.len > 0;

    array_free(&list.numbers);
    return yes;
}

int journal_shared_open(struct disk *disk, const struct journal_options *options,
                        const struct journal_boot *boot, bool create, struct journal_shared **out)
{
    struct journal_shared *j;
    int rc = check_options(options);

    if (rc < 0)
        return rc;
    j = NEW(struct journal_shared);
    if (j == NULL)
        return -ENOMEM;
    j->disk = disk;
    j->options = *options;
    j->boot = *boot;
    rc = disk_open(disk, "tail", DISK_WRITE | (create ? DISK_CREATE : 0), &j->tail);
    if (rc == -ENOENT && has_segments(disk))
        rc = disk_open(disk, "tail", DISK_WRITE | DISK_CREATE, &j->tail);
    if (rc < 0) {
        free(j);
        return rc == -ENOENT ? ERR_NOT_FOUND : rc;
    }
    *out = j;
    return 0;
}

void journal_shared_close(struct journal_shared *j)
{
    struct open_segment *spare;

    if (j == NULL)
        return;
    ENSURE(!j->is_locked);
    spare = atomic_exchange(&j->spare, NULL);
    segment_close(&spare);
    segment_close(&j->active);
    segment_close(&j->reading);
    scan_fini(&j->end);
    disk_close(&j->tail);
    free(j);
}

void journal_shared_set_snapshot(struct journal_shared *j, journal_snapshot_fn *fn, void *arg)
{
    j->snapshot = fn;
    j->snapshot_arg = arg;
}

void journal_shared_set_begin(struct journal_shared *j, journal_begin_fn *fn, void *arg)
{
    j->begin = fn;
    j->begin_arg = arg;
}

/* --- lock --- */

int journal_shared_lock(struct journal_shared *j, struct journal_cursor *end)
{
    int rc = atomic_load(&j->failed) < 0 ? ERR_READ_ONLY : 0;

    ENSURE(!j->is_locked);
    if (rc == 0 && RULE(RULE_LOCK))
        rc = j->tail->ops->lock(j->tail, DISK_LOCK_APPEND, true);
    if (rc < 0)
        return rc;
    j->is_locked = true;
    rc = shared_find_end(j);
    if (rc < 0) {
        journal_shared_unlock(j);
        return rc;
    }
    if (end != NULL)
        scan_cursor(&j->end, end);
    return 0;
}

void journal_shared_unlock(struct journal_shared *j)
{
    ENSURE(j->is_locked);
    if (j->is_new)
        (void)shared_settle(j); /* failed: the next one recovers */
    j->is_locked = false;
    if (RULE(RULE_LOCK))
        j->tail->ops->unlock(j->tail, DISK_LOCK_APPEND);
}

int journal_shared_peek(struct journal_shared *j, uint64_t *segment, uint64_t *offset)
{
    unsigned char octets[HINT_SIZE];
    struct hint h;
    ssize_t n = j->tail->ops->read(j->tail, octets, sizeof(octets), 0);

    if (n < 0)
        return (int)n;
    if (hint_decode(span_make(octets, (size_t)n), &h) < 0)
        return ERR_NOT_FOUND;
    *segment = h.segment;
    *offset = h.offset;
    return 0;
}

bool journal_shared_is_at(struct journal_shared *j, uint64_t segment, uint64_t offset)
{
    unsigned char octets[HINT_SIZE];
    struct hint h;
    ssize_t n = disk_read(j->tail, octets, sizeof(octets), 0, DISK_NO_WAIT);

    return n > 0 && hint_decode(span_make(octets, (size_t)n), &h) == 0 && h.segment == segment &&
           h.offset == offset;
}

int journal_shared_last(struct journal_shared *j, uint16_t *kind, void *head, size_t n)
{
    unsigned char octets[RECORD_HEADER_SIZE + 64];
    struct record_header h;
    uint32_t length;
    ssize_t got;

    ENSURE(j->is_locked && n <= sizeof(octets) - RECORD_HEADER_SIZE);
    if (j->end.last == 0)
        return ERR_NOT_FOUND;
    got = j->end.file->ops->read(j->end.file, octets, RECORD_HEADER_SIZE + n, j->end.last);
    if (got < 0)
        return (int)got;
    if (record_header_decode(span_make(octets, (size_t)got), &h) < 0)
        return ERR_NOT_FOUND;
    length = h.kind == JOURNAL_OPEN ? h.length : h.head_length;
    if ((size_t)got < RECORD_HEADER_SIZE + n || length < RECORD_HEADER_SIZE + n)
        return ERR_NOT_FOUND;
    *kind = h.kind;
    memcpy(head, octets + RECORD_HEADER_SIZE, n);
    return 0;
}

/* --- appending --- */

struct pending {
    struct journal_record *records;
    size_t count;
    uint64_t octets; /* padded to 8 */
    uint64_t numbers;
};

static int measure(const struct journal_shared *j, struct pending *p)
{
    uint64_t room = j->options.segment_size - SEGMENT_HEADER_SIZE - 2 * RECORD_HEADER_SIZE -
                    2 * shared_seal_room(j);

    for (size_t i = 0; i < p->count; i++) {
        uint64_t length = scan_record_length(&p->records[i]);
        if (length == 0 || p->octets + length > room)
            return ERR_TOO_LONG;
        ENSURE(p->records[i].kind >= JOURNAL_KIND_USER);
        p->octets += format_align(length, 8);
        p->numbers += p->records[i].count;
    }
    return p->octets <= room ? 0 : ERR_TOO_LONG;
}

/* Room in the active segment and numbers below the durable limit. */
static int prepare(struct journal_shared *j, const struct pending *p)
{
    uint64_t place = format_align(j->end.offset, j->options.alignment);
    bool is_short = j->end.number + p->numbers >= j->end.limit;
    int rc = 0;

    if (is_short)
        place = format_align(place + RECORD_HEADER_SIZE, j->options.alignment);
    if (place + p->octets + shared_seal_room(j) > j->active->header.size)
        rc = shared_seal(j, false);
    if (rc == 0 && is_short)
        rc = shared_reserve(j, j->end.number + p->numbers);
    return rc;
}

static int write_records(struct journal_shared *j, struct pending *p)
{
    uint64_t offset = format_align(j->end.offset, j->options.alignment), place = offset;
    unsigned char *data = malloc(p->octets);
    struct scan end = j->end;
    int rc;

    if (data == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < p->count; i++) {
        struct journal_record *record = &p->records[i];
        struct record_header h;
        record->number = end.number + record->count;
        h = scan_make_record(data + (place - offset), record, end.header.nonce, end.prev,
                             end.limit);
        record->at = (struct journal_position){
            .segment = end.header.number, .offset = place, .length = h.length};
        end.number = record->number;
        end.prev = h.header_crc;
        end.last = place;
        end.last_kind = record->kind;
        place += format_align(h.length, 8);
    }
    end.offset = place;
    rc = shared_write(j, data, p->octets, offset);
    free(data);
    if (rc < 0)
        return rc;
    end.buf = j->end.buf; /* nothing was read in between */
    j->end = end;
    return 0;
}

/* Another open file description for the next call; this one goes to the commit. */
static void hand_over(struct journal_shared *j, struct journal_commit *commit)
{
    *commit = (struct journal_commit){.journal = j, .segment = j->active};
    scan_cursor(&j->end, &commit->end);
    j->active = NULL;
}

int journal_shared_append(struct journal_shared *j, struct journal_record *records, size_t count,
                          struct journal_commit *commit)
{
    struct pending p = {.records = records, .count = count};
    bool was_locked = j->is_locked, is_first;
    int rc = measure(j, &p);

    if (rc < 0)
        return rc;
    if (!was_locked)
        rc = journal_shared_lock(j, NULL);
    else if (j->active == NULL) /* given away by an append under this lock */
        rc = shared_find_end(j);
    if (rc < 0)
        return rc;
    rc = prepare(j, &p);
    if (rc == 0)
        rc = write_records(j, &p);
    is_first = j->is_new;
    if (rc == 0)
        rc = is_first ? shared_settle(j) : shared_write_hint(j);
    if (rc == 0) {
        hand_over(j, commit);
        commit->is_durable = is_first;
    }
    if (!was_locked)
        journal_shared_unlock(j);
    return rc;
}

static void give_back(struct journal_commit *commit)
{
    struct open_segment *old = atomic_exchange(&commit->journal->spare, commit->segment);

    segment_close(&old);
    commit->segment = NULL;
}

int journal_shared_sync(struct journal_commit *commit)
{
    struct open_segment *s = commit->segment;
    int rc = FAULT("journal_shared_sync");

    if (rc == 0 && !commit->is_durable)
        rc = s->file->ops->sync(s->file);
    if (rc == 0) {
        give_back(commit);
        return 0;
    }
    segment_close(&commit->segment);
    return shared_sync_failed(commit->journal, rc);
}

void journal_shared_forget(struct journal_commit *commit)
{
    if (commit->segment != NULL)
        give_back(commit);
}

int journal_shared_sync_all(struct journal_shared *j)
{
    struct journal_commit commit = {0};
    int rc = journal_shared_lock(j, NULL);

    if (rc == 0 && j->is_new)
        rc = shared_settle(j);
    if (rc == 0)
        hand_over(j, &commit);
    if (j->is_locked)
        journal_shared_unlock(j);
    return rc < 0 ? rc : journal_shared_sync(&commit);
}

/* --- reading --- */

/* The segment to read from becomes the one at hand. */
static int use_reading(struct journal_shared *j, uint64_t segment)
{
    if (j->reading != NULL && j->reading->header.number == segment)
        return 0;
    segment_close(&j->reading);
    return segment_open(j->disk, segment, DISK_READ, &j->reading);
}

int journal_shared_read(struct journal_shared *j, const struct journal_position *at,
                        struct str *out, struct journal_record *record)
{
    int rc = use_reading(j, at->segment);

    if (rc < 0)
        return rc;
    return scan_read_at(j->reading->file, &j->reading->header, at, DISK_WAIT, out, record);
}

int journal_shared_read_head(struct journal_shared *j, uint64_t segment, uint64_t offset,
                             size_t head_max, struct str *out, struct journal_record *record)
{
    int rc = use_reading(j, segment);

    if (rc < 0)
        return rc;
    return scan_read_head_at(j->reading->file, &j->reading->header, offset, head_max, out, record);
}

int journal_shared_file(struct journal_shared *j, uint64_t segment, struct disk_file **out)
{
    int rc = use_reading(j, segment);

    if (rc == 0)
        *out = j->reading->file;
    return rc;
}
