/*
 * The structure of a message. One pass from front to back: headers are read field by
 * field, bodies line by line while looking for the boundaries that are open. A body ends
 * where a boundary of an outer part is found, or with the message; so every part is one
 * contiguous piece, and its sizes are differences of running counters.
 */
#include <errno.h>

#include "mail/header.h"
#include "mail/mime.h"

const struct mime_limits mime_limits_default = {.depth_max = 100, .parts_max = 10000};

enum {
    /* RFC 2046 5.1.1 allows 70 octets; longer ones are cut. */
    BOUNDARY_MAX = 80,
    /* Without a line end (at the end of the message) so much of a line is looked at. */
    BOUNDARY_LINE_MAX = BOUNDARY_MAX + 4,
};

struct boundary {
    struct mime_part *part;
    struct span text;
    bool is_last; /* the last line found was the closing one: --text-- */
    struct boundary *outer;
};

struct parser {
    struct arena *arena;
    struct span message;
    struct mime_limits limits;
    struct mime_part *part;      /* the part being read */
    struct mime_part **next;     /* where the next part is linked in */
    struct boundary *boundaries; /* open ones, innermost first */
    unsigned parts;
    size_t at;              /* what is read so far: the start of a line */
    size_t text_end;        /* where the text in front of that line ends: before the line break
                             * when the line is a boundary, else the same */
    struct mime_size total; /* of what stands before total.physical */
};

/* Move the running counters to offset, which never goes back. */
static void count_to(struct parser *p, size_t offset)
{
    const char *text = p->message.p;
    size_t i = p->total.physical;
    const char *lf;

    while (i < offset && (lf = memchr(text + i, '\n', offset - i)) != NULL) {
        p->total.lines++;
        if (lf == text || lf[-1] != '\r')
            p->total.virtual_size++;
        i = (size_t)(lf - text) + 1;
    }
    p->total.virtual_size += offset - p->total.physical;
    p->total.physical = offset;
}

static struct mime_size size_since(const struct parser *p, const struct mime_size *start)
{
    return (struct mime_size){
        .physical = p->total.physical - start->physical,
        .virtual_size = p->total.virtual_size - start->virtual_size,
        .lines = p->total.lines - start->lines,
    };
}

/* A part's header field holds the counters at its start until the header ends; its body
 * field those at the body's start until the part ends. */
static int begin_part(struct parser *p, struct mime_part *parent)
{
    struct mime_part *part = ARENA_NEW(p->arena, struct mime_part);

    if (part == NULL)
        return -ENOMEM;
    part->parent = parent;
    part->depth = parent == NULL ? 0 : parent->depth + 1;
    if (parent != NULL && (parent->flags & MIME_MULTIPART) != 0)
        part->flags = MIME_MIME;
    count_to(p, p->text_end);
    part->offset = p->text_end;
    part->header = p->total;
    if (parent != NULL)
        *p->next = part;
    p->next = &part->children;
    p->part = part;
    p->parts++;
    return 0;
}

static void end_header(struct parser *p, size_t offset)
{
    count_to(p, offset);
    p->part->header = size_since(p, &p->part->header);
    p->part->body = p->total;
}

static void end_part(struct parser *p, size_t offset)
{
    count_to(p, offset);
    p->part->body = size_since(p, &p->part->body);
    p->next = &p->part->next;
    p->part = p->part->parent;
}

/* Whether line is exactly boundary, or boundary and "--". */
static bool is_exactly(struct span line, struct span boundary)
{
    return line.n == boundary.n ||
           (line.n == boundary.n + 2 && span_eq(span_drop(line, boundary.n), SPAN_LIT("--")));
}

/* The boundary that the line at offset is, or NULL. Only the beginning of the line must
 * match; the innermost that is the whole line counts, else the longest. */
static struct boundary *find_boundary(struct parser *p, size_t offset)
{
    struct span line = span_drop(p->message, offset);
    struct boundary *best = NULL;
    const char *lf;

    if (line.n < 2 || line.p[0] != '-' || line.p[1] != '-')
        return NULL;
    line = span_drop(line, 2);
    lf = memchr(line.p, '\n', line.n);
    if (lf != NULL) {
        line.n = (size_t)(lf - line.p);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
    } else if (line.n > BOUNDARY_LINE_MAX) {
        line.n = BOUNDARY_LINE_MAX;
    }
    for (struct boundary *b = p->boundaries; b != NULL; b = b->outer) {
        if ((best != NULL && best->text.n >= b->text.n) || !span_starts(line, b->text))
            continue;
        best = b;
        if (is_exactly(line, b->text))
            break;
    }
    if (best != NULL)
        best->is_last = span_starts(span_drop(line, best->text.n), SPAN_LIT("--"));
    return best;
}

/* --- header --- */

