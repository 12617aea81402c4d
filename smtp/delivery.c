#include "smtp/delivery.h"

#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "smtp/envelope.h"
#include "smtp/pool.h"
#include "smtp/resolve.h"
#include "smtp/transaction.h"

enum { HOPS_MAX = 32 };

/* --- results --- */

static void report(struct delivery *d, size_t i, const struct deliver_result *result)
{
    d->recipients[i].is_reported = true;
    d->recipients[i].is_accepted = false;
    d->left--;
    d->job->times.done = clock_wall_us();
    deliver_report(d->job, i, result);
}

static void report_trouble(struct delivery *d, size_t i, const struct trouble *t)
{
    struct deliver_result result = {
        .status = trouble_is_soft(t) ? DELIVER_DEFERRED : DELIVER_BOUNCED,
        .dsn = t->dsn,
        .reason = t->reason,
        .relay = t->relay,
        .remote_host = t->remote_host,
        .remote_reply = t->remote_reply,
        .site = t->site,
    };

    report(d, i, &result);
}

static struct trouble *keep_trouble(struct delivery *d, const struct connection *c,
                                    const struct trouble *trouble)
{
    struct arena *arena = &d->job->arena;
    struct trouble *kept = ARENA_NEW(arena, struct trouble);

    if (kept == NULL)
        return NULL;
    *kept = *trouble;
    if (d->settings->soft_bounce)
        trouble_soften(kept);
    if (c != NULL) {
        /* The connection may be gone when this is reported. */
        (void)arena_copy(arena, c->relay, &kept->relay);
        if (kept->remote_host.n > 0)
            (void)arena_copy(arena, kept->remote_host, &kept->remote_host);
    }
    return kept;
}

static void fail_with(struct delivery *d, size_t i, struct trouble *kept)
{
    static struct trouble no_memory = {.dsn = "4.3.0", .reason = {"out of memory", 13}};

    d->recipients[i].is_accepted = false;
    if (kept != NULL && !trouble_is_soft(kept))
        report_trouble(d, i, kept);
    else
        d->recipients[i].trouble = kept != NULL ? kept : &no_memory;
}

void delivery_fail(struct delivery *d, size_t i, const struct connection *c,
                   const struct trouble *trouble)
{
    if (!d->recipients[i].is_reported)
        fail_with(d, i, keep_trouble(d, c, trouble));
}

void delivery_fail_all(struct delivery *d, const struct connection *c,
                       const struct trouble *trouble)
{
    struct trouble *kept = keep_trouble(d, c, trouble);

    for (size_t i = 0; i < d->job->message->recipients.len; i++)
        if (!d->recipients[i].is_reported)
            fail_with(d, i, kept);
}

void delivery_sent(struct delivery *d, size_t i, const struct connection *c)
{
    const struct queue_recipient *r = &d->job->message->recipients.items[i];
    struct trouble words;
    char dsn[SMTP_DSN_MAX];
    struct str code = {0};

    /* The same text as for trouble, on one line. */
    trouble_reply(&words, &d->job->arena, &c->reply, c->host, "", "");
    dsn_append(&code, c->reply.dsn);
    strncpy(dsn, str_cstr(&code), sizeof(dsn) - 1);
    dsn[sizeof(dsn) - 1] = '\0';
    str_fini(&code);
    struct deliver_result result = {
        .status = DELIVER_SENT,
        .dsn = dsn,
        .reason = words.reason,
        .relay = c->relay,
        .remote_host = span_cstr(c->host),
        .remote_reply = words.remote_reply,
        .relayed_without_dsn = (r->notify & QUEUE_NOTIFY_SUCCESS) && !(c->features & SMTP_DSN),
    };
    report(d, i, &result);
}

/* Before another host is tried: why this one did not take it. */
static void log_trouble(const struct delivery *d)
{
    const struct trouble *last = NULL;

    for (size_t i = 0; i < d->job->message->recipients.len; i++) {
        const struct delivery_recipient *r = &d->recipients[i];

        if (r->is_reported || r->trouble == NULL || r->trouble == last)
            continue;
        last = r->trouble;
        log_info("%s: %.*s", d->job->queue_id, SPAN_ARG(last->reason));
    }
}

