/* FETCH (RFC 3501 6.4.5): messages are answered in batches: what the view and the store
 * have ready costs one look-up per batch, sections one opened message each. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "imapd/body.h"
#include "imapd/commands.h"
#include "imapd/fetch_items.h"
#include "imapd/flags.h"
#include "imapd/set.h"
#include "imapd/sync.h"
#include "mail/date.h"

enum {
    BATCH_FIRST = 32,
    BATCH_MAX = 256,
    BATCH_WHOLE_MAX = 64, /* when messages are read ahead */
    HEAD_OCTETS = 4096,   /* read ahead of each message when only headers are asked for */
    WHOLE_OCTETS = 16384, /* messages up to this size are read ahead whole */
    WRITE_OCTETS = 8192,
    CACHED_OCTETS = 1048576, /* ENVELOPE and BODYSTRUCTURE of a batch, but for its last */
};

struct fetch {
    struct session *session;
    struct fetch_items items;
    struct body_section *answers; /* one for each section asked for */
    bool sets_seen, headers_only;
    struct budget budget; /* of what belongs to messages: BODY_MEMORY_OCTETS */
    struct arena arena;   /* of a batch */
    struct str line;
    bool is_first; /* no item stands in the line yet */
    ARRAY(uint32_t) seen;
    bool some_are_gone;
};

/* One message on its way out. */
struct item {
    const struct store_message *message;
    uint32_t number;
    const struct store_cached *cached; /* NULL: not asked for */
    struct span head;                  /* first octets; p NULL: not read */
    bool becomes_seen;
};

/* --- simple items --- */

static struct str *begin_item(struct fetch *f)
{
    if (!f->is_first)
        str_append_char(&f->line, ' ');
    f->is_first = false;
    return &f->line;
}

static int append_flags(struct fetch *f, const struct item *i)
{
    const struct store_message *m = i->message;
    struct str *out = begin_item(f);
    int rc;

    str_append_cstr(out, "FLAGS (");
    rc = flags_append(f->session->view, out, m->flags | (i->becomes_seen ? STORE_SEEN : 0),
                      m->keywords, flags_is_recent(f->session->view, m->uid));
    str_append_char(out, ')');
    return rc;
}

static void append_date(struct fetch *f, const struct store_message *m)
{
    struct str *out = begin_item(f);

    str_append_cstr(out, "INTERNALDATE \"");
    date_append_imap(out, (struct mail_date){m->internal_date, m->date_zone});
    str_append_char(out, '"');
}

static int append_cached(struct fetch *f, const struct store_cached *c)
{
    unsigned items = f->items.items;
    int rc = 0;

    if ((items & FETCH_ENVELOPE) != 0) {
        str_append_cstr(begin_item(f), "ENVELOPE ");
        str_append(&f->line, c->envelope);
    }
    if ((items & FETCH_BODY) != 0) {
        str_append_cstr(begin_item(f), "BODY ");
        rc = imap_body(&f->line, c->bodystructure);
    }
    if ((items & FETCH_STRUCTURE) != 0) {
        str_append_cstr(begin_item(f), "BODYSTRUCTURE ");
        str_append(&f->line, c->bodystructure);
    }
    return rc;
}

/* cached: ENVELOPE and structure, NULL when nobody asked for them. */
static int append_simple(struct fetch *f, const struct item *i, const struct store_cached *cached)
{
    const struct store_message *m = i->message;
    unsigned items = f->items.items;
    int rc = 0;

    str_printf(&f->line, "* %u FETCH (", i->number);
    f->is_first = true;
    if ((items & FETCH_UID) != 0 || f->session->by_uid)
        str_printf(begin_item(f), "UID %u", m->uid);
    if ((items & FETCH_FLAGS) != 0 || i->becomes_seen)
        rc = append_flags(f, i);
    if ((items & FETCH_DATE) != 0)
        append_date(f, m);
    if ((items & FETCH_SIZE) != 0)
        str_printf(begin_item(f), "RFC822.SIZE %llu", (unsigned long long)m->size);
    if (rc == 0 && cached != NULL)
        rc = append_cached(f, cached);
    return rc == 0 ? str_error(&f->line) : rc;
}

