#include "journal/format.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "journal/rules.h"

static const char magic[7] = {'W', 'P', 'J', 'O', 'U', 'R', 'N'};

static void put16(unsigned char *p, uint16_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}

static void put64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}

static uint16_t get16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const unsigned char *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

void segment_header_encode(const struct segment_header *h, unsigned char block[SEGMENT_HEADER_SIZE])
{
    memset(block, 0, SEGMENT_HEADER_SIZE);
    memcpy(block, magic, sizeof(magic));
    block[7] = FORMAT_VERSION;
    put32(block + 12, h->flags);
    put64(block + 16, h->number);
    put64(block + 24, h->nonce);
    put64(block + 32, h->identity);
    put64(block + 40, h->size);
    put32(block + 48, h->alignment);
    put32(block + 8, crc32c(0, block + 12, 52));
}

int segment_header_decode(struct span octets, struct segment_header *h)
{
    const unsigned char *p = (const unsigned char *)octets.p;

    if (octets.n < SEGMENT_HEADER_USED || memcmp(p, magic, sizeof(magic)) != 0)
        return ERR_CORRUPT;
    if (p[7] > FORMAT_VERSION)
        return ERR_VERSION;
    if (p[7] == 0 || get32(p + 8) != crc32c(0, p + 12, 52))
        return ERR_CORRUPT;
    *h = (struct segment_header){.flags = get32(p + 12),
                                 .number = get64(p + 16),
                                 .nonce = get64(p + 24),
                                 .identity = get64(p + 32),
                                 .size = get64(p + 40),
                                 .alignment = get32(p + 48)};
    if ((h->alignment != 8 && h->alignment != 512 && h->alignment != 4096) ||
        h->size < SEGMENT_HEADER_SIZE || h->size > INT64_MAX)
        return ERR_CORRUPT;
    return 0;
}

uint32_t record_header_crc(const unsigned char *octets, struct span head, uint64_t nonce)
{
    unsigned char seed[8];
    uint32_t crc = 0;

    if (RULE(RULE_SEED)) {
        put64(seed, nonce);
        crc = crc32c(0, seed, sizeof(seed));
    }
    crc = crc32c(crc, octets, 44);
    return head.n > 0 ? crc32c(crc, head.p, head.n) : crc;
}

void record_header_encode(struct record_header *h, struct span head, unsigned char *out)
{
    put64(out, h->tag);
    put32(out + 8, h->length);
    put32(out + 12, h->head_length);
    put16(out + 16, h->kind);
    put16(out + 18, h->flags);
    put32(out + 20, h->prev);
    put64(out + 24, h->number);
    put64(out + 32, h->limit);
    put32(out + 40, h->body_crc);
    h->header_crc = record_header_crc(out, head, h->tag);
    put32(out + 44, h->header_crc);
}

int record_header_decode(struct span octets, struct record_header *h)
{
    const unsigned char *p = (const unsigned char *)octets.p;

    if (octets.n < RECORD_HEADER_SIZE)
        return ERR_CORRUPT;
    *h = (struct record_header){.tag = get64(p),
                                .length = get32(p + 8),
                                .head_length = get32(p + 12),
                                .kind = get16(p + 16),
                                .flags = get16(p + 18),
                                .prev = get32(p + 20),
                                .number = get64(p + 24),
                                .limit = get64(p + 32),
                                .body_crc = get32(p + 40),
                                .header_crc = get32(p + 44)};
    if (h->tag == 0 || h->kind == 0 || h->head_length < RECORD_HEADER_SIZE ||
        h->head_length > h->length)
        return ERR_CORRUPT;
    return 0;
}

void hint_encode(const struct hint *h, unsigned char out[HINT_SIZE])
{
    memset(out, 0, HINT_SIZE);
    put32(out + 4, h->prev);
    memcpy(out + 8, h->boot, BOOT_ID_SIZE);
    put64(out + 24, h->segment);
    put64(out + 32, h->offset);
    put64(out + 40, h->number);
    put64(out + 48, h->limit);
    put64(out + 56, h->last);
    put32(out, crc32c(0, out + 4, HINT_SIZE - 4));
}

int hint_decode(struct span octets, struct hint *h)
{
    const unsigned char *p = (const unsigned char *)octets.p;

    if (octets.n < HINT_SIZE || get32(p) != crc32c(0, p + 4, HINT_SIZE - 4))
        return ERR_CORRUPT;
    *h = (struct hint){.prev = get32(p + 4),
                       .segment = get64(p + 24),
                       .offset = get64(p + 32),
                       .number = get64(p + 40),
                       .limit = get64(p + 48),
                       .last = get64(p + 56)};
    memcpy(h->boot, p + 8, BOOT_ID_SIZE);
    return 0;
}
