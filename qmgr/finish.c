#include "qmgr/finish.h"

#include <errno.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "mail/address.h"
#include "qmgr/assign.h"
#include "qmgr/tasks.h"
#include "queue/bounce.h"

/* One notification: recipients, and octets about them, which fit a message to bounce. */
enum { NOTIFIED_AT_ONCE = 200, NOTIFIED_OCTETS_MAX = 40 << 10 };
/* Messages whose notifications are made at once: each holds its content meanwhile, and
 * together they share the syncs of their commits. */
enum { NOTIFIERS_MAX = 32 };

static struct ipc_client *bounce;
static struct list unnotified = {&unnotified, &unnotified}; /* struct active.link */
static unsigned notifiers;

int finish_init(void)
{
    bounce = ipc_client_new("bounce", BOUNCE_PROTOCOL, BOUNCE_PROTOCOL_VERSION);
    return bounce == NULL ? -ENOMEM : 0;
}

/* --- who must be told --- */

static bool wants(const struct queue_recipient *r, uint32_t bit)
{
    /* Without NOTIFY= the sender learns of failures and delays (RFC 3461 4.1). */
    uint32_t notify = r->notify != 0 ? r->notify : QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY;

    return (notify & bit) != 0;
}

static bool is_subject(const struct active *a, size_t i, enum bounce_kind kind)
{
    const struct outcome *o = &a->loaded.outcomes.items[i];
    const struct queue_recipient *r = &a->loaded.message.recipients.items[i];

    switch (kind) {
    case BOUNCE_FAILURE:
        return o->state == QUEUE_RECIPIENT_FAILED;
    case BOUNCE_DELAY:
        return o->state == QUEUE_RECIPIENT_PENDING && o->attempt > 0 &&
               wants(r, QUEUE_NOTIFY_DELAY);
    default:
        return o->state == QUEUE_RECIPIENT_DONE && o->attempt > 0 && !o->success_notified &&
               (r->notify & QUEUE_NOTIFY_SUCCESS) != 0;
    }
}

static bool has_subject(const struct active *a, enum bounce_kind kind)
{
    for (size_t i = 0; i < a->loaded.outcomes.len; i++)
        if (is_subject(a, i, kind))
            return true;
    return false;
}

/* Failures that nobody wants to hear of are over. */
static void settle_unwanted(struct active *a)
{
    for (size_t i = 0; i < a->loaded.outcomes.len; i++) {
        struct outcome *o = &a->loaded.outcomes.items[i];

        if (o->state == QUEUE_RECIPIENT_FAILED &&
            !wants(&a->loaded.message.recipients.items[i], QUEUE_NOTIFY_FAILURE))
            o->state = QUEUE_RECIPIENT_NOTIFIED;
    }
}

/* --- asking bounce --- */

/* How much one recipient takes of a request, with room for names and lengths. */
static size_t request_octets(const struct queue_recipient *r, const struct deliver_result *result)
{
    return 256 + r->address.n + r->original.n + r->orcpt.n + r->transport.n + r->next_hop.n +
           r->unknown.n + result->reason.n + result->relay.n + result->remote_host.n +
           result->remote_reply.n;
}

/* The recipients with their outcomes, from *at on, as many as fit. */
static int build_request(struct active *a, enum bounce_kind kind, size_t *at,
                         struct bounce_request *r, uint32_t *subjects, size_t *count)
{
    struct arena *arena = &r->message.arena;
    size_t octets = 0;

    r->kind = kind;
    r->retry_until_s = a->entry->arrival_us / 1000000 + qmgr_config.queue_lifetime_s;
    r->results = ARENA_NEW_N(arena, struct deliver_result, NOTIFIED_AT_ONCE);
    r->last_attempt_s = ARENA_NEW_N(arena, int64_t, NOTIFIED_AT_ONCE);
    if (r->results == NULL || r->last_attempt_s == NULL)
        return -ENOMEM;
    for (; *at < a->loaded.outcomes.len && *count < NOTIFIED_AT_ONCE; (*at)++) {
        if (!is_subject(a, *at, kind))
            continue;
        octets += request_octets(&a->loaded.message.recipients.items[*at],
                                 &a->loaded.outcomes.items[*at].result);
        if (*count > 0 && octets > NOTIFIED_OCTETS_MAX)
            break;
        struct queue_recipient *to = array_push(&r->message.recipients);
        if (to == NULL)
            return -ENOMEM;
        *to = a->loaded.message.recipients.items[*at];
        r->results[*count] = a->loaded.outcomes.items[*at].result;
        r->last_attempt_s[*count] = a->loaded.outcomes.items[*at].at_s;
        subjects[(*count)++] = (uint32_t)*at;
    }
    return 0;
}

