#include "qmgr/assign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "qmgr/transport.h"
#include "queue/deliver.h"

enum { RECIPIENTS_OF_A_JOB_MAX = 1000, JOB_OCTETS_MAX = 40 << 10 };

/* Where one recipient goes. */
struct destination {
    uint32_t index;
    struct span transport, next_hop;
    struct span key; /* next hop, or the recipient where each has its own queue */
};

void assign_log(const char *transport, const struct active *a, uint32_t index,
                const struct deliver_result *result)
{
    struct deliver_times times = {.arrival = a->loaded.message.arrival_us, .active = a->active_us};
    char own[64], other[96];
    const char *slash;

    snprintf(own, sizeof(own), "%s", log_tag());
    slash = strrchr(own, '/');
    snprintf(other, sizeof(other), "%.*s%s", slash != NULL ? (int)(slash + 1 - own) : 0, own,
             transport);
    log_set_tag(other);
    deliver_log(a->queue_id, &a->loaded.message.recipients.items[index], result, &times, 0);
    log_set_tag(own);
}

/* --- transports inside --- */

/* "5.1.1 text" gives both; text alone takes the fallback. */
static void split_dsn(struct span text, const char *fallback, struct arena *arena,
                      struct deliver_result *result)
{
    ptrdiff_t blank = span_find(text, ' ');
    struct span code = blank > 0 ? span_take(text, (size_t)blank) : text;
    bool is_code =
        code.n >= 5 && code.n <= 9 && strchr("245", code.p[0]) != NULL && code.p[1] == '.';

    for (size_t i = 0; is_code && i < code.n; i++)
        is_code = ascii_is_digit(code.p[i]) || code.p[i] == '.';
    result->dsn = is_code ? arena_strdup(arena, code) : fallback;
    if (result->dsn == NULL || (is_code && result->dsn[0] != fallback[0]))
        result->dsn = fallback;
    result->reason = is_code ? span_trim(span_drop(text, code.n)) : text;
}

/* True when the recipient has its result: transport error, retry or discard. */
static bool deliver_inside(struct active *a, const struct destination *d)
{
    static const struct {
        const char *name, *dsn, *text;
        enum deliver_status status;
    } inside[] = {
        {"error", "5.0.0", "mail is not accepted for this destination", DELIVER_BOUNCED},
        {"retry", "4.0.0", "delivery is postponed", DELIVER_DEFERRED},
        {"discard", "2.0.0", "mail is discarded", DELIVER_SENT},
    };
    struct arena *arena = &a->loaded.message.arena;

    for (size_t i = 0; i < COUNT_OF(inside); i++) {
        struct deliver_result result = {.status = inside[i].status};

        if (!span_eq(d->transport, span_cstr(inside[i].name)))
            continue;
        split_dsn(d->next_hop, inside[i].dsn, arena, &result);
        if (result.reason.n == 0)
            result.reason = span_cstr(inside[i].text);
        assign_log(inside[i].name, a, d->index, &result);
        loaded_take_result(&a->loaded, d->index, a->attempt, clock_wall_s(), &result);
        return true;
    }
    return false;
}

static void defer(struct active *a, uint32_t index, const char *dsn, struct span reason)
{
    struct deliver_result result = {.status = DELIVER_DEFERRED, .dsn = dsn, .reason = reason};

    assign_log("error", a, index, &result);
    loaded_take_result(&a->loaded, index, a->attempt, clock_wall_s(), &result);
}

/* --- routing --- */

static bool is_deferred_transport(struct span transport)
{
    struct span list = span_cstr(qmgr_config.defer_transports), item;

    while (span_token(&list, ", \t\r\n", &item))
        if (span_eq(item, transport))
            return true;
    return false;
}

