/* Store mode, under the lock: the hint, the end of the journal, recovery, sealing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/random.h"
#include "journal/rules.h"
#include "journal/shared_internal.h"

enum {
    WRITE_AHEAD_FROM = 32 * 1024, /* smaller segments get no zeros ahead */
    WRITE_AHEAD_SHARE = 8,        /* this part of the segment is written ahead */
};

uint64_t shared_seal_room(const struct journal_shared *j)
{
    return j->options.alignment > 64 ? j->options.alignment : 64;
}

static void set_active(struct journal_shared *j, struct open_segment *s)
{
    if (j->active != s)
        segment_close(&j->active);
    j->active = s;
    scan_fini(&j->end);
    scan_init(&j->end, s->file, &s->header);
    j->end.chunk = 4096;
}

/* --- writing --- */

/* Zeros that follow n octets at offset, so that most appends change no file size:
 * a sync is 2.5 times quicker then. */
static uint64_t write_ahead(struct journal_shared *j, uint64_t end)
{
    uint64_t size, ahead = end / WRITE_AHEAD_SHARE;

    if (end < WRITE_AHEAD_FROM || j->active->file->ops->size(j->active->file, &size) < 0 ||
        end <= size)
        return 0;
    if (ahead > j->options.write_ahead_max)
        ahead = j->options.write_ahead_max;
    ahead = format_align(end + ahead, 4096) - end;
    if (end + ahead > j->active->header.size)
        ahead = end < j->active->header.size ? j->active->header.size - end : 0;
    return ahead;
}

/* After a failed write part of the records may stand there: a following append
 * must not find them. Where nothing was written nothing needs to be wiped. */
static void wipe(struct journal_shared *j, uint64_t offset)
{
    static const unsigned char zeros[RECORD_HEADER_SIZE];
    int rc = disk_write(j->active->file, zeros, sizeof(zeros), offset);

    if (rc < 0 && rc != -ENOSPC)
        log_warn("journal: a failed append cannot be undone: %s", error_text(rc));
}

int shared_write(struct journal_shared *j, const void *data, size_t n, uint64_t offset)
{
    struct disk_file *file = j->active->file;
    struct iovec parts[DISK_PARTS_MAX] = {{.iov_base = (void *)data, .iov_len = n}};
    int count = disk_add_zeros(parts, 1, write_ahead(j, offset + n));
    int rc = FAULT("journal_shared_write");

    if (rc == 0)
        rc = file->ops->write(file, parts, count, offset);
    if (rc == -ENOSPC && count > 1)
        rc = disk_write(file, data, n, offset);
    if (rc < 0)
        wipe(j, offset);
    return rc;
}

/* Append one of the library's own records; it is not synced. */
static int append_own(struct journal_shared *j, struct journal_record *record, uint64_t limit)
{
    uint64_t offset = format_align(j->end.offset, j->options.alignment);
    uint64_t size = format_align(scan_record_length(record), 8);
    unsigned char *data;
    struct record_header h;
    int rc;

    if (size == 0)
        return ERR_TOO_LONG;
    data = malloc(size);
    if (data == NULL)
        return -ENOMEM;
    record->number = j->end.number;
    h = scan_make_record(data, record, j->end.header.nonce, j->end.prev, limit);
    rc = shared_write(j, data, size, offset);
    free(data);
    if (rc < 0)
        return rc;
    j->end.offset = offset + size;
    j->end.last = offset;
    j->end.prev = h.header_crc;
    j->end.limit = limit;
    j->end.last_kind = record->kind;
    return 0;
}

int shared_sync_failed(struct journal_shared *j, int rc)
{
    int none = 0;

    if (atomic_compare_exchange_strong(&j->failed, &none, rc))
        log_error("journal: a sync failed: %s; the account is read-only until this process ends",
                  error_text(rc));
    return ERR_READ_ONLY;
}

int shared_sync_active(struct journal_shared *j)
{
    int rc = j->active->file->ops->sync(j->active->file);

    return rc == 0 ? 0 : shared_sync_failed(j, rc);
}

int shared_reserve(struct journal_shared *j, uint64_t number)
{
    struct journal_record record = {.kind = JOURNAL_RESERVE};
    uint64_t base = number > j->end.limit ? number : j->end.limit;
    int rc = append_own(j, &record, base + j->options.reserve);

    if (rc == 0 && RULE(RULE_RESERVE_SYNC))
        rc = shared_sync_active(j);
    return rc;
}

/* --- the hint --- */

