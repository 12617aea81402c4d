/* Store mode: the segment files of a directory. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "journal/shared_internal.h"

void segment_name(char name[SEGMENT_NAME_SIZE], uint64_t number)
{
    snprintf(name, SEGMENT_NAME_SIZE, "seg.%" PRIu64, number);
}

int segment_open(struct disk *disk, uint64_t number, int flags, struct open_segment **out)
{
    struct open_segment *s = NEW(struct open_segment);
    char name[SEGMENT_NAME_SIZE];
    int rc;

    if (s == NULL)
        return -ENOMEM;
    segment_name(name, number);
    rc = disk_open(disk, name, flags, &s->file);
    if (rc == 0)
        rc = scan_read_header(s->file, SEGMENT_STORE, number, &s->header);
    if (rc == 0 && s->header.nonce == 0)
        rc = ERR_CORRUPT;
    if (rc < 0) {
        segment_close(&s);
        return rc == -ENOENT ? ERR_NOT_FOUND : rc;
    }
    *out = s;
    return 0;
}

void segment_close(struct open_segment **s)
{
    if (*s != NULL) {
        disk_close(&(*s)->file);
        free(*s);
    }
    *s = NULL;
}

int segment_begins(struct open_segment *s, bool *has_snapshot)
{
    struct journal_record record;
    struct scan scan;
    int rc;

    scan_init(&scan, s->file, &s->header);
    scan.chunk = 4096;
    rc = scan_next(&scan, &record);
    if (rc > 0) {
        rc = record.kind == JOURNAL_OPEN;
        if (has_snapshot != NULL)
            *has_snapshot = rc && (record.flags & JOURNAL_SNAPSHOT) != 0;
    }
    scan_fini(&scan);
    return rc;
}

static int note_segment(void *arg, const char *name)
{
    struct segment_list *list = arg;
    struct span digits = span_cstr(name);
    uint64_t number, *item;

    if (!span_starts(digits, SPAN_LIT("seg.")))
        return 0;
    if (span_to_u64(span_drop(digits, 4), &number) < 0 || number == 0 || number >= INT64_MAX)
        return 0;
    item = array_push(&list->numbers);
    if (item == NULL)
        return -ENOMEM;
    *item = number;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

int segment_list_read(struct disk *disk, struct segment_list *list)
{
    int rc;

    array_clear(&list->numbers);
    rc = disk->ops->list(disk, note_segment, list);
    if (rc == 0 && list->numbers.len > 0)
        qsort(list->numbers.items, list->numbers.len, sizeof(uint64_t), compare_numbers);
    return rc;
}