/* --- over the pool --- */

static int try_pool(struct delivery *d)
{
    struct connection *c;
    int rc = ERR_EOF;

    while (rc == ERR_EOF && d->left > 0 && (c = pool_take(d)) != NULL) {
        rc = transaction_run(c, d);
        if (rc == 0)
            d->tried = c->peer;
        pool_give(d, c);
    }
    return task_is_cancelled() ? -ECANCELED : 0;
}

/* --- over hosts --- */

struct attempt {
    struct delivery *d;
    const char *hop;
    bool is_first_hop;
    unsigned addresses, sessions;
};

/* A message that waited long enough may go without TLS where that is only an offer. */
static bool may_fall_back(const struct delivery *d)
{
    const struct deliver_times *t = &d->job->times;

    return d->settings->level == TLS_LEVEL_MAY &&
           t->active - t->arrival >= d->settings->plaintext_after_us;
}

static int open_connection(struct attempt *a, const struct exchanger *e, struct connection **c)
{
    struct delivery *d = a->d;
    struct trouble why;
    int rc = connection_open(c, d->settings, e, a->hop, true, &d->job->arena, &why);

    if (rc == ERR_TLS && may_fall_back(d))
        rc = connection_open(c, d->settings, e, a->hop, false, &d->job->arena, &why);
    /* Without a session there is no relay to name. */
    a->sessions += rc == 0 || why.relay.n > 0;
    if (rc < 0 && rc != -ECANCELED)
        delivery_fail_all(d, NULL, &why);
    return rc;
}

static int try_host(struct attempt *a, const struct exchanger *e, bool is_best)
{
    struct delivery *d = a->d;
    struct connection *c;
    int rc = open_connection(a, e, &c);

    if (rc < 0)
        return rc == -ECANCELED ? rc : 0;
    c->is_keepable = a->is_first_hop && is_best;
    pool_add(d, c);
    rc = transaction_run(c, d);
    pool_give(d, c);
    return rc == -ECANCELED ? rc : 0;
}

static bool is_limit_reached(const struct attempt *a)
{
    const struct settings *s = a->d->settings;

    return (s->address_limit > 0 && a->addresses >= s->address_limit) ||
           (s->session_limit > 0 && a->sessions >= s->session_limit);
}

/* 0: go on with the next hop, if any; *is_final: there must be none. */
static int try_hop(struct attempt *a, const struct nexthop *hop, bool *is_final)
{
    struct delivery *d = a->d;
    struct exchangers x = {0};
    bool is_mx = false;
    int rc = resolve_nexthop(d->settings, hop, &x, &d->job->arena, &d->why, &is_mx);

    if (rc == -ECANCELED || rc < 0) {
        *is_final = d->why.is_final;
        exchangers_fini(&x);
        return rc == -ECANCELED ? rc : 0;
    }
    *is_final = is_mx;
    rc = 0;
    for (size_t i = 0; rc == 0 && d->left > 0 && i < x.list.len && !is_limit_reached(a); i++) {
        if (net_address_cmp(&x.list.items[i].address, &d->tried) == 0)
            continue;
        if (i > 0)
            log_trouble(d);
        a->addresses++;
        rc =
            try_host(a, &x.list.items[i], x.list.items[i].preference == x.list.items[0].preference);
    }
    exchangers_fini(&x);
    return rc;
}

/* --- hops --- */

struct hops {
    struct span items[HOPS_MAX];
    size_t count, own; /* the first own are the job's, the others smtp_fallback_relay's */
};

static void add_hops(struct hops *h, struct span list)
{
    struct span item;

    while (h->count < HOPS_MAX && span_token(&list, ", \t\r\n", &item))
        h->items[h->count++] = item;
}