/* --- sections --- */

static int flush_line(struct fetch *f)
{
    int rc = str_error(&f->line);

    if (rc == 0 && f->line.len > 0)
        rc = session_send(f->session, str_span(&f->line));
    str_clear(&f->line);
    return rc;
}

static void count_section(struct session *s, const struct fetch_section *section, uint64_t octets)
{
    if (imap_section_is_header_only(&section->section)) {
        s->header_count++;
        s->header_octets += octets;
    } else {
        s->body_count++;
        s->body_octets += octets;
    }
}

/* "BODY[TEXT]<0> {100}" and the octets. */
static int send_section(struct fetch *f, const struct fetch_section *want,
                        const struct body_section *have, const struct store_body *body)
{
    struct str *out = begin_item(f);
    uint64_t offset = want->is_partial ? want->offset : 0;
    uint64_t count = have->rc == 0 ? have->size : 0; /* no such part: empty */
    int rc;

    if (have->rc == -ENOMEM)
        return -ENOMEM;
    str_append(out, want->name);
    count = offset < count ? count - offset : 0;
    if (want->is_partial && count > want->count)
        count = want->count;
    count_section(f->session, want, count);
    str_printf(out, " {%llu}\r\n", (unsigned long long)count);
    if (have->is_text || count == 0)
        return str_append(out, span_take(span_drop(str_span(&have->text), offset), count));
    rc = flush_line(f);
    return rc == 0 ? body_send(f->session, body, have, offset, count) : rc;
}

static int send_sections(struct fetch *f, const struct store_body *body)
{
    int rc = 0;

    for (size_t k = 0; k < f->items.sections.len && rc == 0; k++)
        rc = send_section(f, &f->items.sections.items[k], &f->answers[k], body);
    return rc;
}

static bool find_in_head(struct fetch *f, const struct item *i)
{
    struct span known = i->head;

    if (known.p == NULL)
        return false;
    if (known.n != i->message->size) /* not all of it: enough if it has the header */
        known = f->headers_only ? body_header(known) : SPAN_NONE;
    if (known.n == 0)
        return false;
    body_find(known, f->answers, f->items.sections.len);
    return true;
}

/* What the sections are, before anything is said about the message: ERR_NOT_FOUND means
 * that it is gone. */
static int find_sections(struct fetch *f, const struct item *i, struct store_body *body)
{
    int rc;

    if (find_in_head(f, i))
        return 0;
    rc = store_body_open(f->session->view, i->message->uid, body);
    if (rc == 0)
        rc = body_find_stored(f->session, body, i->message->size == body->length, f->answers,
                              f->items.sections.len);
    return rc;
}

/* A message whose delivery left no ENVELOPE behind. */
static int describe(struct fetch *f, const struct item *i, struct store_cached *out)
{
    struct store_body body = {.fd = -1};
    struct str envelope, structure;
    int rc = store_body_open(f->session->view, i->message->uid, &body);

    str_init(&envelope, &f->budget);
    str_init(&structure, &f->budget);
    if (rc == 0)
        rc = body_describe_stored(&body, &envelope, &structure);
    if (rc == 0)
        rc = arena_copy(&f->arena, str_span(&envelope), &out->envelope);
    if (rc == 0)
        rc = arena_copy(&f->arena, str_span(&structure), &out->bodystructure);
    str_fini(&envelope);
    str_fini(&structure);
    fd_close(&body.fd);
    return rc;
}

static int note_seen(struct fetch *f, const struct store_message *m)
{
    uint32_t *uid = array_push(&f->seen);

    if (uid == NULL)
        return -ENOMEM;
    *uid = m->uid;
    return sync_note_told(f->session, m->uid, m->flags | STORE_SEEN, m->keywords);
}

