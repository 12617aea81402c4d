#include "journal/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "journal/rules.h"

int scan_read_header(struct disk_file *file, uint32_t flags, uint64_t identity,
                     struct segment_header *header)
{
    unsigned char block[SEGMENT_HEADER_USED];
    ssize_t n = file->ops->read(file, block, sizeof(block), 0);
    int rc;

    if (n < 0)
        return (int)n;
    rc = segment_header_decode(span_make(block, (size_t)n), header);
    if (rc < 0)
        return rc;
    if (header->flags != flags || (RULE(RULE_IDENTITY) && header->identity != identity))
        return ERR_CORRUPT;
    return 0;
}

void scan_init(struct scan *s, struct disk_file *file, const struct segment_header *header)
{
    *s = (struct scan){.file = file,
                       .header = *header,
                       .end = header->size,
                       .offset = SEGMENT_HEADER_SIZE,
                       .prev = (uint32_t)header->nonce,
                       .chunk = 256 * 1024};
}

void scan_resume(struct scan *s, const struct journal_cursor *from)
{
    s->offset = from->offset;
    s->prev = from->prev;
    s->number = from->number;
    s->limit = from->limit;
    s->last_kind = (uint16_t)from->last_kind;
}

void scan_fini(struct scan *s)
{
    free(s->buf);
    s->buf = NULL;
}

/* n octets at offset in the window; 0 with *p NULL when the file is shorter. */
static int window(struct scan *s, uint64_t offset, size_t n, const unsigned char **p)
{
    size_t want = n > s->chunk ? n : s->chunk;
    ssize_t got;

    if (offset >= s->at && offset - s->at <= s->len && s->len - (offset - s->at) >= n) {
        *p = s->buf + (offset - s->at);
        return 0;
    }
    if (want > s->cap) {
        unsigned char *grown = realloc(s->buf, want);
        if (grown == NULL)
            return -ENOMEM;
        s->buf = grown;
        s->cap = want;
    }
    s->len = 0;
    got = s->file->ops->read(s->file, s->buf, want, offset);
    if (got < 0)
        return (int)got;
    s->at = offset;
    s->len = (size_t)got;
    *p = s->len >= n ? s->buf : NULL;
    return 0;
}

static void fill_record(struct journal_record *r, const struct record_header *h,
                        const unsigned char *p, uint64_t segment, uint64_t offset)
{
    *r = (struct journal_record){
        .kind = h->kind,
        .flags = h->flags,
        .number = h->number,
        .head = span_make(p + RECORD_HEADER_SIZE, h->head_length - RECORD_HEADER_SIZE),
        .at = {.segment = segment, .offset = offset, .length = h->length},
    };
}

/* The record at offset: 1 good, 0 bad. */
static int try_record(struct scan *s, uint64_t offset, struct journal_record *r,
                      struct record_header *h)
{
    const unsigned char *p;
    bool skip_body;
    size_t need;
    int rc;

    if (offset + RECORD_HEADER_SIZE > s->end)
        return 0;
    rc = window(s, offset, RECORD_HEADER_SIZE, &p);
    if (rc < 0 || p == NULL)
        return rc;
    if (record_header_decode(span_make(p, RECORD_HEADER_SIZE), h) < 0 ||
        (RULE(RULE_TAG) && h->tag != s->header.nonce) || h->length > s->end - offset ||
        (RULE(RULE_CHAIN) && h->prev != s->prev))
        return 0;
    /* A snapshot is its body. */
    skip_body = s->heads_only && h->kind != JOURNAL_OPEN;
    need = skip_body ? h->head_length : h->length;
    rc = window(s, offset, need, &p);
    if (rc < 0 || p == NULL)
        return rc;
    fill_record(r, h, p, s->header.number, offset);
    if (RULE(RULE_CRC) &&
        record_header_crc(p, r->head, RULE(RULE_TAG) ? s->header.nonce : h->tag) != h->header_crc)
        return 0;
    if (!skip_body && h->length > h->head_length) {
        r->body = span_make(p + h->head_length, h->length - h->head_length);
        if (RULE(RULE_CRC) && crc32c(0, r->body.p, r->body.n) != h->body_crc)
            return 0;
    }
    return 1;
}

static bool is_counting(uint16_t kind)
{
    return kind >= JOURNAL_KIND_USER;
}

static void accept(struct scan *s, uint64_t offset, const struct record_header *h,
                   struct journal_record *r)
{
    r->count = is_counting(h->kind) && s->last_kind != 0 && h->number >= s->number
                   ? (uint32_t)(h->number - s->number)
                   : 0;
    s->last = offset;
    s->offset = format_align(offset + h->length, 8);
    s->prev = h->header_crc;
    s->number = h->number;
    s->limit = h->limit;
    s->last_kind = h->kind;
}

#ifdef JOURNAL_RULE_SWITCHES
/* The search that rule 5 forbids. */
static int search_record(struct scan *s, struct journal_record *r, struct record_header *h,
                         uint64_t *offset)
{
    uint32_t chain = journal_rules_off;
    int rc = 0;

    journal_rules_off |= 1U << RULE_CHAIN;
    for (; rc == 0 && *offset + RECORD_HEADER_SIZE <= s->end; *offset += rc == 0 ? 8 : 0)
        rc = try_record(s, *offset, r, h);
    journal_rules_off = chain;
    return rc;
}
#endif

