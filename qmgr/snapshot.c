#include "qmgr/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/fd.h"
#include "qmgr/entry.h"
#include "qmgr/finished.h"

enum { SNAPSHOT_VERSION = 1, BUFFER = 256 << 10 };
static const uint64_t SNAPSHOT_MAX = 16ULL << 30;
static const char name[] = "entries", new_name[] = "entries.new";
static const char magic[8] = "WPQUEUE";

/* The file: this header, the mark, what finished.h knows, then entries, each with its
 * changes. */
struct header {
    char magic[8];
    uint32_t version;
    uint32_t entry_size; /* says the byte order too */
    uint32_t zero;
    uint32_t crc; /* of all that follows it */
    uint64_t mark, finished, entries;
};

struct saved_entry {
    uint64_t number;
    int64_t time_us;
    uint64_t segment, offset; /* of the MESSAGE record */
    uint32_t length, changes;
    uint64_t oldest_segment;
    uint64_t file, size;
    int64_t arrival_us, next_attempt_s;
    uint64_t commit_hash;
    uint32_t flags, zero;
};

struct saved_change {
    uint64_t segment, offset;
    uint32_t length, sequence;
    uint32_t is_state, zero;
};

/* --- writing --- */

struct writer {
    int fd, rc;
    uint32_t crc;
    struct str buffer;
};

static void flush(struct writer *w)
{
    if (w->rc == 0)
        w->rc = str_error(&w->buffer);
    if (w->rc == 0)
        w->rc = fd_write_all(w->fd, str_cstr(&w->buffer), w->buffer.len);
    w->crc = crc32c(w->crc, str_cstr(&w->buffer), w->buffer.len);
    str_clear(&w->buffer);
}

static void put(struct writer *w, const void *octets, size_t n)
{
    str_append(&w->buffer, span_make(octets, n));
    if (w->buffer.len >= BUFFER)
        flush(w);
}

static void put_entry(struct writer *w, const struct entry *e)
{
    struct saved_entry saved = {
        .number = e->id.number,
        .time_us = e->id.time_us,
        .segment = e->message.segment,
        .offset = e->message.offset,
        .length = e->message.length,
        .changes = e->change_count,
        .oldest_segment = e->oldest_segment,
        .file = e->file,
        .size = e->size,
        .arrival_us = e->arrival_us,
        /* Whether it is still under way is for the next qmgr to say (under_way.h). */
        .next_attempt_s = e->under_way > 0 ? 0 : e->next_attempt_s,
        .commit_hash = e->commit_hash,
        .flags = e->flags,
    };

    put(w, &saved, sizeof(saved));
    for (uint32_t i = 0; i < e->change_count; i++) {
        const struct change *c = &e->changes[i];
        struct saved_change change = {.segment = c->at.segment,
                                      .offset = c->at.offset,
                                      .length = c->at.length,
                                      .sequence = c->sequence,
                                      .is_state = c->is_state};

        put(w, &change, sizeof(change));
    }
}

static void put_everything(struct writer *w, struct span mark)
{
    struct hash_walk walk = {0};
    const struct finished *f;
    const struct entry *e;
    struct header h = {.version = SNAPSHOT_VERSION,
                       .entry_size = sizeof(struct saved_entry),
                       .mark = mark.n,
                       .entries = entry_count_all()};

    memcpy(h.magic, magic, sizeof(magic));
    while (finished_get(h.finished) != NULL)
        h.finished++;
    w->rc = fd_write_all(w->fd, &h, offsetof(struct header, mark)); /* the CRC comes last */
    put(w, &h.mark, sizeof(h) - offsetof(struct header, mark));
    put(w, mark.p, mark.n);
    for (size_t i = 0; (f = finished_get(i)) != NULL; i++)
        put(w, f, sizeof(*f));
    while ((e = entry_walk(&walk)) != NULL)
        put_entry(w, e);
    flush(w);
    if (w->rc == 0)
        w->rc = fd_pwrite_all(w->fd, &w->crc, sizeof(w->crc), offsetof(struct header, crc));
}

