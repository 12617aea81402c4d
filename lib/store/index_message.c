/* Messages, their cached strings, the change log and recent deliveries. */
#include <string.h>

#include "base/error.h"
#include "store/index.h"
#include "store/octets.h"

enum { HOT_SIZE = 64, MESSAGE_KEY = 9 };

static MDB_val value_of(const void *p, size_t n)
{
    return (MDB_val){.mv_size = n, .mv_data = (void *)p};
}

static MDB_val message_key(unsigned char key[MESSAGE_KEY], char kind, uint32_t box, uint32_t uid)
{
    key[0] = (unsigned char)kind;
    octets_put_key(key + 1, box, 4);
    octets_put_key(key + 5, uid, 4);
    return value_of(key, MESSAGE_KEY);
}

static void encode_hot(const struct index_message *m, unsigned char p[HOT_SIZE])
{
    octets_put(p, m->modseq, 8);
    octets_put(p + 8, (uint64_t)m->date, 8);
    octets_put(p + 16, m->size, 8);
    octets_put(p + 24, m->segment, 4);
    octets_put(p + 28, m->offset, 4);
    octets_put(p + 32, m->bare, 4);
    octets_put(p + 36, m->flags, 2);
    octets_put(p + 38, (uint16_t)m->zone, 2);
    octets_put(p + 40, m->keywords, 8);
    memcpy(p + 48, m->guid, GUID_SIZE);
}

static int decode_hot(const MDB_val *value, uint32_t uid, struct index_message *m)
{
    const char *p = value->mv_data;

    if (value->mv_size != HOT_SIZE)
        return ERR_CORRUPT;
    m->uid = uid;
    m->modseq = octets_get(p, 8);
    m->date = (int64_t)octets_get(p + 8, 8);
    m->size = octets_get(p + 16, 8);
    m->segment = (uint32_t)octets_get(p + 24, 4);
    m->offset = (uint32_t)octets_get(p + 28, 4);
    m->bare = (uint32_t)octets_get(p + 32, 4);
    m->flags = (uint16_t)octets_get(p + 36, 2);
    m->zone = (int16_t)octets_get(p + 38, 2);
    m->keywords = octets_get(p + 40, 8);
    memcpy(m->guid, p + 48, GUID_SIZE);
    return 0;
}

int index_message(struct index_txn *t, uint32_t box, uint32_t uid, struct index_message *out)
{
    unsigned char key[MESSAGE_KEY];
    MDB_val k = message_key(key, 'H', box, uid), v;
    int rc = index_error(t, mdb_get(t->txn, t->dbi, &k, &v));

    return rc < 0 ? rc : decode_hot(&v, uid, out);
}

int index_message_put(struct index_txn *t, uint32_t box, const struct index_message *m)
{
    unsigned char key[MESSAGE_KEY], value[HOT_SIZE];
    MDB_val k = message_key(key, 'H', box, m->uid), v = value_of(value, HOT_SIZE);

    encode_hot(m, value);
    return index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}

static int delete_key(struct index_txn *t, MDB_val key)
{
    int rc = mdb_del(t->txn, t->dbi, &key, NULL);

    return rc == MDB_NOTFOUND ? 0 : index_error(t, rc);
}

int index_message_remove(struct index_txn *t, uint32_t box, uint32_t uid)
{
    unsigned char key[MESSAGE_KEY];
    int rc = delete_key(t, message_key(key, 'H', box, uid));

    return rc < 0 ? rc : delete_key(t, message_key(key, 'E', box, uid));
}

/* --- walking --- */

int index_walk_begin(struct index_txn *t, uint32_t box, uint32_t from, struct index_walk *w)
{
    *w = (struct index_walk){.box = box, .from = from};
    return index_error(t, mdb_cursor_open(t->txn, t->dbi, &w->cursor));
}

void index_walk_seek(struct index_walk *w, uint32_t from)
{
    w->is_placed = false;
    w->from = from;
}

int index_walk_next(struct index_walk *w, struct index_message *out)
{
    unsigned char key[MESSAGE_KEY];
    MDB_val k = message_key(key, 'H', w->box, w->from), v;
    int rc = mdb_cursor_get(w->cursor, &k, &v, w->is_placed ? MDB_NEXT : MDB_SET_RANGE);

    w->is_placed = true;
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc != 0)
        return rc > 0 ? -rc : ERR_CORRUPT;
    if (k.mv_size != MESSAGE_KEY || memcmp(k.mv_data, key, 5) != 0)
        return 0;
    rc = decode_hot(&v, (uint32_t)octets_get_key((const char *)k.mv_data + 5, 4), out);
    return rc < 0 ? rc : 1;
}