static int notify_some(struct active *a, enum bounce_kind kind, size_t *at)
{
    struct bounce_request r = {0};
    uint32_t subjects[NOTIFIED_AT_ONCE];
    struct ipc_out m = {0};
    struct ipc_in *reply = NULL;
    size_t count = 0;
    int64_t error = 0;

    /* Borrows the message's texts, with recipients and an arena of its own. */
    r.message = a->loaded.message;
    r.message.recipients.items = NULL;
    r.message.recipients.len = r.message.recipients.cap = 0;
    arena_init(&r.message.arena, NULL);
    int rc = build_request(a, kind, at, &r, subjects, &count);
    if (rc == 0)
        rc = bounce_request_encode(&r, &m);
    if (rc == 0)
        rc = ledger_put_content(a->entry, &a->loaded, &m);
    if (rc == 0)
        rc = ipc_client_call(bounce, &m, &reply, deadline_in(qmgr_config.ipc_timeout_ms));
    if (rc == 0 && (ipc_get_i64(reply, "error", &error) < 0 || error != 0))
        rc = error < 0 && error > INT32_MIN ? (int)error : ERR_PROTOCOL;
    ipc_in_free(reply);
    ipc_out_fini(&m);
    array_free(&r.message.recipients);
    arena_reset(&r.message.arena);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct outcome *o = &a->loaded.outcomes.items[subjects[i]];

        if (kind == BOUNCE_FAILURE)
            o->state = QUEUE_RECIPIENT_NOTIFIED;
        else if (kind == BOUNCE_SUCCESS)
            o->success_notified = true;
    }
    return rc;
}

static int notify(struct active *a, enum bounce_kind kind)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < a->loaded.outcomes.len && has_subject(a, kind))
        rc = notify_some(a, kind, &at);
    if (rc < 0 && rc != -ECANCELED)
        log_warn("%s: bounce service: %s", a->queue_id, error_text(rc));
    return rc;
}

/* --- expiry --- */

static bool is_expired(const struct active *a)
{
    int64_t age = clock_wall_s() - a->entry->arrival_us / 1000000;
    int64_t lifetime = a->loaded.message.sender.n == 0 ? qmgr_config.bounce_lifetime_s
                                                       : qmgr_config.queue_lifetime_s;

    return (a->loaded.flags & ENTRY_EXPIRE) != 0 || age >= lifetime;
}

static void expire(struct active *a)
{
    struct str sender = {0};

    address_print_text(&sender, a->loaded.message.sender);
    log_info("%s: from=<%s>, status=%s, returned to sender", a->queue_id, str_cstr(&sender),
             a->loaded.flags & ENTRY_EXPIRE ? "force-expired" : "expired");
    str_fini(&sender);
    for (size_t i = 0; i < a->loaded.outcomes.len; i++) {
        struct outcome *o = &a->loaded.outcomes.items[i];

        if (o->state != QUEUE_RECIPIENT_PENDING)
            continue;
        o->state = QUEUE_RECIPIENT_FAILED;
        o->result.status = DELIVER_EXPIRED;
        if (o->attempt == 0) {
            o->attempt = a->attempt;
            o->at_s = clock_wall_s();
            o->result.dsn = "4.4.7";
            o->result.reason = SPAN_LIT("message expired");
        }
    }
}

/* --- the end --- */

static bool is_over(const struct active *a)
{
    for (size_t i = 0; i < a->loaded.outcomes.len; i++) {
        enum queue_recipient_state state = a->loaded.outcomes.items[i].state;
        if (state == QUEUE_RECIPIENT_PENDING || state == QUEUE_RECIPIENT_FAILED)
            return false;
    }
    return !has_subject(a, BOUNCE_SUCCESS);
}

static void remove_message(struct active *a)
{
    struct entry *e = a->entry;

    log_info("%s: removed", a->queue_id);
    a->entry = NULL;
    e->active = NULL;
    ledger_remove(e);
    active_free(a);
}

/* From an alias: not tried yet. */
static bool has_new_recipient(const struct active *a)
{
    for (size_t i = 0; i < a->loaded.outcomes.len; i++) {
        const struct outcome *o = &a->loaded.outcomes.items[i];
        if (o->state == QUEUE_RECIPIENT_PENDING && o->attempt == 0)
            return true;
    }
    return false;
}

