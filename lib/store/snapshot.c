/* The whole state of an account as one record's body. */
#include "base/error.h"
#include "store/apply.h"
#include "store/octets.h"

enum { SNAPSHOT_VERSION = 1, SNAPSHOT_FIXED = 32, PAIR_FIXED = 6 };

static int add_pair(void *arg, struct span key, struct span value)
{
    struct str *out = arg;

    octets_append(out, key.n, 2);
    octets_append(out, value.n, 4);
    str_append(out, key);
    return str_append(out, value);
}

static int add_meta(struct str *out, const struct index_meta *meta)
{
    octets_append(out, SNAPSHOT_VERSION, 4);
    octets_append(out, meta->delivery, 4); /* 0 in older ones */
    octets_append(out, meta->bytes, 8);
    octets_append(out, meta->messages, 8);
    octets_append(out, meta->uidvalidity, 4);
    return octets_append(out, meta->keywords, 4);
}

int snapshot_write(struct index_txn *t, struct str *out)
{
    int rc = index_flush(t);

    add_meta(out, &t->meta);
    return rc < 0 ? rc : index_dump(t, add_pair, out);
}

int snapshot_begin(struct str *out, uint32_t uidvalidity)
{
    return add_meta(out, &(struct index_meta){.uidvalidity = uidvalidity});
}

int snapshot_add_box(struct str *out, const struct index_box *box, bool is_subscribed)
{
    return index_box_pairs(box, is_subscribed, add_pair, out);
}

bool snapshot_totals(const void *body, uint64_t *bytes, uint64_t *messages)
{
    const char *p = body;

    if (octets_get(p, 4) != SNAPSHOT_VERSION)
        return false;
    *bytes = octets_get(p + 8, 8);
    *messages = octets_get(p + 16, 8);
    return true;
}

static int put_pair(struct index_txn *t, struct span key, struct span value)
{
    MDB_val k = {.mv_size = key.n, .mv_data = (void *)key.p};
    MDB_val v = {.mv_size = value.n, .mv_data = (void *)value.p};

    return index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}

int snapshot_load(struct index_txn *t, struct span body)
{
    struct span in = span_drop(body, SNAPSHOT_FIXED), key, value;
    struct journal_cursor applied = t->meta.applied;
    int rc;

    if (body.n < SNAPSHOT_FIXED)
        return ERR_CORRUPT;
    if (octets_get(body.p, 4) != SNAPSHOT_VERSION)
        return ERR_VERSION;
    rc = index_empty(t);
    t->meta.applied = applied;
    t->meta.delivery = (uint32_t)octets_get(body.p + 4, 4) % INDEX_DELIVERIES;
    t->meta.bytes = octets_get(body.p + 8, 8);
    t->meta.messages = octets_get(body.p + 16, 8);
    t->meta.uidvalidity = (uint32_t)octets_get(body.p + 24, 4);
    t->meta.keywords = (uint32_t)octets_get(body.p + 28, 4);
    while (rc == 0 && in.n > 0) {
        size_t key_size, value_size;
        if (in.n < PAIR_FIXED)
            return ERR_CORRUPT;
        key_size = octets_get(in.p, 2);
        value_size = octets_get(in.p + 2, 4);
        in = span_drop(in, PAIR_FIXED);
        if (key_size == 0 || key_size > 511 || !octets_take_span(&in, key_size, &key) ||
            !octets_take_span(&in, value_size, &value) || memchr("ANUKHLXD", key.p[0], 8) == NULL)
            return ERR_CORRUPT;
        rc = put_pair(t, key, value);
    }
    return rc;
}