int scan_next(struct scan *s, struct journal_record *record)
{
    uint64_t offset = format_align(s->offset, 8);
    uint64_t aligned = format_align(offset, s->header.alignment);
    struct record_header h;
    int rc = 0;

    if (s->last_kind == JOURNAL_SEAL)
        return 0;
    rc = try_record(s, offset, record, &h);
    if (rc == 0 && aligned != offset) {
        offset = aligned;
        rc = try_record(s, offset, record, &h);
    }
#ifdef JOURNAL_RULE_SWITCHES
    if (rc == 0 && !RULE(RULE_NO_SEARCH))
        rc = search_record(s, record, &h, &offset);
#endif
    if (rc <= 0) {
        s->len = 0; /* somebody may be writing here: read it anew next time */
        return rc;
    }
    accept(s, offset, &h, record);
    return 1;
}

void scan_cursor(const struct scan *s, struct journal_cursor *out)
{
    *out = (struct journal_cursor){.segment = s->header.number,
                                   .offset = s->offset,
                                   .nonce = s->header.nonce,
                                   .number = s->number,
                                   .limit = s->limit,
                                   .prev = s->prev,
                                   .last_kind = s->last_kind};
}

int scan_read_at(struct disk_file *file, const struct segment_header *header,
                 const struct journal_position *at, enum disk_wait wait, struct str *out,
                 struct journal_record *record)
{
    uint64_t offset = at->offset;
    uint32_t length = at->length;
    struct record_header h;
    const unsigned char *p;
    size_t start = out->len;
    ssize_t got;
    int rc;

    if (length < RECORD_HEADER_SIZE || offset < SEGMENT_HEADER_SIZE || offset > header->size ||
        length > header->size - offset)
        return ERR_CORRUPT;
    rc = str_reserve(out, length);
    if (rc < 0)
        return rc;
    got = disk_read(file, out->data + start, length, offset, wait);
    if (got < 0)
        return (int)got;
    p = (const unsigned char *)out->data + start;
    if ((size_t)got < length || record_header_decode(span_make(p, RECORD_HEADER_SIZE), &h) < 0 ||
        h.tag != header->nonce || h.length != length)
        return ERR_CORRUPT;
    fill_record(record, &h, p, header->number, offset);
    record->body = span_make(p + h.head_length, h.length - h.head_length);
    if (record_header_crc(p, record->head, h.tag) != h.header_crc ||
        (record->body.n > 0 && crc32c(0, record->body.p, record->body.n) != h.body_crc))
        return ERR_CORRUPT;
    out->len = start + length;
    out->data[out->len] = '\0';
    return 0;
}

int scan_read_head_at(struct disk_file *file, const struct segment_header *header, uint64_t offset,
                      size_t head_max, struct str *out, struct journal_record *record)
{
    enum { FIRST_READ = 2048 }; /* most heads are shorter */
    struct record_header h;
    unsigned char *p;
    size_t start = out->len;
    ssize_t got;
    int rc;

    if (offset < SEGMENT_HEADER_SIZE || offset > header->size)
        return ERR_CORRUPT;
    rc = str_reserve(out, FIRST_READ);
    if (rc < 0)
        return rc;
    got = file->ops->read(file, out->data + start, FIRST_READ, offset);
    if (got < 0)
        return (int)got;
    if (record_header_decode(span_make(out->data + start, (size_t)got), &h) < 0 ||
        h.tag != header->nonce || h.length > header->size - offset)
        return ERR_CORRUPT;
    if (h.head_length - RECORD_HEADER_SIZE > head_max)
        return ERR_TOO_LONG;
    if (h.head_length > (size_t)got) {
        rc = str_reserve(out, h.head_length);
        if (rc < 0)
            return rc;
        got = file->ops->read(file, out->data + start, h.head_length, offset);
        if (got < (ssize_t)h.head_length)
            return got < 0 ? (int)got : ERR_CORRUPT;
    }
    p = (unsigned char *)out->data + start;
    fill_record(record, &h, p, header->number, offset);
    record->body = (struct span){NULL, h.length - h.head_length};
    if (record_header_crc(p, record->head, h.tag) != h.header_crc)
        return ERR_CORRUPT;
    out->len = start + h.head_length;
    out->data[out->len] = '\0';
    return 0;
}

uint64_t scan_record_length(const struct journal_record *record)
{
    uint64_t length = RECORD_HEADER_SIZE;
    size_t parts[3] = {record->head.n, record->body.n, record->body_more.n};

    for (int i = 0; i < 3; i++) {
        if (parts[i] > UINT32_MAX)
            return 0;
        length += parts[i];
    }
    return length <= UINT32_MAX ? length : 0;
}

static unsigned char *put(unsigned char *p, struct span s)
{
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

struct record_header scan_make_record(unsigned char *data, const struct journal_record *record,
                                      uint64_t nonce, uint32_t prev, uint64_t limit)
{
    size_t body = record->body.n + record->body_more.n;
    struct record_header h = {
        .tag = nonce,
        .length = (uint32_t)scan_record_length(record),
        .head_length = (uint32_t)(RECORD_HEADER_SIZE + record->head.n),
        .kind = record->kind,
        .flags = record->flags,
        .prev = prev,
        .number = record->number,
        .limit = limit,
    };
    unsigned char *p = put(data + RECORD_HEADER_SIZE, record->head);

    put(put(p, record->body), record->body_more);
    h.body_crc = body > 0 ? crc32c(0, p, body) : 0;
    record_header_encode(&h, span_make(data + RECORD_HEADER_SIZE, record->head.n), data);
    p += body;
    memset(p, 0, format_align(h.length, 8) - h.length);
    return h;
}
