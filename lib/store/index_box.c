/* Mailboxes, subscriptions and keywords in the index. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "store/index.h"
#include "store/octets.h"

enum { BOX_FIXED = 8 + 9 * 8 + 4 };

static MDB_val value_of(const void *p, size_t n)
{
    return (MDB_val){.mv_size = n, .mv_data = (void *)p};
}

static MDB_val id_key(unsigned char key[5], char kind, uint32_t id)
{
    key[0] = (unsigned char)kind;
    octets_put_key(key + 1, id, 4);
    return value_of(key, 5);
}

static MDB_val name_key(char key[1 + INDEX_NAME_MAX], char kind, struct span name)
{
    name = span_take(name, INDEX_NAME_MAX);
    key[0] = kind;
    memcpy(key + 1, name.p, name.n);
    return value_of(key, 1 + name.n);
}

/* --- the value --- */

static MDB_val encode_box(const struct index_box *b, unsigned char *p)
{
    const uint64_t numbers[] = {b->uidnext,     b->messages,       b->unseen,
                                b->bytes,       b->modseq,         b->recent,
                                b->recent_from, b->vanished_floor, b->vanished};

    octets_put(p, b->uidvalidity, 4);
    octets_put(p + 4, b->is_selectable, 4);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        octets_put(p + 8 + 8 * i, numbers[i], 8);
    octets_put(p + 80, b->name_length, 2);
    octets_put(p + 82, b->special_length, 2);
    memcpy(p + BOX_FIXED, b->name, b->name_length);
    memcpy(p + BOX_FIXED + b->name_length, b->special, b->special_length);
    return value_of(p, (size_t)BOX_FIXED + b->name_length + b->special_length);
}

static int decode_box(uint32_t id, const MDB_val *value, struct index_box *b)
{
    const char *p = value->mv_data;
    uint64_t numbers[9];

    if (value->mv_size < BOX_FIXED)
        return ERR_CORRUPT;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        numbers[i] = octets_get(p + 8 + 8 * i, 8);
    b->id = id;
    b->uidvalidity = (uint32_t)octets_get(p, 4);
    b->is_selectable = p[4] != 0;
    b->uidnext = numbers[0];
    b->messages = numbers[1];
    b->unseen = numbers[2];
    b->bytes = numbers[3];
    b->modseq = numbers[4];
    b->recent = numbers[5];
    b->recent_from = numbers[6];
    b->vanished_floor = numbers[7];
    b->vanished = (uint32_t)numbers[8];
    b->name_length = (uint16_t)octets_get(p + 80, 2);
    b->special_length = (uint16_t)octets_get(p + 82, 2);
    if (b->name_length > INDEX_NAME_MAX || b->special_length > INDEX_SPECIAL_MAX ||
        value->mv_size != (size_t)BOX_FIXED + b->name_length + b->special_length)
        return ERR_CORRUPT;
    memcpy(b->name, p + BOX_FIXED, b->name_length);
    memcpy(b->special, p + BOX_FIXED + b->name_length, b->special_length);
    return 0;
}

static int put_box(struct index_txn *t, const struct index_box *box)
{
    unsigned char key[5], octets[BOX_FIXED + INDEX_NAME_MAX + INDEX_SPECIAL_MAX];
    MDB_val k = id_key(key, 'A', box->id), v = encode_box(box, octets);

    return index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}

int index_flush(struct index_txn *t)
{
    int rc = 0;

    if (t->is_box_dirty && t->box.id != 0)
        rc = put_box(t, &t->box);
    t->is_box_dirty = false;
    return rc;
}

/* --- mailboxes --- */

int index_box(struct index_txn *t, uint32_t id, struct index_box **out)
{
    unsigned char key[5];
    MDB_val k = id_key(key, 'A', id), v;
    int rc = 0;

    if (t->box.id != id || id == 0) {
        rc = index_flush(t);
        t->box.id = 0;
        if (rc == 0)
            rc = index_error(t, mdb_get(t->txn, t->dbi, &k, &v));
        if (rc == 0)
            rc = decode_box(id, &v, &t->box);
        if (rc < 0)
            t->box.id = 0;
    }
    *out = &t->box;
    return rc;
}