int snapshot_save(int directory, struct span mark)
{
    struct writer w = {.fd = openat(directory, new_name,
                                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};

    if (w.fd < 0)
        return -errno;
    put_everything(&w, mark);
    if (w.rc == 0 && fdatasync(w.fd) < 0)
        w.rc = -errno;
    fd_close(&w.fd);
    str_fini(&w.buffer);
    if (w.rc == 0 && (renameat(directory, new_name, directory, name) < 0 || fsync(directory) < 0))
        w.rc = -errno;
    if (w.rc < 0)
        unlinkat(directory, new_name, 0);
    return w.rc;
}

void snapshot_remove(int directory)
{
    unlinkat(directory, name, 0);
}

/* --- reading --- */

static bool take(struct span *rest, void *out, size_t n)
{
    if (rest->n < n)
        return false;
    memcpy(out, rest->p, n);
    *rest = span_drop(*rest, n);
    return true;
}

/* Also the one of a version that says it otherwise: the journal has it all. */
static int check(struct snapshot *s, struct str *mark)
{
    struct header h;
    size_t covered = offsetof(struct header, mark);

    s->rest = str_span(&s->octets);
    if (!take(&s->rest, &h, sizeof(h)) || memcmp(h.magic, magic, sizeof(magic)) != 0 ||
        h.version != SNAPSHOT_VERSION || h.entry_size != sizeof(struct saved_entry) ||
        h.mark > s->rest.n || crc32c(0, s->octets.data + covered, s->octets.len - covered) != h.crc)
        return ERR_CORRUPT;
    str_append(mark, span_take(s->rest, h.mark));
    s->rest = span_drop(s->rest, h.mark);
    s->finished = h.finished;
    s->entries = h.entries;
    return str_error(mark);
}

int snapshot_read(struct snapshot *s, int directory, struct str *mark)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc;

    *s = (struct snapshot){0};
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : -errno;
    rc = fd_read_file(fd, &s->octets, SNAPSHOT_MAX);
    fd_close(&fd);
    return rc < 0 ? rc : check(s, mark);
}

static int restore_changes(struct entry *e, uint32_t count, struct span *rest)
{
    for (uint32_t i = 0; i < count; i++) {
        struct saved_change saved;

        if (!take(rest, &saved, sizeof(saved)))
            return ERR_CORRUPT;
        struct change c = {.at = {saved.segment, saved.offset, saved.length},
                           .sequence = saved.sequence,
                           .is_state = saved.is_state};
        int rc = entry_add_change(e, &c);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int restore_entry(struct span *rest)
{
    struct saved_entry saved;
    struct entry *e;

    if (!take(rest, &saved, sizeof(saved)))
        return ERR_CORRUPT;
    e = entry_new(saved.number);
    if (e == NULL)
        return -ENOMEM;
    e->id.time_us = saved.time_us;
    e->file = saved.file;
    e->size = saved.size;
    e->arrival_us = saved.arrival_us;
    e->next_attempt_s = saved.next_attempt_s;
    e->commit_hash = saved.commit_hash;
    e->flags = (uint8_t)saved.flags;
    entry_set_message(e, &(struct journal_position){saved.segment, saved.offset, saved.length});
    e->oldest_segment = saved.oldest_segment;
    return restore_changes(e, saved.changes, rest);
}

int snapshot_restore(struct snapshot *s)
{
    struct finished f;
    int rc = 0;

    for (; s->finished > 0; s->finished--) {
        if (!take(&s->rest, &f, sizeof(f)))
            return ERR_CORRUPT;
        finished_note(f.number, f.commit_hash);
    }
    for (; rc == 0 && s->entries > 0; s->entries--)
        rc = restore_entry(&s->rest);
    return rc;
}

void snapshot_fini(struct snapshot *s)
{
    str_fini(&s->octets);
}
