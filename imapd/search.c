/* SEARCH (RFC 3501 6.4.4). */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fd.h"
#include "imapd/body.h"
#include "imapd/commands.h"
#include "imapd/search_key.h"

enum {
    FIELDS_BATCH = 512, /* messages whose kept fields are looked at in one go */
    BATCH = 64,         /* messages whose first octets are read in one go */
    HEAD_OCTETS = 8192, /* of each */
    BREATH = 256,       /* messages between two pauses */
};

/* --- the messages themselves --- */

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

/* Messages of which the first octets are read in one go. */
struct batch {
    const struct search *search;
    const uint32_t *indexes; /* in the view */
    bool is_open[BATCH];     /* more of it is needed, or it is gone */
    unsigned char *results;
    int rc;
};

static bool is_enough(const struct search *q, size_t index, struct span *head)
{
    if (head->n == q->session->view->messages.items[index].size)
        return true;
    if (q->needs_body)
        return false;
    *head = body_header(*head);
    return head->n > 0;
}

static void match_head(void *arg, size_t i, struct span head)
{
    struct batch *b = arg;
    uint32_t index = b->indexes[i];

    if (b->rc < 0 || !is_enough(b->search, index, &head))
        return;
    b->rc = search_match_content(b->search, index, head);
    b->results[index] = b->rc == 1;
    b->is_open[i] = false;
}

static int match_batch(struct batch *b, size_t count)
{
    const struct search *q = b->search;
    struct store_view *v = q->session->view;
    uint32_t uids[BATCH];
    int rc;

    for (size_t i = 0; i < count; i++) {
        uids[i] = v->messages.items[b->indexes[i]].uid;
        b->is_open[i] = true;
    }
    rc = store_each_head(v, uids, count, HEAD_OCTETS, match_head, b);
    if (rc == 0)
        rc = b->rc;
    for (size_t i = 0; i < count && rc >= 0; i++) {
        if (!b->is_open[i])
            continue;
        rc = match_stored(q, b->indexes[i]);
        b->results[b->indexes[i]] = rc == 1;
    }
    return rc < 0 ? rc : 0;
}

/* --- what the store keeps of headers --- */

struct fields_batch {
    const struct search *search;
    const uint32_t *indexes; /* in the view */
    signed char results[FIELDS_BATCH];
};

static void match_kept(void *arg, size_t i, struct span fields)
{
    struct fields_batch *b = arg;

    b->results[i] = (signed char)(search_match_fields(b->search, b->indexes[i], fields));
}

/* Takes what the fields decide out of open: a subject is looked for in 2,000 messages in 0.6
 * ms; reading their heads takes 10. */
static int match_fields(const struct search *q, unsigned char *results, uint32_t *open,
                        size_t *open_count)
{
    struct store_view *v = q->session->view;
    size_t count = *open_count, n;
    int rc = 0;

    *open_count = 0;
    for (size_t from = 0; from < count && rc == 0; from += n) {
        struct fields_batch b = {.search = q, .indexes = open + from};
        uint32_t uids[FIELDS_BATCH];
        n = count - from < FIELDS_BATCH ? count - from : FIELDS_BATCH;
        for (size_t i = 0; i < n; i++) {
            uids[i] = v->messages.items[open[from + i]].uid;
            b.results[i] = -1;
        }
        rc = store_fields(v, uids, n, match_kept, &b);
        for (size_t i = 0; i < n && rc == 0; i++) {
            uint32_t index = open[from + i];
            results[index] = b.results[i] == 1;
            if (b.results[i] < 0)
                open[(*open_count)++] = index;
        }
        if (rc == 0 && task_is_cancelled())
            rc = -ECANCELED;
    }
    return rc;
}

/* --- all together --- */

/* What is still open. */
static int match_rest(const struct search *q, const uint32_t *indexes, size_t count,
                      unsigned char *results)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i += BATCH) {
        struct batch b = {.search = q, .indexes = indexes + i, .results = results};
        rc = match_batch(&b, count - i < BATCH ? count - i : BATCH);
        if (rc == 0 && task_is_cancelled())
            rc = -ECANCELED;
    }
    return rc;
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

static int say_results(struct session *s, const unsigned char *results)
{
    struct str line;
    int rc = 0;

    str_init(&line, &s->client->budget);
    str_append_cstr(&line, "* SEARCH");
    for (size_t i = 0; i < s->view->messages.len && !s->is_over && rc == 0; i++) {
        if (i % BREATH == 0)
            rc = task_breathe();
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
    return rc;
}

static int run(const struct search *q)
{
    size_t count = q->session->view->messages.len, open_count;
    unsigned char *results = calloc(count + 1, 1);
    uint32_t *open = calloc(count + 1, sizeof(*open));
    int rc = results == NULL || open == NULL ? -ENOMEM : 0;

    if (rc == 0)
        rc = match_view(q, results, open, &open_count);
    if (rc == 0 && q->needs_fields)
        rc = match_fields(q, results, open, &open_count);
    if (rc == 0)
        rc = match_rest(q, open, open_count, results);
    if (rc == 0)
        rc = say_results(q->session, results);
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