static int put_name(struct index_txn *t, struct span name, uint32_t id)
{
    char key[1 + INDEX_NAME_MAX];
    unsigned char value[4];
    MDB_val k = name_key(key, 'N', name), v = value_of(value, 4);

    octets_put(value, id, 4);
    return index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}

static int delete_key(struct index_txn *t, MDB_val key)
{
    int rc = mdb_del(t->txn, t->dbi, &key, NULL);

    return rc == MDB_NOTFOUND ? 0 : index_error(t, rc);
}

int index_box_find(struct index_txn *t, struct span name, uint32_t *id)
{
    char key[1 + INDEX_NAME_MAX];
    MDB_val k = name_key(key, 'N', name), v;
    int rc;

    if (name.n > INDEX_NAME_MAX)
        return ERR_NOT_FOUND;
    rc = index_error(t, mdb_get(t->txn, t->dbi, &k, &v));
    if (rc == 0 && v.mv_size != 4)
        rc = ERR_CORRUPT;
    if (rc == 0)
        *id = (uint32_t)octets_get(v.mv_data, 4);
    return rc;
}

int index_box_add(struct index_txn *t, const struct index_box *box)
{
    int rc = index_flush(t);

    t->box.id = 0;
    if (rc == 0)
        rc = put_box(t, box);
    return rc < 0 ? rc : put_name(t, index_box_name(box), box->id);
}

static struct span span_of(MDB_val v)
{
    return span_make(v.mv_data, v.mv_size);
}

int index_box_pairs(const struct index_box *box, bool is_subscribed, index_pair_fn *each, void *arg)
{
    unsigned char key[5], octets[BOX_FIXED + INDEX_NAME_MAX + INDEX_SPECIAL_MAX], id[4];
    char name[1 + INDEX_NAME_MAX];
    int rc = each(arg, span_of(id_key(key, 'A', box->id)), span_of(encode_box(box, octets)));

    octets_put(id, box->id, 4);
    if (rc == 0)
        rc = each(arg, span_of(name_key(name, 'N', index_box_name(box))), span_make(id, 4));
    if (rc == 0 && is_subscribed)
        rc = each(arg, span_of(name_key(name, 'U', index_box_name(box))), SPAN_NONE);
    return rc;
}

int index_box_clear(struct index_txn *t, uint32_t id)
{
    unsigned char key[5];
    int rc = 0;

    for (const char *kind = "HELX"; rc == 0 && *kind != '\0'; kind++) {
        MDB_val prefix = id_key(key, *kind, id);
        rc = index_delete_prefix(t, span_make(prefix.mv_data, prefix.mv_size));
    }
    return rc;
}

int index_box_remove(struct index_txn *t, uint32_t id)
{
    char name[1 + INDEX_NAME_MAX];
    unsigned char key[5];
    struct index_box *box;
    int rc = index_box(t, id, &box);

    if (rc < 0)
        return rc;
    rc = delete_key(t, name_key(name, 'N', index_box_name(box)));
    if (rc == 0)
        rc = delete_key(t, id_key(key, 'A', id));
    t->box.id = 0;
    t->is_box_dirty = false;
    return rc < 0 ? rc : index_box_clear(t, id);
}

int index_box_rename(struct index_txn *t, uint32_t id, struct span name)
{
    char key[1 + INDEX_NAME_MAX];
    struct index_box *box;
    int rc = index_box(t, id, &box);

    if (rc == 0 && name.n > INDEX_NAME_MAX)
        rc = ERR_TOO_LONG;
    if (rc == 0)
        rc = delete_key(t, name_key(key, 'N', index_box_name(box)));
    if (rc < 0)
        return rc;
    memcpy(box->name, name.p, name.n);
    box->name_length = (uint16_t)name.n;
    index_box_changed(t);
    return put_name(t, name, id);
}