void index_walk_end(struct index_walk *w)
{
    if (w->cursor != NULL)
        mdb_cursor_close(w->cursor);
    w->cursor = NULL;
}

int index_keywords_used(struct index_txn *t, uint64_t *used)
{
    MDB_val key = value_of("H", 1), value;
    struct index_message m;
    MDB_cursor *cursor;
    int result = 0, rc = mdb_cursor_open(t->txn, t->dbi, &cursor);

    *used = 0;
    if (rc != 0)
        return index_error(t, rc);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && *(const char *)key.mv_data == 'H' && *used != UINT64_MAX) {
        result = decode_hot(&value, 0, &m);
        if (result < 0)
            break;
        *used |= m.keywords;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return result < 0 || rc == MDB_NOTFOUND ? result : index_error(t, rc);
}

/* --- cached strings --- */

enum { CACHED_LENGTHS = 8 }; /* of the first two strings; the third is the rest */

int index_cached(struct index_txn *t, uint32_t box, uint32_t uid, struct index_cached *out)
{
    unsigned char key[MESSAGE_KEY];
    MDB_val k = message_key(key, 'E', box, uid), v;
    int rc = index_error(t, mdb_get(t->txn, t->dbi, &k, &v));
    uint64_t envelope, bodystructure;
    struct span rest;

    if (rc < 0)
        return rc;
    if (v.mv_size < CACHED_LENGTHS)
        return ERR_CORRUPT;
    envelope = octets_get(v.mv_data, 4);
    bodystructure = octets_get((const char *)v.mv_data + 4, 4);
    rest = span_drop(span_make(v.mv_data, v.mv_size), CACHED_LENGTHS);
    if (envelope + bodystructure > rest.n)
        return ERR_CORRUPT;
    out->envelope = span_take(rest, envelope);
    rest = span_drop(rest, envelope);
    out->bodystructure = span_take(rest, bodystructure);
    out->fields = span_drop(rest, bodystructure);
    return 0;
}

/* Made whole before it is written: the spans may be the index's own. */
int index_cached_put(struct index_txn *t, uint32_t box, uint32_t uid, const struct index_cached *c)
{
    unsigned char key[MESSAGE_KEY], lengths[CACHED_LENGTHS];
    MDB_val k = message_key(key, 'E', box, uid), v;
    struct str value = {0};
    int rc;

    octets_put(lengths, c->envelope.n, 4);
    octets_put(lengths + 4, c->bodystructure.n, 4);
    str_append(&value, span_make(lengths, sizeof(lengths)));
    str_append(&value, c->envelope);
    str_append(&value, c->bodystructure);
    str_append(&value, c->fields);
    rc = str_error(&value);
    v = value_of(value.data, value.len);
    if (rc == 0)
        rc = index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
    str_fini(&value);
    return rc;
}

/* --- changes --- */

enum { LOG_KEY = 17 };

static MDB_val log_key(unsigned char key[LOG_KEY], uint32_t box, uint64_t modseq, uint32_t uid)
{
    key[0] = 'L';
    octets_put_key(key + 1, box, 4);
    octets_put_key(key + 5, modseq, 8);
    octets_put_key(key + 13, uid, 4);
    return value_of(key, LOG_KEY);
}

int index_log(struct index_txn *t, uint32_t box, uint32_t uid, uint64_t before, uint64_t modseq)
{
    unsigned char key[LOG_KEY];
    MDB_val k, v = value_of("", 0);
    int rc = 0;

    if (before != uid)
        rc = delete_key(t, log_key(key, box, before, uid));
    if (rc < 0 || modseq == 0)
        return rc;
    k = log_key(key, box, modseq, uid);
    return index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}

/* Keys of a kind and mailbox with a modseq above since. */
static int first_after(MDB_cursor *cursor, char kind, uint32_t box, uint64_t since, MDB_val *key,
                       MDB_val *value)
{
    unsigned char start[13];

    if (since == UINT64_MAX)
        return MDB_NOTFOUND;
    start[0] = (unsigned char)kind;
    octets_put_key(start + 1, box, 4);
    octets_put_key(start + 5, since + 1, 8);
    *key = value_of(start, sizeof(start));
    return mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
}

static bool is_of(const MDB_val *key, char kind, uint32_t box, size_t length)
{
    const char *p = key->mv_data;

    return key->mv_size == length && p[0] == kind && octets_get_key(p + 1, 4) == box;
}