static int route_one(struct active *a, uint32_t index, struct destination *d)
{
    struct queue_message *m = &a->loaded.message;
    struct queue_recipient *r = &m->recipients.items[index];
    bool is_anew = (a->loaded.flags & ENTRY_ROUTE_ANEW) != 0;
    struct route_result result = {0};

    *d = (struct destination){.index = index};
    if (!is_anew && r->transport.n > 0) {
        d->transport = r->transport;
        d->next_hop = r->next_hop;
    } else if (!is_anew && m->transport.n > 0) {
        d->transport = m->transport;
        d->next_hop = m->next_hop;
    } else {
        int rc = route_resolve(qmgr_config.route, r->address, &m->arena, &result);
        if (rc < 0)
            return rc;
        d->transport = result.transport;
        d->next_hop = result.next_hop;
        r = &m->recipients.items[index];
        if (result.recipient.n > 0)
            r->address = result.recipient;
    }
    /* A FILTER without a next hop goes by the recipient's domain. */
    if (d->next_hop.n == 0)
        d->next_hop = route_domain(r->address);
    return 0;
}

/* Pending recipients to destinations; those that end here have their result. */
static int route_all(struct active *a, struct destination *list, size_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < a->loaded.outcomes.len; i++) {
        struct destination *d = &list[*count];

        if (a->loaded.outcomes.items[i].state != QUEUE_RECIPIENT_PENDING)
            continue;
        int rc = route_one(a, i, d);
        if (rc == -ENOMEM || rc == -ECANCELED)
            return rc;
        if (rc < 0)
            defer(a, i, "4.3.0", SPAN_LIT("address resolver failure"));
        else if (is_deferred_transport(d->transport))
            defer(a, i, "4.3.2", SPAN_LIT("deferred transport"));
        else if (!deliver_inside(a, d))
            (*count)++;
        if (task_breathe() < 0)
            return -ECANCELED;
    }
    return 0;
}

/* --- jobs --- */

static int compare(const void *x, const void *y)
{
    const struct destination *a = x, *b = y;
    int order = span_cmp(a->transport, b->transport);

    if (order == 0)
        order = span_icmp(a->key, b->key);
    if (order == 0)
        order = span_cmp(a->next_hop, b->next_hop);
    return order != 0 ? order : a->index < b->index ? -1 : a->index > b->index;
}

static size_t encoded_size(const struct queue_recipient *r)
{
    return 64 + r->address.n + r->original.n + r->orcpt.n + r->unknown.n;
}

/* As many of the list as fit one job, all for the same destination. */
static size_t job_length(const struct active *a, const struct destination *list, size_t count,
                         unsigned limit)
{
    size_t n = 1, octets = 0;

    if (limit == 0 || limit > RECIPIENTS_OF_A_JOB_MAX)
        limit = RECIPIENTS_OF_A_JOB_MAX;
    for (; n < count && n < limit; n++) {
        octets += encoded_size(&a->loaded.message.recipients.items[list[n].index]);
        if (octets > JOB_OCTETS_MAX || !span_ieq(list[n].key, list[0].key) ||
            !span_eq(list[n].transport, list[0].transport) ||
            !span_eq(list[n].next_hop, list[0].next_hop))
            break;
    }
    return n;
}

/* What takes turns within a destination: a sender's messages, or the jobs of one
 * message that has several for it. */
static uint64_t lane_key(const struct active *a, bool is_large)
{
    uint64_t number = a->entry->id.number;

    return is_large ? span_hash(span_make(&number, sizeof(number)))
                    : span_ihash(a->loaded.message.sender);
}

