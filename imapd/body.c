#include "imapd/body.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

enum {
    HEAD_OCTETS = 16384,  /* enough for most headers */
    SMALL_OCTETS = 65536, /* read and parsed on the loop, if that needs no waiting */
    TEXT_OCTETS = 32768,  /* sections up to this size are taken into memory */
    CHUNK_OCTETS = 32768,
};

/* --- sections of a message in memory --- */

void body_section_init(struct body_section *section, const struct imap_section *want,
                       struct budget *budget)
{
    *section = (struct body_section){.want = want};
    str_init(&section->text, budget);
}

void body_section_clear(struct body_section *section)
{
    str_fini(&section->text);
    array_free(&section->pieces);
    section->rc = 0;
    section->size = 0;
    section->is_text = section->is_bare = false;
}

struct span body_header(struct span text)
{
    size_t at = 0;

    while (at < text.n) {
        ptrdiff_t end = span_find(span_drop(text, at), '\n');
        if (end < 0)
            break;
        if (end == 0 || (end == 1 && text.p[at] == '\r'))
            return span_take(text, at + (size_t)end + 1);
        at += (size_t)end + 1;
    }
    return span_take(text, 0);
}

static int keep_pieces(struct span message, const struct imap_ranges *ranges,
                       struct body_section *section)
{
    for (size_t i = 0; i < ranges->items.len; i++) {
        struct span item = ranges->items.items[i];
        struct body_piece *piece;
        piece = array_push(&section->pieces);
        if (piece == NULL)
            return -ENOMEM;
        if (item.p < message.p || item.p > message.p + message.n)
            *piece = (struct body_piece){.length = item.n, .is_line_end = true};
        else
            *piece = (struct body_piece){(uint64_t)(item.p - message.p), item.n, false};
    }
    return 0;
}

static void answer(struct span message, const struct mime_part *root, struct body_section *section)
{
    struct imap_ranges ranges;
    int rc = imap_section_find(message, root, section->want, &ranges);

    if (rc == 0) {
        section->size = ranges.size.virtual_size;
        section->is_bare = ranges.size.virtual_size != ranges.size.physical;
        section->is_text = section->size <= TEXT_OCTETS;
        if (!section->is_text)
            rc = keep_pieces(message, &ranges, section);
        if (rc == 0 && section->is_text)
            rc = imap_ranges_append(&section->text, &ranges, 0, UINT64_MAX);
        array_free(&ranges.items);
    }
    section->rc = rc;
}

void body_find(struct span message, struct body_section *sections, size_t count)
{
    struct budget budget;
    struct arena arena;
    struct mime_part *root;
    int rc;

    budget_init(&budget, BODY_MEMORY_OCTETS);
    arena_init(&arena, &budget);
    rc = mime_parse(&arena, message, NULL, &root);
    for (size_t i = 0; i < count; i++) {
        if (rc == 0)
            answer(message, root, &sections[i]);
        else /* as it was described: without parts (imap_describe) */
            sections[i].rc = ERR_NOT_FOUND;
    }
    arena_reset(&arena);
}

/* --- reading --- */

static int read_into(const struct store_body *body, size_t n, struct str *out)
{
    int rc = str_reserve(out, n);

    if (rc == 0)
        rc = store_body_read_at(body, 0, out->data, n);
    if (rc == 0) {
        out->len = n;
        out->data[n] = '\0';
    }
    return rc;
}

struct content_job {
    const struct store_body *body;
    uint64_t length;
    void (*run)(void *arg, struct span message);
    void *arg;
    int rc;
};

/* On a worker: mapped, because it may be large; the file is never cut. */
static void run_on_content(void *arg)
{
    struct content_job *job = arg;
    const struct store_body *body = job->body;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = body->offset / page * page;
    size_t lead = (size_t)(body->offset - start), n = lead + (size_t)job->length;
    struct stat st;
    char *map;

    if (job->length == 0) {
        job->run(job->arg, SPAN_LIT(""));
        return;
    }
    if (fstat(body->fd, &st) < 0) {
        job->rc = -errno;
        return;
    }
    if ((uint64_t)st.st_size < body->offset + job->length) {
        job->rc = ERR_CORRUPT;
        return;
    }
    map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, body->fd, (off_t)start);
    if (map == MAP_FAILED) {
        job->rc = -errno;
        return;
    }
    job->run(job->arg, span_make(map + lead, job->length));
    munmap(map, n);
}

int body_with_content(const struct store_body *body, uint64_t limit,
                      void (*run)(void *arg, struct span message), void *arg)
{
    struct content_job job = {
        .body = body,
        .length = limit < body->length ? limit : body->length,
        .run = run,
        .arg = arg,
    };
    int rc = task_offload(TASK_POOL_STORE, run_on_content, &job);

    return rc < 0 ? rc : job.rc;
}

/* --- sections of a stored message --- */

struct find_job {
    struct body_section *sections;
    size_t count;
};

static void find_on_worker(void *arg, struct span message)
{
    struct find_job *job = arg;

    body_find(message, job->sections, job->count);
}

static bool are_header_only(const struct body_section *sections, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!imap_section_is_header_only(sections[i].want))
            return false;
    }
    return true;
}

/* All of "", which need not be looked at. */
static bool are_whole(const struct body_section *sections, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sections[i].want->depth > 0 || sections[i].want->kind != IMAP_SECTION_ALL)
            return false;
    }
    return true;
}

static int answer_whole(const struct store_body *body, struct body_section *sections, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct body_piece *piece = array_push(&sections[i].pieces);
        if (piece == NULL)
            return -ENOMEM;
        *piece = (struct body_piece){0, body->length, false};
        sections[i].size = body->length;
    }
    return 0;
}