/* Each key of a kind: the key without it. */
typedef int pair_fn(void *arg, struct span key, const MDB_val *value);
static int walk_kind(struct index_txn *t, char kind, pair_fn *each, void *arg)
{
    MDB_val key = value_of(&kind, 1), value;
    MDB_cursor *cursor;
    int result = 0, rc = mdb_cursor_open(t->txn, t->dbi, &cursor);

    if (rc != 0)
        return index_error(t, rc);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && result == 0 && *(const char *)key.mv_data == kind) {
        result = each(arg, span_drop(span_make(key.mv_data, key.mv_size), 1), &value);
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return result != 0 || rc == MDB_NOTFOUND ? result : index_error(t, rc);
}

static int add_box(void *arg, struct span key, const MDB_val *value)
{
    struct index_boxes *all = arg;
    struct index_box *box = array_push(&all->items);

    if (box == NULL)
        return -ENOMEM;
    return key.n == 4 ? decode_box((uint32_t)octets_get_key(key.p, 4), value, box) : ERR_CORRUPT;
}

int index_box_list(struct index_txn *t, struct index_boxes *out)
{
    int rc = index_flush(t);

    return rc < 0 ? rc : walk_kind(t, 'A', add_box, out);
}

/* --- subscriptions, keywords --- */

int index_subscribe(struct index_txn *t, struct span name, bool on)
{
    char key[1 + INDEX_NAME_MAX];
    MDB_val k = name_key(key, 'U', name), v = value_of("", 0);

    if (name.n > INDEX_NAME_MAX)
        return ERR_TOO_LONG;
    return on ? index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0)) : delete_key(t, k);
}

bool index_is_subscribed(struct index_txn *t, struct span name)
{
    char key[1 + INDEX_NAME_MAX];
    MDB_val k = name_key(key, 'U', name), v;

    return mdb_get(t->txn, t->dbi, &k, &v) == 0;
}

struct names {
    index_name_fn *each;
    void *arg;
};

static int hand_name(void *arg, struct span key, const MDB_val *value)
{
    struct names *n = arg;

    return n->each(n->arg, key);
}

int index_subscriptions(struct index_txn *t, index_name_fn *each, void *arg)
{
    struct names n = {each, arg};

    return walk_kind(t, 'U', hand_name, &n);
}

int index_keyword(struct index_txn *t, unsigned number, struct span *name)
{
    unsigned char key[2] = {'K', (unsigned char)number};
    MDB_val k = value_of(key, 2), v;
    int rc = index_error(t, mdb_get(t->txn, t->dbi, &k, &v));

    if (rc == 0)
        *name = span_make(v.mv_data, v.mv_size);
    return rc;
}

int index_keyword_edition(struct index_txn *t, uint32_t *edition)
{
    MDB_val k = value_of("K", 1), v;
    int rc = index_error(t, mdb_get(t->txn, t->dbi, &k, &v));

    *edition = rc == 0 && v.mv_size == 4 ? (uint32_t)octets_get(v.mv_data, 4) : 0;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int next_edition(struct index_txn *t)
{
    unsigned char octets[4];
    MDB_val k = value_of("K", 1), v = value_of(octets, 4);
    uint32_t edition;
    int rc = index_keyword_edition(t, &edition);

    octets_put(octets, edition + 1, 4);
    return rc < 0 ? rc : index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}

int index_keyword_put(struct index_txn *t, unsigned number, struct span name)
{
    unsigned char key[2] = {'K', (unsigned char)number};
    MDB_val k = value_of(key, 2), v = value_of(name.p, name.n);
    struct span before;

    if (index_keyword(t, number, &before) == 0) {
        int rc = next_edition(t);
        if (rc < 0)
            return rc;
    }
    if (number >= t->meta.keywords) {
        t->meta.keywords = number + 1;
        t->is_meta_dirty = true;
    }
    return index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}