int shared_write_hint(struct journal_shared *j)
{
    unsigned char octets[HINT_SIZE];
    struct hint h = {.segment = j->end.header.number,
                     .offset = j->end.offset,
                     .last = j->end.last,
                     .number = j->end.number,
                     .limit = j->end.limit,
                     .prev = j->end.prev};

    if (j->is_new)
        return 0; /* only shared_settle() may say that it is there */
    memcpy(h.boot, j->boot.current, BOOT_ID_SIZE);
    hint_encode(&h, octets);
    /* A hint that cannot be written is only older than it could be. */
    (void)disk_write(j->tail, octets, sizeof(octets), 0);
    return 0;
}

static bool is_known_boot(const struct journal_shared *j, const struct hint *h)
{
    static const unsigned char none[BOOT_ID_SIZE];

    if (!RULE(RULE_BOOT))
        return true;
    if (memcmp(h->boot, none, BOOT_ID_SIZE) == 0)
        return false;
    return memcmp(h->boot, j->boot.current, BOOT_ID_SIZE) == 0 ||
           memcmp(h->boot, j->boot.clean, BOOT_ID_SIZE) == 0;
}

/* Have the segment open for writing: the one at hand, one that was given back, or
 * a new open file description. */
static int use_segment(struct journal_shared *j, uint64_t number)
{
    struct open_segment *s;
    int rc = 0;

    if (j->active != NULL && j->active->header.number == number)
        return 0;
    s = atomic_exchange(&j->spare, NULL);
    if (s != NULL && s->header.number != number)
        segment_close(&s);
    if (s == NULL)
        rc = segment_open(j->disk, number, DISK_WRITE, &s);
    if (rc < 0)
        return rc;
    segment_close(&j->active);
    j->active = s;
    return 0;
}

/* The record that the hint calls the last one must be there: a copy of a journal
 * may have a hint that is newer than its segments. */
static int check_last(struct journal_shared *j, const struct hint *hint, uint16_t *kind)
{
    unsigned char octets[RECORD_HEADER_SIZE];
    struct disk_file *file = j->active->file;
    struct record_header h;
    ssize_t n = file->ops->read(file, octets, sizeof(octets), hint->last);

    if (n < 0)
        return (int)n;
    if (record_header_decode(span_make(octets, (size_t)n), &h) < 0 ||
        h.tag != j->active->header.nonce || h.header_crc != hint->prev ||
        h.number != hint->number || h.limit != hint->limit ||
        format_align(hint->last + h.length, 8) != hint->offset)
        return ERR_CORRUPT;
    *kind = h.kind;
    return 0;
}

/* 0: j->end stands where the hint says; ERR_NOT_FOUND: it does not count. */
static int read_hint(struct journal_shared *j)
{
    unsigned char octets[HINT_SIZE];
    ssize_t n = j->tail->ops->read(j->tail, octets, sizeof(octets), 0);
    struct journal_cursor at;
    struct hint h;
    uint16_t kind = 0;
    int rc;

    if (n < 0)
        return (int)n;
    if (hint_decode(span_make(octets, (size_t)n), &h) < 0 || !is_known_boot(j, &h))
        return ERR_NOT_FOUND;
    rc = use_segment(j, h.segment);
    if (rc == 0)
        rc = check_last(j, &h, &kind);
    if (rc < 0)
        return rc == ERR_CORRUPT ? ERR_NOT_FOUND : rc;
    at = (struct journal_cursor){.offset = h.offset,
                                 .number = h.number,
                                 .limit = h.limit,
                                 .prev = h.prev,
                                 .last_kind = kind};
    set_active(j, j->active);
    scan_resume(&j->end, &at);
    j->end.last = h.last;
    return 0;
}

/* --- the end --- */

/* Walk to the last good record, into the next segment too. Returns how many were
 * passed. */
static int walk(struct journal_shared *j)
{
    struct journal_record record;
    struct open_segment *next;
    int passed = 0, rc;

    for (;;) {
        while ((rc = scan_next(&j->end, &record)) > 0)
            passed = passed < INT32_MAX ? passed + 1 : passed;
        if (rc < 0 || j->end.last_kind != JOURNAL_SEAL)
            return rc < 0 ? rc : passed;
        rc = segment_open(j->disk, j->end.header.number + 1, DISK_WRITE, &next);
        if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT)
            return passed;
        if (rc < 0)
            return rc;
        rc = RULE(RULE_SEAL_REPEAT) ? segment_begins(next, NULL) : 1;
        if (rc <= 0) {
            segment_close(&next);
            return rc < 0 ? rc : passed;
        }
        set_active(j, next);
    }
}