static void keep_first(struct span *slot, struct span value)
{
    if (slot->p == NULL)
        *slot = value;
}

static int read_type(struct parser *p, struct span value)
{
    struct mime_part *part = p->part;
    int error;

    part->flags |= MIME_MIME;
    if (part->type.type.p != NULL)
        return 0;
    error = mime_value_parse(p->arena, value, true, &part->type);
    if (error < 0)
        return error;
    if (span_ieq(part->type.type, SPAN_LIT("text"))) {
        part->flags |= MIME_TEXT;
    } else if (span_ieq(part->type.type, SPAN_LIT("message"))) {
        if (span_ieq(part->type.subtype, SPAN_LIT("rfc822")))
            part->flags |= MIME_MESSAGE;
    } else if (span_ieq(part->type.type, SPAN_LIT("multipart"))) {
        part->flags |= MIME_MULTIPART;
        if (span_ieq(part->type.subtype, SPAN_LIT("digest")))
            part->flags |= MIME_DIGEST;
    }
    return 0;
}

/* The first with parameters counts, as in Dovecot, else the last. */
static int read_disposition(struct parser *p, struct span value)
{
    struct mime_value before;
    int error = 0;

    if (p->part->disposition.p != NULL) {
        error = mime_value_parse(p->arena, p->part->disposition, false, &before);
        if (error < 0 || before.params != NULL)
            return error;
    }
    p->part->disposition = value;
    return 0;
}

static int read_field(struct parser *p, const struct header_field *field)
{
    struct mime_part *part = p->part;
    struct span name = field->name;

    if (name.n < 10)
        return 0;
    if (span_ieq(name, SPAN_LIT("MIME-Version"))) {
        part->flags |= MIME_MIME;
        return 0;
    }
    if (!span_istarts(name, SPAN_LIT("Content-")))
        return 0;
    name = span_drop(name, 8);
    if (span_ieq(name, SPAN_LIT("Type")))
        return read_type(p, field->value);
    if (span_ieq(name, SPAN_LIT("Disposition")))
        return read_disposition(p, field->value);
    if (span_ieq(name, SPAN_LIT("Transfer-Encoding")))
        keep_first(&part->transfer_encoding, field->value);
    else if (span_ieq(name, SPAN_LIT("ID")))
        keep_first(&part->id, field->value);
    else if (span_ieq(name, SPAN_LIT("Description")))
        keep_first(&part->description, field->value);
    else if (span_ieq(name, SPAN_LIT("MD5")))
        keep_first(&part->md5, field->value);
    else if (span_ieq(name, SPAN_LIT("Language")))
        keep_first(&part->language, field->value);
    else if (span_ieq(name, SPAN_LIT("Location")))
        keep_first(&part->location, field->value);
    return 0;
}

/* The header is read: what kind of part is it? Without MIME fields the content fields do
 * not count (RFC 2045 4). */
static void classify(struct parser *p)
{
    struct mime_part *part = p->part;

    if ((part->flags & MIME_MIME) == 0) {
        struct mime_part plain = {
            .parent = part->parent,
            .depth = part->depth,
            .offset = part->offset,
            .header = part->header,
            .body = part->body,
        };
        *part = plain;
    }
    if (part->type.type.p == NULL) {
        bool in_digest = part->parent != NULL && (part->parent->flags & MIME_DIGEST) != 0;

        part->flags |= in_digest ? MIME_MESSAGE : MIME_TEXT;
    }
    if (part->depth >= p->limits.depth_max || p->parts >= p->limits.parts_max)
        part->flags &= ~(unsigned)(MIME_MULTIPART | MIME_DIGEST | MIME_MESSAGE);
}

/* Open the boundary of the multipart whose header ends. */
static int open_boundary(struct parser *p)
{
    const struct mime_param *param = mime_value_find(&p->part->type, SPAN_LIT("boundary"));
    struct boundary *b;

    if ((p->part->flags & MIME_MULTIPART) == 0 || p->part->depth >= p->limits.depth_max ||
        p->parts >= p->limits.parts_max || param == NULL)
        return 0;
    b = ARENA_NEW(p->arena, struct boundary);
    if (b == NULL)
        return -ENOMEM;
    b->part = p->part;
    b->text = span_take(param->value, BOUNDARY_MAX);
    b->outer = p->boundaries;
    p->boundaries = b;
    return 0;
}

/* A boundary of an outer part stands where a field should: the header, which has no empty
 * line then, ends before the line break in front of it, as that belongs to the boundary. */
static size_t header_end_at_boundary(const struct parser *p)
{
    size_t at = p->at;

    if (at > p->part->offset && p->message.p[at - 1] == '\n') {
        at--;
        if (at > p->part->offset && p->message.p[at - 1] == '\r')
            at--;
    }
    return at;
}