/* With what an admin wanted, also while this waited. */
static void write_deferral(struct active *a, int64_t now)
{
    bool is_held, is_requeued;
    int rc;

    do {
        is_held = a->is_hold_wanted;
        is_requeued = a->is_requeue_wanted;
        if (is_requeued) {
            a->loaded.flags |= ENTRY_ROUTE_ANEW;
            a->loaded.next_attempt_s = now;
        }
        if (is_held)
            a->loaded.flags |= ENTRY_HOLD;
        rc = ledger_write_state(a->entry, &a->loaded);
    } while (rc == 0 && (is_held != a->is_hold_wanted || is_requeued != a->is_requeue_wanted));
    if (rc < 0 && rc != ERR_READ_ONLY)
        log_error("%s: cannot write its state: %s", a->queue_id, error_text(rc));
}

/* Wait as long as it has waited, within bounds. */
static void defer_message(struct active *a)
{
    struct entry *e = a->entry;
    int64_t now = clock_wall_s();
    int64_t wait = now - e->arrival_us / 1000000;

    if (wait < qmgr_config.minimal_backoff_s)
        wait = qmgr_config.minimal_backoff_s;
    if (wait > qmgr_config.maximal_backoff_s)
        wait = qmgr_config.maximal_backoff_s;
    if (has_new_recipient(a))
        wait = 0;
    a->loaded.next_attempt_s = now + wait;
    write_deferral(a, now);
    if (a->is_delete_wanted) {
        remove_message(a);
        return;
    }
    if (wait == 0 && !a->is_hold_wanted && !a->is_requeue_wanted) {
        active_again(a);
        return;
    }
    bool is_forced = e->is_flush_wanted;
    e->is_forced = is_forced;
    e->is_flush_wanted = false;
    e->next_attempt_s = is_forced ? now : a->loaded.next_attempt_s;
    bool is_held = a->is_hold_wanted;
    active_free(a);
    entry_move(e, is_held ? ENTRY_ON_HOLD : ENTRY_DEFERRED);
    active_kick();
}

static bool is_delay_due(const struct active *a)
{
    int64_t age = clock_wall_s() - a->entry->arrival_us / 1000000;

    return qmgr_config.delay_warning_s > 0 && age >= qmgr_config.delay_warning_s &&
           (a->loaded.flags & ENTRY_WARNED) == 0 && has_subject(a, BOUNCE_DELAY);
}

static void conclude(struct active *a)
{
    a->pins--;
    if (a->is_delete_wanted || is_over(a))
        remove_message(a);
    else
        defer_message(a);
}

static void send_notifications(struct active *a)
{
    if (!a->is_delete_wanted && has_subject(a, BOUNCE_FAILURE))
        notify(a, BOUNCE_FAILURE);
    if (!a->is_delete_wanted && has_subject(a, BOUNCE_SUCCESS))
        notify(a, BOUNCE_SUCCESS);
    if (!a->is_delete_wanted && is_delay_due(a) && notify(a, BOUNCE_DELAY) == 0)
        a->loaded.flags |= ENTRY_WARNED;
    conclude(a);
}

static void run_notifier(void *arg)
{
    struct list *item;

    /* What is left at the end of this qmgr is due at once for the next. */
    while (!task_is_cancelled() && (item = list_pop(&unnotified)) != NULL)
        send_notifications(LIST_ITEM(item, struct active, link));
    notifiers--;
}

static void start_notifier(void)
{
    struct list *item;

    if (notifiers >= NOTIFIERS_MAX)
        return;
    if (tasks_spawn("notify", run_notifier, NULL) == 0)
        notifiers++;
    else if (notifiers == 0)
        while ((item = list_pop(&unnotified)) != NULL)
            conclude(LIST_ITEM(item, struct active, link));
}

void finish_pass(struct active *a)
{
    a->pins++; /* until conclude() */
    a->entry->is_forced = false;
    if (loaded_pending(&a->loaded) > 0 && !a->is_delete_wanted && !a->is_hold_wanted &&
        !a->is_requeue_wanted && is_expired(a))
        expire(a);
    settle_unwanted(a);
    bool is_quiet = a->is_delete_wanted || (!has_subject(a, BOUNCE_FAILURE) &&
                                            !has_subject(a, BOUNCE_SUCCESS) && !is_delay_due(a));
    /* A notification may take long, and agents forget their results before it ends. */
    if (is_quiet) {
        conclude(a);
        return;
    }
    ledger_write_state(a->entry, &a->loaded);
    list_append(&unnotified, &a->link);
    start_notifier();
}