static struct job *make_job(struct active *a, struct transport *t, const struct destination *list,
                            size_t count)
{
    struct job *job = NEW(struct job);

    if (job == NULL)
        return NULL;
    job->recipients = mem_new(count * sizeof(uint32_t));
    if (job->recipients == NULL) {
        free(job);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        job->recipients[i] = list[i].index;
    job->recipient_count = (uint32_t)count;
    job->active = a;
    job->transport = t;
    job->next_hop = list[0].next_hop;
    return job;
}

static void note_site(struct entry *e, size_t n, struct span next_hop)
{
    if (n < COUNT_OF(e->sites))
        e->sites[n] = (uint32_t)span_ihash(next_hop) | 1;
    else
        e->sites[0] = e->sites[1] = 0; /* too many to remember */
}

/* The whole message waits for one lane that is long already: it is not kept in
 * memory meanwhile. */
static bool park(struct active *a, const struct destination *list, size_t count, size_t n,
                 struct schedule_lane *lane)
{
    if (n != count || a->job_count > 0 || a->entry->is_unparked || !schedule_lane_is_full(lane) ||
        a->loaded.outcomes.len != count)
        return false;
    note_site(a->entry, 0, list[0].next_hop);
    entry_move(a->entry, ENTRY_PARKED);
    schedule_park(lane, &a->entry->parked);
    return true;
}

static int queue_group(struct active *a, struct transport *t, const struct destination *list,
                       size_t count, bool is_last, enum assign_verdict *verdict)
{
    struct schedule_destination *d = schedule_destination(transport_schedule(t), list[0].key);
    int64_t now = clock_mono_ms();
    size_t done = 0;

    if (d == NULL)
        return -ENOMEM;
    if (a->entry->is_forced && d->dead_until_ms != 0)
        schedule_revive(d);
    if (schedule_is_dead(d, now)) {
        struct str reason = {0};

        str_printf(&reason, "delivery temporarily suspended: %s",
                   d->dead_reason != NULL ? d->dead_reason : "destination is not reachable");
        for (size_t i = 0; i < count; i++)
            defer(a, list[i].index, d->dead_dsn, str_span(&reason));
        str_fini(&reason);
        return 0;
    }
    while (done < count) {
        size_t n = job_length(a, list + done, count - done, transport_recipient_limit(t));
        uint64_t key = lane_key(a, n < count);
        struct schedule_lane *lane = schedule_lane(d, key);

        if (lane == NULL)
            return -ENOMEM;
        if (is_last && park(a, list, count, n, lane)) {
            *verdict = ASSIGN_PARKED;
            return 0;
        }
        struct job *job = make_job(a, t, list + done, n);
        if (job == NULL)
            return -ENOMEM;
        job->lane_key = key;
        list_append(&a->jobs, &job->link);
        a->job_count++;
        schedule_add(lane, &job->schedule);
        done += n;
    }
    transport_kick(t);
    return 0;
}

static size_t same_destination(const struct destination *list, size_t count)
{
    size_t n = 1;

    while (n < count && span_eq(list[n].transport, list[0].transport) &&
           span_ieq(list[n].key, list[0].key))
        n++;
    return n;
}

int assign_jobs(struct active *a, enum assign_verdict *verdict)
{
    struct destination *list =
        arena_alloc_n(&a->loaded.message.arena, a->loaded.outcomes.len, sizeof(*list));
    size_t count, sites = 0;

    *verdict = ASSIGN_JOBS;
    if (list == NULL)
        return a->loaded.outcomes.len == 0 ? 0 : -ENOMEM;
    int rc = route_all(a, list, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct transport *t = transport_find(list[i].transport);

        if (t == NULL)
            return -ENOMEM;
        list[i].key = transport_recipient_limit(t) == 1
                          ? a->loaded.message.recipients.items[list[i].index].address
                          : list[i].next_hop;
    }
    if (rc < 0)
        return rc;
    qsort(list, count, sizeof(*list), compare);
    a->entry->sites[0] = a->entry->sites[1] = 0;
    for (size_t at = 0; rc == 0 && at < count && *verdict == ASSIGN_JOBS; sites++) {
        size_t n = same_destination(list + at, count - at);

        rc = queue_group(a, transport_find(list[at].transport), list + at, n, n == count, verdict);
        if (*verdict == ASSIGN_JOBS)
            note_site(a->entry, sites, list[at].next_hop);
        at += n;
    }
    return rc;
}