static int answer_message(struct fetch *f, const struct item *i)
{
    struct store_body body = {.fd = -1};
    struct store_cached fresh = {0};
    const struct store_cached *cached = i->cached;
    int rc = 0;

    if (cached != NULL && cached->envelope.p == NULL) {
        rc = describe(f, i, &fresh);
        cached = &fresh;
    }
    if (rc == 0 && f->items.sections.len > 0)
        rc = find_sections(f, i, &body);
    if (rc == 0)
        rc = append_simple(f, i, cached);
    if (rc == 0)
        rc = send_sections(f, &body);
    if (rc == 0)
        rc = str_append_cstr(&f->line, ")\r\n");
    if (rc == 0 && f->line.len >= WRITE_OCTETS)
        rc = flush_line(f);
    if (rc == 0 && i->becomes_seen)
        rc = note_seen(f, i->message);
    for (size_t k = 0; k < f->items.sections.len; k++)
        body_section_clear(&f->answers[k]);
    fd_close(&body.fd);
    return rc;
}

/* --- batches --- */

static int load_cached(struct fetch *f, const uint32_t *uids, size_t *count,
                       struct store_cached **out)
{
    *out = NULL;
    if ((f->items.items & (FETCH_ENVELOPE | FETCH_BODY | FETCH_STRUCTURE)) == 0)
        return 0;
    *out = ARENA_NEW_N(&f->arena, struct store_cached, *count);
    if (*out == NULL)
        return -ENOMEM;
    return store_cached(f->session->view, uids, count, CACHED_OCTETS, &f->arena, *out);
}

/* The beginnings of messages where that may answer the sections: *out has one for each
 * message of the batch, p NULL where there is none. */
static int load_heads(struct fetch *f, const uint32_t *numbers, size_t count, struct span **out)
{
    const struct store_message *messages = f->session->view->messages.items;
    uint32_t *uids = ARENA_NEW_N(&f->arena, uint32_t, count);
    struct span *heads = ARENA_NEW_N(&f->arena, struct span, count);
    size_t limit = f->headers_only ? HEAD_OCTETS : WHOLE_OCTETS, wanted = 0, next = 0;
    int rc;

    *out = ARENA_NEW_N(&f->arena, struct span, count);
    if (uids == NULL || heads == NULL || *out == NULL)
        return -ENOMEM;
    for (size_t k = 0; k < count; k++) {
        const struct store_message *m = &messages[numbers[k] - 1];
        if (f->headers_only || m->size <= limit)
            uids[wanted++] = m->uid;
    }
    if (wanted == 0)
        return 0;
    rc = store_heads(f->session->view, uids, wanted, limit, &f->arena, heads);
    for (size_t k = 0; k < count && rc == 0 && next < wanted; k++) {
        if (messages[numbers[k] - 1].uid == uids[next])
            (*out)[k] = heads[next++];
    }
    return rc;
}

/* *count: how many messages there are, then how many of them were answered. */
static int answer_batch(struct fetch *f, const uint32_t *numbers, size_t *count)
{
    const struct store_message *messages = f->session->view->messages.items;
    uint32_t *uids = ARENA_NEW_N(&f->arena, uint32_t, *count);
    struct store_cached *cached = NULL;
    struct span *heads = NULL;
    int rc = uids == NULL ? -ENOMEM : 0;

    for (size_t k = 0; k < *count && rc == 0; k++)
        uids[k] = messages[numbers[k] - 1].uid;
    if (rc == 0)
        rc = load_cached(f, uids, count, &cached);
    if (rc == 0 && f->items.sections.len > 0)
        rc = load_heads(f, numbers, *count, &heads);
    for (size_t k = 0; k < *count && rc == 0; k++) {
        const struct store_message *m = &messages[numbers[k] - 1];
        struct item i = {
            .message = m,
            .number = numbers[k],
            .cached = cached != NULL ? &cached[k] : NULL,
            .head = heads != NULL ? heads[k] : SPAN_NONE,
            .becomes_seen = f->sets_seen && (m->flags & STORE_SEEN) == 0,
        };
        rc = answer_message(f, &i);
        if (rc == ERR_NOT_FOUND) { /* another session expunged it */
            f->some_are_gone = true;
            rc = 0;
        }
        if (rc == 0)
            rc = task_breathe();
    }
    return rc;
}