/* The newest segment with a first record; one without does not exist. *newer: files
 * stand behind it, which proves that its SEAL was synced. */
static int find_newest(struct journal_shared *j, bool *newer)
{
    struct segment_list list = {0};
    int rc = segment_list_read(j->disk, &list);
    size_t i;

    for (i = list.numbers.len; rc == 0 && i > 0; i--) {
        struct open_segment *s;
        rc = segment_open(j->disk, list.numbers.items[i - 1], DISK_WRITE, &s);
        if (rc == ERR_CORRUPT) {
            rc = 0;
            continue;
        }
        if (rc < 0)
            break;
        rc = RULE(RULE_SEAL_REPEAT) ? segment_begins(s, NULL) : 1;
        if (rc > 0) {
            *newer = i < list.numbers.len;
            set_active(j, s);
            break;
        }
        segment_close(&s);
    }
    if (rc == 0)
        /* Only the first one may be unfinished without anything before it. */
        rc = list.numbers.len == 0 || *array_last(&list.numbers) == 1 ? 0 : ERR_CORRUPT;
    array_free(&list.numbers);
    return rc;
}

static int make_segment(struct journal_shared *j, uint64_t number, struct str *snapshot);

/* A hint, of whatever boot, was written when the beginning was durable: where that cannot be
 * found any more it is damaged, and what stands behind it must not be overwritten. A segment
 * that ends before the hint is a copy from before it was written: nothing stands there. */
static int check_is_new(struct journal_shared *j)
{
    uint64_t segment, offset, size;
    char name[SEGMENT_NAME_SIZE];
    struct disk_file *file;
    int rc = journal_shared_peek(j, &segment, &offset);

    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    if (segment > 1)
        return ERR_CORRUPT;
    segment_name(name, 1);
    rc = disk_open(j->disk, name, DISK_READ, &file);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    rc = file->ops->size(file, &size);
    disk_close(&file);
    return rc == 0 && size >= offset ? ERR_CORRUPT : rc;
}

/* The first segment. Nothing of it is synced before shared_settle(): until there is a hint,
 * nobody relies on it. What a crash leaves of it without its first record is made again. */
static int begin(struct journal_shared *j)
{
    struct str snapshot = {0};
    int rc = check_is_new(j);

    if (rc < 0)
        return rc;
    scan_fini(&j->end);
    j->end = (struct scan){0};
    if (j->begin != NULL)
        rc = j->begin(j->begin_arg, &snapshot, &j->end.number);
    if (rc == 0)
        rc = str_error(&snapshot);
    j->end.limit = j->end.number + j->options.reserve;
    if (rc == 0)
        rc = make_segment(j, 1, &snapshot);
    j->is_new = rc == 0;
    str_fini(&snapshot);
    return rc;
}

static int sync_names(struct journal_shared *j)
{
    int rc = RULE(RULE_DIRECTORY_SYNC) ? j->disk->ops->sync_directory(j->disk) : 0;

    if (rc == 0 && RULE(RULE_NAME_SYNC))
        rc = j->disk->ops->sync_name(j->disk);
    return rc;
}

/* The file before its names: on ext4 one commit of its own journal then holds all of it, and
 * an account made alone takes two thirds of the time that it takes the other way round. */
int shared_settle(struct journal_shared *j)
{
    int rc = atomic_load(&j->failed); /* what was lost then no other sync tells of */

    if (rc == 0)
        rc = j->active->file->ops->sync(j->active->file);
    if (rc == 0)
        rc = sync_names(j);
    j->is_new = false;
    return rc < 0 ? shared_sync_failed(j, rc) : shared_write_hint(j);
}

/* No hint that counts: another boot, or none yet. */
static int recover(struct journal_shared *j)
{
    bool newer = false;
    int rc = find_newest(j, &newer);

    if (rc <= 0)
        return rc < 0 ? rc : begin(j);
    rc = walk(j);
    if (rc >= 0 && j->end.last_kind == JOURNAL_SEAL)
        rc = shared_seal(j, false);
    else if (rc >= 0 && newer && RULE(RULE_SEAL_SYNC))
        rc = ERR_CORRUPT;
    if (rc < 0)
        return rc;
    if (RULE(RULE_RECOVERY_DIRECTORY)) {
        rc = sync_names(j);
        if (rc < 0)
            return rc;
    }
    if (RULE(RULE_JUMP) && j->end.limit > j->end.number)
        j->end.number = j->end.limit;
    if (format_align(j->end.offset, j->options.alignment) + RECORD_HEADER_SIZE +
            shared_seal_room(j) >
        j->active->header.size) {
        rc = shared_seal(j, false);
        if (rc < 0)
            return rc;
    }
    struct journal_record record = {.kind = JOURNAL_RESERVE};
    rc = append_own(j, &record, j->end.limit + j->options.reserve);
    if (rc == 0 && RULE(RULE_JUMP_SYNC))
        rc = shared_sync_active(j);
    return rc < 0 ? rc : shared_write_hint(j);
}

