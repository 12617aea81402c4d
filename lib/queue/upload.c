/*
 * Content on its way in. What is stored is only ever appended to; edits change
 * the list of extents.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/fd.h"
#include "queue/internal.h"

enum { WRITE_PIECE = 128 << 10 };

struct queue_upload {
    struct queue_client *client;
    ARRAY(struct queue_extent) extents;
    struct str pending; /* inline content, or what is not yet in the file */
    uint64_t stored;    /* octets in the file; 0 while inline */
    uint64_t file;      /* 0: inline */
    int fd;             /* write-only, or -1 */
    struct queue_scan scan;
    uint64_t line_start; /* stored offset of the current header line */
    int error;
};

int queue_upload_begin(struct queue_upload **out, struct queue_client *cl, struct budget *budget)
{
    struct queue_upload *u = NEW(struct queue_upload);

    if (u == NULL)
        return -ENOMEM;
    u->client = cl;
    u->fd = -1;
    str_init(&u->pending, budget);
    *out = u;
    return 0;
}

void queue_upload_free(struct queue_upload *u)
{
    if (u == NULL)
        return;
    fd_close(&u->fd);
    array_free(&u->extents);
    str_fini(&u->pending);
    free(u);
}

void queue_upload_abort(struct queue_upload *u)
{
    if (u == NULL)
        return;
    if (u->file != 0) {
        struct ipc_out request = {0};
        struct ipc_in *reply;

        ipc_begin(&request, "drop");
        ipc_put_u64(&request, "file", u->file);
        bool shield = task_shield(true);
        if (queue_client_call(u->client, &request, &reply) == 0)
            ipc_in_free(reply);
        task_shield(shield);
    }
    queue_upload_free(u);
}

/* Octets of the content as it stands. */
static uint64_t content_size(const struct queue_upload *u)
{
    uint64_t size = 0;

    for (size_t i = 0; i < u->extents.len; i++)
        size += u->extents.items[i].length;
    return size;
}

/* --- the store --- */

struct write_job {
    int fd;
    struct span octets;
    uint64_t offset;
    int rc;
};

static void run_write(void *arg)
{
    struct write_job *job = arg;

    job->rc = fd_pwrite_all(job->fd, job->octets.p, job->octets.n, job->offset);
}

static int write_pending(struct queue_upload *u)
{
    struct write_job job = {u->fd, str_span(&u->pending), u->stored, 0};

    if (job.octets.n == 0)
        return 0;
    int rc = task_offload(TASK_POOL_STORE, run_write, &job);
    if (rc == 0)
        rc = job.rc;
    if (rc == 0) {
        u->stored += job.octets.n;
        str_clear(&u->pending);
    }
    return rc;
}

static int open_file(struct queue_upload *u)
{
    struct ipc_out request = {0};
    struct ipc_in *reply;

    ipc_begin(&request, "content");
    int rc = queue_client_call(u->client, &request, &reply);
    if (rc < 0)
        return rc;
    if (ipc_get_u64(reply, "file", &u->file) < 0 || u->file == 0 ||
        ipc_take_fd(reply, "descriptor", &u->fd) < 0) {
        u->file = 0;
        rc = ERR_PROTOCOL;
    }
    ipc_in_free(reply);
    return rc;
}