/* What was sent is \Seen: one commit for a batch. */
static int mark_seen(struct fetch *f)
{
    struct store_flag_change seen = {.op = STORE_FLAGS_ADD, .flags = STORE_SEEN};
    int rc = 0;

    if (f->seen.len > 0)
        rc = store_set_flags(f->session->view, f->seen.items, f->seen.len, &seen, NULL);
    array_clear(&f->seen);
    return rc;
}

static int answer_all(struct fetch *f, const struct set *set)
{
    bool reads_whole = f->items.sections.len > 0 && !f->headers_only;
    size_t batch = BATCH_FIRST, limit = reads_whole ? BATCH_WHOLE_MAX : BATCH_MAX, done = 0;
    int rc = 0;

    while (done < set->numbers.len && rc == 0) {
        size_t count = set->numbers.len - done < batch ? set->numbers.len - done : batch;
        int marked;
        rc = answer_batch(f, set->numbers.items + done, &count);
        if (rc == 0)
            rc = flush_line(f);
        marked = mark_seen(f);
        if (rc == 0)
            rc = marked;
        arena_reset(&f->arena);
        done += count;
        if (batch < limit)
            batch *= 2;
    }
    return rc;
}

/* --- the command --- */

static int prepare(struct fetch *f)
{
    struct session *s = f->session;
    size_t count = f->items.sections.len;

    f->headers_only = count > 0;
    f->answers = arena_alloc_n(&s->arena, count + 1, sizeof(*f->answers));
    if (f->answers == NULL)
        return -ENOMEM;
    for (size_t k = 0; k < count; k++) {
        const struct fetch_section *section = &f->items.sections.items[k];
        f->sets_seen |= section->sets_seen && !s->is_read_only;
        f->headers_only &= imap_section_is_header_only(&section->section);
        body_section_init(&f->answers[k], &section->section, &s->client->budget);
    }
    return 0;
}

static void conclude(struct fetch *f, int rc)
{
    struct session *s = f->session;

    if (rc == 0 && f->some_are_gone) {
        session_no(s, "[EXPUNGEISSUED] Some of the requested messages no longer exist.");
    } else if (rc == 0) {
        session_ok(s, "Fetch completed.");
    } else if (rc == -ENOMEM) {
        session_out_of_memory(s);
    } else if (!s->is_over) {
        /* In the middle of a response nothing else can be said. */
        session_store_error(s, rc, "FETCH");
        s->is_over = true;
    }
}

void command_fetch(struct session *s, struct parse *p)
{
    struct fetch f = {.session = s};
    struct set set = {0};
    int rc;

    if (!set_take(s, p, &set))
        return;
    budget_init(&f.budget, BODY_MEMORY_OCTETS);
    arena_init(&f.arena, &f.budget);
    str_init(&f.line, &f.budget);
    rc = parse_space(p) ? fetch_items_take(p, &f.items) : ERR_SYNTAX;
    if (rc == ERR_SYNTAX) {
        session_bad(s, f.items.why != NULL ? f.items.why : "Missing arguments.");
    } else {
        if (rc == 0)
            rc = prepare(&f);
        if (rc == 0)
            rc = answer_all(&f, &set);
        conclude(&f, rc);
    }
    fetch_items_free(&f.items);
    array_free(&f.seen);
    arena_reset(&f.arena);
    str_fini(&f.line);
    set_free(&set);
}