/* Read the fields up to the empty line (true), the end of the message, or a boundary of an
 * outer part; p->at stands behind them. */
static int read_fields(struct parser *p, bool *has_blank)
{
    struct header_walk walk = header_begin(span_drop(p->message, p->at));
    struct header_field field;

    while (p->boundaries == NULL || find_boundary(p, p->at) == NULL) {
        int error;

        if (!header_next(&walk, &field)) {
            p->at = p->message.n - walk.rest.n;
            *has_blank = walk.has_blank;
            return 0;
        }
        p->at += field.raw.n;
        error = read_field(p, &field);
        if (error < 0)
            return error;
    }
    p->text_end = header_end_at_boundary(p);
    return 0;
}

static int read_header(struct parser *p)
{
    bool has_blank = false;
    int error;

    p->text_end = SIZE_MAX;
    error = read_fields(p, &has_blank);
    if (error == 0 && has_blank) {
        error = open_boundary(p);
        /* With a boundary right behind it, the empty line belongs to the boundary. */
        if (p->boundaries != NULL) {
            struct boundary *b = find_boundary(p, p->at);

            if (b != NULL && b->part != p->part)
                p->text_end = header_end_at_boundary(p);
        }
    }
    if (error < 0)
        return error;
    if (p->text_end == SIZE_MAX)
        p->text_end = p->at;
    end_header(p, p->text_end);
    classify(p);
    return 0;
}

/* --- body --- */

/* Read lines from p->at, the start of a line, until one is a boundary. NULL: the message
 * ended. *end: where the text before the boundary ends. */
static struct boundary *read_to_boundary(struct parser *p, size_t *end)
{
    size_t start = p->at;

    for (;;) {
        struct boundary *b = find_boundary(p, p->at);
        const char *lf;

        if (b != NULL) {
            *end = p->text_end;
            if (p->at > start) {
                *end = p->at - 1;
                if (*end > start && p->message.p[*end - 1] == '\r')
                    (*end)--;
            }
            return b;
        }
        lf = memchr(p->message.p + p->at, '\n', p->message.n - p->at);
        if (lf == NULL) {
            p->at = p->message.n;
            return NULL;
        }
        p->at = (size_t)(lf - p->message.p) + 1;
    }
}

/* p->at is at the line of boundary b, whose text before ends at end: close the parts inside
 * its part, and say whether another part begins behind the line. */
static bool pass_boundary(struct parser *p, struct boundary *b, size_t end)
{
    const char *lf = memchr(p->message.p + p->at, '\n', p->message.n - p->at);

    while (p->part != b->part)
        end_part(p, end);
    p->boundaries = b->is_last ? b->outer : b;
    p->at = p->text_end = lf == NULL ? p->message.n : (size_t)(lf - p->message.p) + 1;
    return !b->is_last && lf != NULL && p->parts < p->limits.parts_max;
}

/* Read bodies until a new part begins (1), or the message ends (0). The current part's
 * header was just read. */
static int read_body(struct parser *p)
{
    if ((p->part->flags & MIME_MESSAGE) != 0) {
        int error = begin_part(p, p->part);

        return error < 0 ? error : 1;
    }
    while (p->boundaries != NULL) {
        size_t end;
        struct boundary *b = read_to_boundary(p, &end);

        if (b == NULL)
            break;
        if (pass_boundary(p, b, end)) {
            int error = begin_part(p, p->part);

            return error < 0 ? error : 1;
        }
    }
    while (p->part != NULL)
        end_part(p, p->message.n);
    return 0;
}

int mime_parse(struct arena *arena, struct span message, const struct mime_limits *limits,
               struct mime_part **root)
{
    struct parser p = {
        .arena = arena,
        .message = message,
        .limits = limits != NULL ? *limits : mime_limits_default,
        .next = root,
    };
    int error = begin_part(&p, NULL);

    if (message.p == NULL)
        p.message = SPAN_LIT("");
    *root = p.part;
    while (error >= 0) {
        error = read_header(&p);
        if (error == 0)
            error = read_body(&p);
        if (error == 0)
            break;
    }
    return error < 0 ? error : 0;
}

/* --- looking at the result --- */

struct span mime_part_header(struct span message, const struct mime_part *part)
{
    return span_take(span_drop(message, part->offset), part->header.physical);
}

struct span mime_part_body(struct span message, const struct mime_part *part)
{
    return span_take(span_drop(message, part->offset + part->header.physical), part->body.physical);
}

const struct mime_part *mime_part_walk(const struct mime_part *part)
{
    if (part->children != NULL)
        return part->children;
    while (part != NULL && part->next == NULL)
        part = part->parent;
    return part == NULL ? NULL : part->next;
}

struct mime_size mime_measure(struct span text)
{
    struct parser p = {.message = text};

    count_to(&p, text.n);
    return p.total;
}