int shared_find_end(struct journal_shared *j)
{
    int rc = read_hint(j), passed;

    if (rc == ERR_NOT_FOUND)
        return recover(j);
    if (rc < 0)
        return rc;
    passed = walk(j);
    if (passed < 0)
        return passed;
    if (j->end.last_kind == JOURNAL_SEAL)
        return shared_seal(j, false);
    if (passed == 0)
        return 0;
    /* Who wrote it died before its hint, and perhaps before its sync. */
    if (j->end.last_kind == JOURNAL_RESERVE && RULE(RULE_RESERVE_LAST))
        rc = shared_sync_active(j);
    return rc < 0 ? rc : shared_write_hint(j);
}

/* --- sealing --- */

static int write_header(struct journal_shared *j, struct open_segment *s, uint64_t number,
                        size_t snapshot)
{
    unsigned char block[SEGMENT_HEADER_SIZE];
    char name[SEGMENT_NAME_SIZE];
    int rc;

    s->header = (struct segment_header){.flags = SEGMENT_STORE,
                                        .number = number,
                                        .identity = number,
                                        .size = j->options.segment_size,
                                        .alignment = j->options.alignment};
    /* A snapshot must not fill the segment that it begins. */
    if (snapshot > j->options.segment_size / 2)
        s->header.size += format_align(snapshot, SEGMENT_HEADER_SIZE);
    while (s->header.nonce == 0)
        s->header.nonce = RULE(RULE_NONCE) ? random_u64() : number;
    segment_name(name, number);
    /* What stands there has no first record: it does not exist. */
    rc = disk_open(j->disk, name, DISK_WRITE | DISK_CREATE | DISK_EMPTY, &s->file);
    if (rc < 0)
        return rc;
    segment_header_encode(&s->header, block);
    rc = disk_write(s->file, block, sizeof(block), 0);
    if (rc < 0 || number == 1)
        return rc; /* the first one: shared_settle() */
    rc = s->file->ops->sync(s->file);
    if (rc == 0 && RULE(RULE_DIRECTORY_SYNC))
        rc = j->disk->ops->sync_directory(j->disk);
    return rc;
}

/* Make the segment and its first record. The end's number and limit go on. */
static int make_segment(struct journal_shared *j, uint64_t number, struct str *snapshot)
{
    struct journal_record record = {.kind = JOURNAL_OPEN,
                                    .flags = snapshot->len > 0 ? JOURNAL_SNAPSHOT : 0,
                                    .body = str_span(snapshot)};
    uint64_t last_number = j->end.number, limit = j->end.limit;
    struct open_segment *s = NEW(struct open_segment);
    int rc;

    if (s == NULL)
        return -ENOMEM;
    rc = write_header(j, s, number, snapshot->len);
    if (rc < 0) {
        segment_close(&s);
        return rc;
    }
    set_active(j, s);
    j->end.number = last_number;
    j->end.limit = limit;
    return append_own(j, &record, limit);
}

static int take_snapshot(struct journal_shared *j, bool is_wanted, struct str *out)
{
    struct journal_cursor as_of;
    int rc;

    if (j->snapshot == NULL)
        return is_wanted ? ERR_NOT_SUPPORTED : 0;
    scan_cursor(&j->end, &as_of);
    rc = j->snapshot(j->snapshot_arg, is_wanted, &as_of, out);
    if (rc == 0)
        rc = str_error(out);
    if (rc > 0)
        str_clear(out);
    return rc < 0 ? rc : 0;
}

int shared_seal(struct journal_shared *j, bool want_snapshot)
{
    struct journal_record seal = {.kind = JOURNAL_SEAL};
    struct str snapshot = {0};
    int rc = FAULT("journal_seal");

    if (rc == 0 && j->end.last_kind != JOURNAL_SEAL)
        rc = append_own(j, &seal, j->end.limit);
    if (rc == 0 && RULE(RULE_SEAL_SYNC))
        rc = shared_sync_active(j);
    if (rc == 0)
        rc = take_snapshot(j, want_snapshot, &snapshot);
    if (rc == 0)
        rc = make_segment(j, j->end.header.number + 1, &snapshot);
    str_fini(&snapshot);
    return rc;
}