int index_log_walk(struct index_txn *t, uint32_t box, uint64_t since, index_log_fn *each, void *arg)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    int result = 0, rc = mdb_cursor_open(t->txn, t->dbi, &cursor);

    if (rc != 0)
        return index_error(t, rc);
    rc = first_after(cursor, 'L', box, since, &key, &value);
    while (rc == 0 && result == 0 && is_of(&key, 'L', box, LOG_KEY)) {
        const char *p = key.mv_data;
        result = each(arg, octets_get_key(p + 5, 8), (uint32_t)octets_get_key(p + 13, 4));
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return result != 0 || rc == 0 || rc == MDB_NOTFOUND ? result : index_error(t, rc);
}

/* Forget the oldest entry. */
static int prune_vanished(struct index_txn *t, struct index_box *box)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(t->txn, t->dbi, &cursor);

    if (rc == 0)
        rc = first_after(cursor, 'X', box->id, 0, &key, &value);
    if (rc == 0 && is_of(&key, 'X', box->id, 13)) {
        box->vanished_floor = octets_get_key((const char *)key.mv_data + 5, 8);
        box->vanished--;
        rc = mdb_cursor_del(cursor, 0);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return index_error(t, rc);
    mdb_cursor_close(cursor);
    return 0;
}

int index_vanish(struct index_txn *t, uint32_t id, uint64_t modseq, struct span pairs)
{
    unsigned char key[13] = {'X'};
    MDB_val k = value_of(key, sizeof(key)), v = value_of(pairs.p, pairs.n);
    struct index_box *box;
    int rc = index_box(t, id, &box);

    if (rc < 0)
        return rc;
    octets_put_key(key + 1, id, 4);
    octets_put_key(key + 5, modseq, 8);
    rc = index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
    if (rc < 0)
        return rc;
    box->vanished++;
    index_box_changed(t);
    return box->vanished > INDEX_VANISHED_MAX ? prune_vanished(t, box) : 0;
}

int index_vanished_walk(struct index_txn *t, uint32_t box, uint64_t since, index_vanished_fn *each,
                        void *arg)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    int result = 0, rc = mdb_cursor_open(t->txn, t->dbi, &cursor);

    if (rc != 0)
        return index_error(t, rc);
    rc = first_after(cursor, 'X', box, since, &key, &value);
    while (rc == 0 && result == 0 && is_of(&key, 'X', box, 13)) {
        result = value.mv_size % 8 == 0 ? each(arg, span_make(value.mv_data, value.mv_size))
                                        : ERR_CORRUPT;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return result != 0 || rc == 0 || rc == MDB_NOTFOUND ? result : index_error(t, rc);
}

/* --- deliveries --- */

int index_delivery_put(struct index_txn *t, uint64_t hash, uint32_t box, uint32_t uid)
{
    unsigned char key[2] = {'D', (unsigned char)t->meta.delivery}, value[16];
    MDB_val k = value_of(key, 2), v = value_of(value, 16);

    t->meta.delivery = (t->meta.delivery + 1) % INDEX_DELIVERIES;
    t->is_meta_dirty = true;
    octets_put(value, hash, 8);
    octets_put(value + 8, box, 4);
    octets_put(value + 12, uid, 4);
    return index_error(t, mdb_put(t->txn, t->dbi, &k, &v, 0));
}

int index_delivery_find(struct index_txn *t, uint64_t hash, uint32_t *box, uint32_t *uid)
{
    for (unsigned slot = 0; slot < INDEX_DELIVERIES; slot++) {
        unsigned char key[2] = {'D', (unsigned char)slot};
        MDB_val k = value_of(key, 2), v;
        int rc = mdb_get(t->txn, t->dbi, &k, &v);

        if (rc == MDB_NOTFOUND)
            continue;
        if (rc != 0)
            return index_error(t, rc);
        if (v.mv_size == 16 && octets_get(v.mv_data, 8) == hash) {
            *box = (uint32_t)octets_get((const char *)v.mv_data + 8, 4);
            *uid = (uint32_t)octets_get((const char *)v.mv_data + 12, 4);
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

/* --- the dead --- */

int index_dead_since(struct index_txn *t, struct span what, int64_t now, int64_t *since)
{
    unsigned char key[1 + GUID_SIZE] = {'S'}, value[8];
    MDB_val k = value_of(key, 1 + what.n), v = value_of(value, sizeof(value));
    int rc;

    if (what.n > GUID_SIZE)
        return ERR_TOO_LONG;
    memcpy(key + 1, what.p, what.n);
    octets_put(value, (uint64_t)now, 8);
    rc = mdb_put(t->txn, t->dbi, &k, &v, MDB_NOOVERWRITE);
    if (rc != 0 && rc != MDB_KEYEXIST)
        return index_error(t, rc);
    *since = v.mv_size == 8 ? (int64_t)octets_get(v.mv_data, 8) : now;
    return 0;
}