/* 1: the header is longer than what was read. */
static int find_in_head(struct session *s, const struct store_body *body,
                        struct body_section *sections, size_t count)
{
    size_t n = body->length < HEAD_OCTETS ? (size_t)body->length : HEAD_OCTETS;
    struct str head;
    struct span header;
    int rc;

    str_init(&head, &s->client->budget);
    rc = read_into(body, n, &head);
    if (rc == 0) {
        header = body_header(str_span(&head));
        if (header.n == 0 && n == body->length)
            header = str_span(&head);
        if (header.n == 0 && n > 0)
            rc = 1;
        else
            body_find(header, sections, count);
    }
    str_fini(&head);
    return rc;
}

static int find_in_small(struct session *s, const struct store_body *body,
                         struct body_section *sections, size_t count)
{
    struct str text;
    int rc;

    str_init(&text, &s->client->budget);
    rc = read_into(body, (size_t)body->length, &text);
    if (rc == 0)
        body_find(str_span(&text), sections, count);
    str_fini(&text);
    return rc;
}

int body_find_stored(struct session *s, const struct store_body *body, bool is_plain,
                     struct body_section *sections, size_t count)
{
    struct find_job job = {sections, count};
    int rc = 1;

    if (is_plain && are_whole(sections, count))
        return answer_whole(body, sections, count);
    if (are_header_only(sections, count))
        rc = find_in_head(s, body, sections, count);
    if (rc == 1 && body->length <= SMALL_OCTETS)
        rc = find_in_small(s, body, sections, count);
    if (rc == 1)
        rc = body_with_content(body, UINT64_MAX, find_on_worker, &job);
    return rc;
}

struct describe_job {
    struct str *envelope, *structure;
    int rc;
};

static void describe_on_worker(void *arg, struct span message)
{
    struct describe_job *job = arg;
    struct arena scratch = {.budget = job->envelope->budget};

    job->rc = imap_describe(&scratch, message, job->envelope, job->structure);
    arena_reset(&scratch);
}

int body_describe_stored(const struct store_body *body, struct str *envelope, struct str *structure)
{
    struct describe_job job = {envelope, structure, 0};
    int rc = body_with_content(body, UINT64_MAX, describe_on_worker, &job);

    return rc < 0 ? rc : job.rc;
}

/* --- sending --- */

struct sender {
    struct session *session;
    const struct store_body *body;
    uint64_t skip, left; /* octets as they are sent */
    char *data;          /* CHUNK_OCTETS as they are stored */
    struct str changed;  /* with CRLF for bare LF */
    bool is_bare, was_cr;
};

/* NUL may not be in a literal (RFC 3501 4.3). */
static void replace_nul(char *data, size_t n)
{
    char *nul;

    while ((nul = memchr(data, '\0', n)) != NULL) {
        *nul = (char)0x80;
        n -= (size_t)(nul + 1 - data);
        data = nul + 1;
    }
}

static int add_cr(struct sender *out, struct span text)
{
    str_clear(&out->changed);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n' && !out->was_cr)
            str_append_char(&out->changed, '\r');
        out->was_cr = text.p[i] == '\r';
        str_append_char(&out->changed, text.p[i]);
    }
    return str_error(&out->changed);
}

static int send_text(struct sender *out, struct span text)
{
    uint64_t skipped = out->skip < text.n ? out->skip : text.n;

    out->skip -= skipped;
    text = span_take(span_drop(text, (size_t)skipped), out->left);
    out->left -= text.n;
    return text.n == 0 ? 0 : session_send(out->session, text);
}

static int send_piece(struct sender *out, struct body_piece piece)
{
    int rc = 0;

    if (piece.is_line_end)
        return send_text(out, SPAN_LIT("\r\n"));
    if (!out->is_bare) { /* what is skipped need not be read */
        uint64_t skipped = out->skip < piece.length ? out->skip : piece.length;
        out->skip -= skipped;
        piece.offset += skipped;
        piece.length -= skipped;
    }
    while (rc == 0 && piece.length > 0 && out->left > 0) {
        uint64_t n = piece.length < CHUNK_OCTETS ? piece.length : CHUNK_OCTETS;
        struct span text = span_make(out->data, n);
        if (!out->is_bare && n > out->left)
            text.n = n = out->left;
        rc = store_body_read_at(out->body, piece.offset, out->data, (size_t)n);
        if (rc < 0)
            break;
        replace_nul(out->data, (size_t)n);
        if (out->is_bare) {
            rc = add_cr(out, text);
            text = str_span(&out->changed);
        }
        if (rc == 0)
            rc = send_text(out, text);
        piece.offset += n;
        piece.length -= n;
    }
    return rc;
}

static int send_pieces(struct session *s, const struct store_body *body,
                       const struct body_section *section, uint64_t offset, uint64_t count)
{
    struct sender out = {
        .session = s, .body = body, .skip = offset, .left = count, .is_bare = section->is_bare};
    struct budget *budget = &s->client->budget;
    int rc;

    if (budget_take(budget, CHUNK_OCTETS) < 0)
        return -ENOMEM;
    out.data = malloc(CHUNK_OCTETS);
    rc = out.data == NULL ? -ENOMEM : 0;
    str_init(&out.changed, budget);
    for (size_t i = 0; i < section->pieces.len && rc == 0; i++)
        rc = send_piece(&out, section->pieces.items[i]);
    str_fini(&out.changed);
    free(out.data);
    budget_give(budget, CHUNK_OCTETS);
    return rc == 0 && out.left > 0 ? ERR_TRUNCATED : rc;
}

int body_send(struct session *s, const struct store_body *body, const struct body_section *section,
              uint64_t offset, uint64_t count)
{
    if (!section->is_text)
        return send_pieces(s, body, section, offset, count);
    return session_send(s, span_take(span_drop(str_span(&section->text), offset), count));
}
