#include "qmgr/under_way.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "qmgr/active.h"
#include "qmgr/agent.h"
#include "qmgr/transport.h"

enum { WAIT_S = 600, LIST_MAX = 16 << 20 };

static const char list_name[] = "queue/under-way";
static bool is_loaded;

static void list_jobs(const struct agent *a, struct str *out)
{
    struct hash_walk walk = {0};
    struct hash_node *n;

    while ((n = hash_walk(&a->jobs, &walk)) != NULL) {
        const struct job *job = CONTAINER_OF(n, struct job, by_number);

        str_printf(out, "%llu %u\n", (unsigned long long)job->active->entry->id.number,
                   job->recipient_count);
    }
}

/* What the qmgr before this one left, and is not told yet. */
static void list_inherited(struct str *out)
{
    struct hash_walk walk = {0};
    const struct entry *e;

    while ((e = entry_walk(&walk)) != NULL) {
        if (e->under_way > 0)
            str_printf(out, "%llu %u\n", (unsigned long long)e->id.number, e->under_way);
    }
}

void under_way_save(int queue_fd)
{
    struct transport *t = NULL;
    struct str text = {0};
    int fd, rc;

    if (!is_loaded)
        return; /* it never was the one: what is there is for the next */
    str_printf(&text, "under-way %ld\n", (long)getppid());
    while ((t = transport_next(t)) != NULL) {
        LIST_FOR(item, &t->agents)
        list_jobs(LIST_ITEM(item, struct agent, link), &text);
    }
    list_inherited(&text);
    fd = openat(queue_fd, list_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    rc = fd < 0 ? -errno : str_error(&text);
    if (rc == 0)
        rc = fd_write_all(fd, str_cstr(&text), text.len);
    if (rc < 0)
        log_warn("cannot write %s: %s: deliveries under way may be made twice", list_name,
                 error_text(rc));
    fd_close(&fd);
    str_fini(&text);
}

static void wait_for(struct span line)
{
    struct span number, count;
    uint64_t id;
    uint32_t recipients;
    struct entry *e;

    if (!span_token(&line, " ", &number) || !span_token(&line, " ", &count) ||
        span_to_u64(number, &id) < 0 || span_to_u32(count, &recipients) < 0)
        return;
    e = entry_find(id);
    if (e == NULL || e->place != ENTRY_DEFERRED || recipients > UINT32_MAX - e->under_way)
        return;
    e->under_way += recipients;
    e->wait_until = (uint32_t)(clock_mono_ms() / 1000) + WAIT_S;
    (void)under_way_wait_on(e);
}

bool under_way_wait_on(struct entry *e)
{
    int64_t left = (int64_t)e->wait_until - clock_mono_ms() / 1000;

    if (e->under_way == 0)
        return false;
    if (left <= 0) {
        e->under_way = 0;
        e->is_put_off = false;
        return false;
    }
    e->next_attempt_s = clock_wall_s() + left;
    entry_move(e, ENTRY_DEFERRED);
    return true;
}

void under_way_load(int queue_fd)
{
    int fd = openat(queue_fd, list_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct str text = {0}, head = {0};
    struct span rest, line;

    is_loaded = true;
    if (fd < 0)
        return;
    str_printf(&head, "under-way %ld", (long)getppid());
    if (fd_read_file(fd, &text, LIST_MAX) == 0) {
        rest = str_span(&text);
        if (span_next(&rest, '\n', &line) && span_eq(line, str_span(&head))) {
            /* The last piece stands behind the last LF: whole lines only. */
            while (span_find(rest, '\n') >= 0 && span_next(&rest, '\n', &line))
                wait_for(line);
        }
    }
    fd_close(&fd);
    unlinkat(queue_fd, list_name, 0);
    str_fini(&text);
    str_fini(&head);
}

void under_way_arrived(uint64_t number, bool is_deferral)
{
    struct entry *e = entry_find(number);
    int64_t now = clock_wall_s();

    if (e == NULL || e->under_way == 0)
        return;
    if (is_deferral)
        e->is_put_off = true;
    if (--e->under_way > 0 || e->place != ENTRY_DEFERRED)
        return;
    e->next_attempt_s = e->is_put_off ? now + qmgr_config.minimal_backoff_s : now;
    e->is_put_off = false;
    entry_move(e, ENTRY_DEFERRED);
    active_kick();
}
