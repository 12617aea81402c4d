/* A segment's octets, a hint and a cursor as a damaged disk may show them. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "journal/scan.h"

static const uint8_t *octets;
static size_t size;

static ssize_t read_octets(struct disk_file *file, void *buf, size_t n, uint64_t offset)
{
    if (offset >= size)
        return 0;
    n = n < size - offset ? n : size - offset;
    memcpy(buf, octets + offset, n);
    return (ssize_t)n;
}

static const struct disk_ops ops = {.read = read_octets};

static void walk(struct disk_file *file, const struct segment_header *header, bool heads_only)
{
    struct journal_record record;
    uint64_t last = 0;
    struct scan scan;

    scan_init(&scan, file, header);
    scan.heads_only = heads_only;
    while (scan_next(&scan, &record) > 0) {
        struct str out = {.max = 1 << 20};
        struct journal_record again;
        ENSURE(record.at.offset >= last + RECORD_HEADER_SIZE || last == 0);
        last = record.at.offset;
        (void)scan_read_at(file, header, &record.at, DISK_WAIT, &out, &again);
        str_fini(&out);
    }
    scan_fini(&scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct disk_file file = {.ops = &ops};
    struct segment_header header;
    struct journal_cursor cursor;
    struct hint hint;

    octets = data;
    size = n;
    (void)hint_decode(span_make(data, n), &hint);
    (void)journal_cursor_decode(span_make(data, n < 48 ? n : 48), &cursor);
    if (scan_read_header(&file, SEGMENT_QUEUE, 0, &header) < 0)
        header = (struct segment_header){.nonce = 1, .size = 1 << 20, .alignment = 512};
    walk(&file, &header, false);
    walk(&file, &header, true);
    return 0;
}