static int try_all_hops(struct delivery *d, const struct hops *hops)
{
    bool is_final = false;
    int rc = 0;

    for (size_t i = 0; rc == 0 && d->left > 0 && !is_final && i < hops->count; i++) {
        char *text = arena_strdup(&d->job->arena, hops->items[i]);
        struct attempt a = {
            .d = d,
            .hop = text != NULL ? text : "",
            .is_first_hop = i == 0,
            /* The one over a kept connection counts. */
            .sessions = i == 0 && d->tried.family != AF_UNSPEC,
        };
        struct nexthop hop;

        log_trouble(d);
        if (nexthop_parse(hops->items[i], &hop) < 0) {
            trouble_set(&d->why, &d->job->arena, "4.3.5", "unusable next hop: %s", a.hop);
            log_error("%s: unusable next hop: %s", d->job->queue_id, a.hop);
            continue;
        }
        rc = try_hop(&a, &hop, &is_final);
        if (trouble_is_set(&d->why) && !trouble_is_soft(&d->why)) {
            bool is_fallback = i >= hops->own;

            /* A relay that the configuration names is no reason to bounce. */
            if (is_fallback || span_eq(hops->items[0], span_cstr(d->settings->relayhost))) {
                log_warn("%s configuration problem",
                         is_fallback ? "smtp_fallback_relay" : "relayhost");
                trouble_soften(&d->why);
            }
        }
    }
    return rc;
}

/* Recipients that no host took or refused for good. */
static void report_left(struct delivery *d)
{
    struct trouble excuse;

    if (d->settings->soft_bounce)
        trouble_soften(&d->why);
    trouble_set(&excuse, &d->job->arena, "4.3.0", "server unavailable or unable to receive mail");
    for (size_t i = 0; i < d->job->message->recipients.len; i++) {
        struct delivery_recipient *r = &d->recipients[i];

        if (!r->is_reported)
            report_trouble(d, i,
                           r->trouble != NULL        ? r->trouble
                           : trouble_is_set(&d->why) ? &d->why
                                                     : &excuse);
    }
}

/* Reported at once, soft or hard: no host is asked. */
static void refuse(struct delivery *d, size_t i, const char *dsn, const char *text)
{
    struct trouble why;

    trouble_set(&why, &d->job->arena, dsn, "%s", text);
    if (d->settings->soft_bounce)
        trouble_soften(&why);
    report_trouble(d, i, &why);
}

/* What would break out of its command never gets into one; and a probe, which has no
 * content, would be sent as an empty message. */
static void refuse_unusable(struct delivery *d)
{
    const struct queue_message *m = d->job->message;
    bool is_sender_bad = m->sender.n > 0 && !envelope_is_writable(m->sender);

    for (size_t i = 0; i < m->recipients.len; i++)
        if (m->flags & QUEUE_MESSAGE_PROBE)
            refuse(d, i, "4.3.3", "address probes are not supported");
        else if (is_sender_bad)
            refuse(d, i, "5.1.7", "bad sender address syntax");
        else if (!envelope_is_writable(m->recipients.items[i].address))
            refuse(d, i, "5.1.3", "bad recipient address syntax");
}

void delivery_run(struct deliver_job *job, void *arg)
{
    struct delivery d = {.settings = arg, .job = job, .left = job->message->recipients.len};
    struct hops hops = {0};
    int rc;

    task_cond_init(&d.wake);
    list_init(&d.link);
    d.size = queue_content_size(&job->content);
    d.content_flags = queue_content_flags(&job->content);
    d.recipients = ARENA_NEW_N(&job->arena, struct delivery_recipient, d.left);
    if (d.recipients == NULL || pool_enter(&d) == NULL)
        return;
    refuse_unusable(&d);
    add_hops(&hops, job->next_hop);
    hops.own = hops.count;
    add_hops(&hops, span_cstr(d.settings->fallback_relay));
    rc = try_pool(&d);
    if (rc == 0)
        rc = try_all_hops(&d, &hops);
    if (rc == 0)
        report_left(&d);
    pool_leave(&d);
}
