/* SEARCH (RFC 3501 6.4.4). */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fd.h"
#include "imapd/body.h"
#include "imapd/commands.h"
#include "imapd/search_key.h"

enum {
    BATCH = 128,        /* headers read ahead at once */
    HEAD_OCTETS = 8192, /* of each */
    BREATH = 256,       /* messages between two pauses */
};

struct match_job {
    const struct search *search;
    size_t index;
    int result;
};

static void match_on_worker(void *arg, struct span message)
{
    struct match_job *job = arg;

    job->result = search_match_content(job->search, job->index, message);
}

/* 1, 0 or negative. A message that is gone does not match. */
static int match_stored(const struct search *q, size_t index)
{
    const struct store_view *v = q->session->view;
    struct match_job job = {q, index, 0};
    struct store_body body;
    int rc = store_body_open(q->session->view, v->messages.items[index].uid, &body);

    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    rc = body_with_content(&body, UINT64_MAX, match_on_worker, &job);
    fd_close(&body.fd);
    return rc < 0 ? rc : job.result;
}

/* Messages whose header decides: read in batches. */
static int match_headers(const struct search *q, const uint32_t *indexes, size_t count,
                         unsigned char *results)
{
    struct session *s = q->session;
    struct arena arena;
    uint32_t uids[BATCH];
    struct span heads[BATCH];
    int rc;

    arena_init(&arena, &s->client->budget);
    for (size_t i = 0; i < count; i++)
        uids[i] = s->view->messages.items[indexes[i]].uid;
    rc = store_heads(s->view, uids, count, HEAD_OCTETS, &arena, heads);
    for (size_t i = 0; i < count && rc >= 0; i++) {
        struct span header = heads[i].p != NULL ? body_header(heads[i]) : SPAN_NONE;
        if (heads[i].p == NULL)
            continue;
        rc = header.n > 0 ? search_match_content(q, indexes[i], header)
                          : match_stored(q, indexes[i]);
        if (rc >= 0)
            results[indexes[i]] = rc == 1;
        if (rc >= 0)
            (void)task_breathe();
    }
    arena_reset(&arena);
    return rc < 0 ? rc : 0;
}

/* What the view could not decide. */
static int match_rest(const struct search *q, const uint32_t *indexes, size_t count,
                      unsigned char *results)
{
    int rc = 0;

    if (!q->needs_body) {
        for (size_t i = 0; i < count && rc == 0; i += BATCH)
            rc = match_headers(q, indexes + i, count - i < BATCH ? count - i : BATCH, results);
        return rc;
    }
    for (size_t i = 0; i < count && rc >= 0; i++) {
        rc = match_stored(q, indexes[i]);
        if (rc >= 0)
            results[indexes[i]] = rc == 1;
        if (rc >= 0 && task_is_cancelled())
            rc = -ECANCELED;
    }
    return rc < 0 ? rc : 0;
}

static int match_view(const struct search *q, unsigned char *results, uint32_t *open,
                      size_t *open_count)
{
    size_t count = q->session->view->messages.len;
    int rc = 0;

    *open_count = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        int result = search_match_view(q, i);
        results[i] = result == 1;
        if (result < 0)
            open[(*open_count)++] = (uint32_t)i;
        if (i % BREATH == 0)
            rc = task_breathe();
    }
    return rc;
}

static void say_results(struct session *s, const unsigned char *results)
{
    struct str line;

    str_init(&line, &s->client->budget);
    str_append_cstr(&line, "* SEARCH");
    for (size_t i = 0; i < s->view->messages.len && !s->is_over; i++) {
        if (!results[i])
            continue;
        str_append_char(&line, ' ');
        str_append_u64(&line, s->by_uid ? s->view->messages.items[i].uid : i + 1);
        if (line.len > 8192) {
            session_write(s, str_span(&line));
            str_clear(&line);
        }
    }
    str_append_cstr(&line, "\r\n");
    session_write(s, str_span(&line));
    str_fini(&line);
}

static int run(const struct search *q)
{
    size_t count = q->session->view->messages.len, open_count;
    unsigned char *results = calloc(count + 1, 1);
    uint32_t *open = calloc(count + 1, sizeof(*open));
    int rc = results == NULL || open == NULL ? -ENOMEM : 0;

    if (rc == 0)
        rc = match_view(q, results, open, &open_count);
    if (rc == 0)
        rc = match_rest(q, open, open_count, results);
    if (rc == 0)
        say_results(q->session, results);
    free(open);
    free(results);
    return rc;
}

void command_search(struct session *s, struct parse *p)
{
    struct search q = {.session = s};
    int rc;

    if (search_take(&q, p)) {
        rc = run(&q);
        if (rc == 0)
            session_ok(s, "Search completed.");
        else
            session_store_error(s, rc, "SEARCH");
    }
    search_free(&q);
}