/* Append to the stored octets. */
static int store(struct queue_upload *u, struct span octets)
{
    int rc;

    while (octets.n > 0) {
        size_t room = u->file == 0 ? QUEUE_INLINE_MAX : WRITE_PIECE;
        struct span piece = span_take(octets, room - u->pending.len);

        rc = str_append(&u->pending, piece);
        if (rc < 0)
            return rc;
        octets = span_drop(octets, piece.n);
        if (octets.n > 0 || (u->file != 0 && u->pending.len >= room)) {
            rc = u->file == 0 ? open_file(u) : 0;
            if (rc == 0)
                rc = write_pending(u);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static uint64_t store_end(const struct queue_upload *u)
{
    return u->stored + u->pending.len;
}

/* --- extents --- */

/* Room for one more at index; NULL over the limit. */
static struct queue_extent *insert_extent(struct queue_upload *u, size_t index)
{
    struct queue_extent *last = u->extents.len < QUEUE_EXTENTS_MAX ? array_push(&u->extents) : NULL;

    if (last == NULL)
        return NULL;
    memmove(&u->extents.items[index + 1], &u->extents.items[index],
            (u->extents.len - 1 - index) * sizeof(u->extents.items[0]));
    return &u->extents.items[index];
}

/* Make a border at content offset `at`; *index is the extent that begins there. */
static int split_at(struct queue_upload *u, uint64_t at, size_t *index)
{
    size_t i = 0;

    for (; i < u->extents.len && at >= u->extents.items[i].length; i++)
        at -= u->extents.items[i].length;
    *index = i;
    if (at == 0)
        return 0;
    if (i == u->extents.len)
        return -ERANGE;
    struct queue_extent *second = insert_extent(u, i + 1);
    if (second == NULL)
        return ERR_LIMIT;
    struct queue_extent *first = &u->extents.items[i];
    *second = (struct queue_extent){first->offset + at, first->length - at, first->flags};
    first->length = at;
    *index = i + 1;
    return 0;
}

/* The last extent grows, or a new one follows it. */
static int extend(struct queue_upload *u, uint64_t offset, uint64_t length, uint32_t flags)
{
    struct queue_extent *last = u->extents.len > 0 ? array_last(&u->extents) : NULL;

    if (length == 0)
        return 0;
    if (last != NULL && last->offset + last->length == offset &&
        ((last->flags ^ flags) & QUEUE_EXTENT_HEADER) == 0) {
        last->length += length;
        last->flags |= flags;
        return 0;
    }
    last = insert_extent(u, u->extents.len);
    if (last == NULL)
        return ERR_LIMIT;
    *last = (struct queue_extent){offset, length, flags};
    return 0;
}

/* The line that began at line_start is the blank one: the body begins there. */
static int begin_body(struct queue_upload *u)
{
    struct queue_extent *last = u->extents.len > 0 ? array_last(&u->extents) : NULL;
    uint64_t end;

    if (last == NULL || u->line_start >= last->offset + last->length)
        return 0;
    if (u->line_start < last->offset) { /* something was put into the middle of that line */
        last->flags &= ~(uint32_t)QUEUE_EXTENT_HEADER;
        return 0;
    }
    end = last->offset + last->length;
    last->length = u->line_start - last->offset;
    if (last->length == 0)
        u->extents.len--;
    return extend(u, u->line_start, end - u->line_start, 0);
}

/* --- appending and editing --- */

static int append(struct queue_upload *u, struct span octets)
{
    uint64_t offset = store_end(u);
    int rc = store(u, octets);

    /* Header lines one by one, to find its end; the body in one go. */
    while (rc == 0 && octets.n > 0) {
        ptrdiff_t line_end = u->scan.is_header_done ? -1 : span_find(octets, '\n');
        struct span piece = line_end < 0 ? octets : span_take(octets, (size_t)line_end + 1);
        bool was_header = !u->scan.is_header_done;
        uint32_t flags = queue_scan(&u->scan, piece);

        rc = extend(u, offset, piece.n, flags | (was_header ? QUEUE_EXTENT_HEADER : 0));
        if (rc == 0 && was_header && u->scan.is_header_done)
            rc = begin_body(u);
        offset += piece.n;
        octets = span_drop(octets, piece.n);
        if (line_end >= 0)
            u->line_start = offset;
    }
    return rc;
}

int queue_upload_append(struct queue_upload *u, struct span octets)
{
    if (u->error == 0)
        u->error = append(u, octets);
    return u->error;
}

static int insert(struct queue_upload *u, uint64_t at, struct span octets)
{
    struct queue_scan scan = {0};
    size_t index;
    uint64_t offset;
    int rc = split_at(u, at, &index);

    if (rc < 0)
        return rc;
    /* Header text goes where a header line ends or begins. */
    bool is_header = index == 0 || (u->extents.items[index - 1].flags & QUEUE_EXTENT_HEADER) != 0;
    offset = store_end(u);
    rc = store(u, octets);
    if (rc < 0)
        return rc;
    struct queue_extent *e = insert_extent(u, index);
    if (e == NULL)
        return ERR_LIMIT;
    *e = (struct queue_extent){offset, octets.n,
                               queue_scan(&scan, octets) | (is_header ? QUEUE_EXTENT_HEADER : 0)};
    /* The next line is stored behind what was put in. */
    if (u->line_start == offset)
        u->line_start = store_end(u);
    return 0;
}

int queue_upload_insert(struct queue_upload *u, uint64_t at, struct span octets)
{
    if (u->error == 0 && octets.n > 0)
        u->error = insert(u, at, octets);
    return u->error;
}

static int cut(struct queue_upload *u, uint64_t at, uint64_t n)
{
    size_t first, last;
    int rc = split_at(u, at, &first);

    if (rc == 0)
        rc = split_at(u, at + n, &last);
    if (rc < 0)
        return rc;
    if (last < u->extents.len)
        memmove(&u->extents.items[first], &u->extents.items[last],
                (u->extents.len - last) * sizeof(u->extents.items[0]));
    u->extents.len -= last - first;
    return 0;
}

int queue_upload_delete(struct queue_upload *u, uint64_t at, uint64_t n)
{
    if (u->error == 0 && n > 0)
        u->error = cut(u, at, n);
    return u->error;
}

int queue_upload_finish(struct queue_upload *u, struct queue_message *m, struct span *inline_octets)
{
    if (u->error == 0 && u->file != 0)
        u->error = write_pending(u);
    if (u->error < 0)
        return u->error;
    for (size_t i = 0; i < u->extents.len; i++) {
        struct queue_extent *e = array_push(&m->extents);
        if (e == NULL)
            return -ENOMEM;
        *e = u->extents.items[i];
    }
    m->file = u->file;
    m->size = content_size(u);
    *inline_octets = u->file == 0 ? str_span(&u->pending) : SPAN_NONE;
    return 0;
}
