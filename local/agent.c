#include "local/agent.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"
#include "local/aliases.h"
#include "local/forward.h"
#include "local/mailbox_child.h"
#include "mail/address.h"
#include "map/map.h"
#include "queue/queue.h"
#include "route/route.h"
#include "service/service.h"

/* The next hop of an expanded recipient whose aliases were looked at already. */
#define NEXT_HOP_MAILBOX "mailbox"

static struct {
    struct route *route;
    struct map_list *alias_maps;
    struct alias_table aliases;
    struct queue_client *queue;
    const char *program; /* local-mailbox */
    const char *spool, *home_mailbox, *locks;
    const char *nobody; /* whose rights suffice to look through a header */
    char limit[32], lock_attempts[32], lock_delay[32], stale_lock[32];
} shared;

int agent_load(const struct conf *conf, struct str *why)
{
    struct str program = {0};
    int rc = route_load(&shared.route, conf, why);

    if (rc == 0)
        rc = map_list_open(&shared.alias_maps, conf, "alias_maps", why);
    str_printf(&program, "%s/local-mailbox", conf_string(conf, "daemon_directory"));
    shared.program = str_steal(&program);
    return rc == 0 && shared.program == NULL ? -ENOMEM : rc;
}

int agent_start(const struct conf *conf)
{
    shared.spool = conf_string(conf, "mail_spool_directory");
    shared.home_mailbox = conf_string(conf, "home_mailbox");
    shared.locks = conf_string(conf, "mailbox_delivery_lock");
    shared.nobody = conf_string(conf, "default_privs");
    shared.aliases = (struct alias_table){
        .maps = shared.alias_maps,
        .route = shared.route,
        .transport = span_cstr(service_entry_name()),
        .limit = (size_t)conf_int(conf, "alias_expansion_limit"),
        .has_owners = conf_bool(conf, "owner_request_special"),
        .owner_is_expanded = conf_bool(conf, "expand_owner_alias"),
    };
    snprintf(shared.limit, sizeof(shared.limit), "limit=%lld",
             (long long)conf_int(conf, "mailbox_size_limit"));
    snprintf(shared.lock_attempts, sizeof(shared.lock_attempts), "lock_attempts=%lld",
             (long long)conf_int(conf, "deliver_lock_attempts"));
    snprintf(shared.lock_delay, sizeof(shared.lock_delay), "lock_delay=%lld",
             (long long)conf_seconds(conf, "deliver_lock_delay"));
    snprintf(shared.stale_lock, sizeof(shared.stale_lock), "stale_lock=%lld",
             (long long)conf_seconds(conf, "stale_lock_time"));
    map_on_change(service_give_up);
    shared.queue = queue_client_new("qmgr", conf_ms(conf, "ipc_timeout"));
    return shared.queue != NULL ? 0 : -ENOMEM;
}

/* --- the Unix user --- */

static void report(struct deliver_job *job, size_t i, enum deliver_status status, const char *dsn,
                   struct span reason)
{
    deliver_report(job, i,
                   &(struct deliver_result){
                       .status = status, .dsn = dsn, .reason = reason, .relay = SPAN_LIT("local")});
}

static void report_exit(struct deliver_job *job, size_t i, int code, struct span words)
{
    switch (code) {
    case DEPOSIT_DONE:
        report(job, i, DELIVER_SENT, "2.0.0", words);
        break;
    case DEPOSIT_NO_USER:
        report(job, i, DELIVER_BOUNCED, "5.1.1", words);
        break;
    case DEPOSIT_LOOP:
        report(job, i, DELIVER_BOUNCED, "5.4.6", words);
        break;
    case DEPOSIT_TOO_LARGE:
        report(job, i, DELIVER_BOUNCED, "5.2.2", words);
        break;
    default:
        report(job, i, DELIVER_DEFERRED, "4.2.0",
               words.n > 0 ? words : SPAN_LIT("mailbox delivery failed"));
    }
}

/* "name=value" for the child; NULL without memory. */
static char *argument(struct arena *arena, const char *name, struct span value)
{
    return arena_printf(arena, "%s=%.*s", name, SPAN_ARG(value));
}

static struct span mailbox_path(struct arena *arena, struct span user)
{
    struct span spool = span_cstr(shared.spool);
    bool is_maildir;
    char *path;

    if (shared.home_mailbox[0] != '\0')
        return span_cstr(shared.home_mailbox);
    /* As in Postfix, a final "/" means a Maildir. */
    is_maildir = spool.n > 0 && spool.p[spool.n - 1] == '/';
    path = arena_printf(arena, "%s%s%.*s%s", shared.spool, is_maildir ? "" : "/", SPAN_ARG(user),
                        is_maildir ? "/" : "");
    return span_cstr(path);
}

/* A name that can be part of a path and of the password file. */
static bool is_user_name(struct span name)
{
    if (name.n == 0 || name.n > 64 || name.p[0] == '.' || name.p[0] == '-')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (!ascii_is_print(name.p[i]) || strchr("/ :,\"'\\", name.p[i]) != NULL)
            return false;
    }
    return true;
}

static void deliver_to_user(struct deliver_job *job, size_t i, struct span user)
{
    const struct queue_message *m = job->message;
    const struct queue_recipient *r = &m->recipients.items[i];
    struct str prefix = {0}, words = {0}, sender = {0};
    struct mailbox_child child = {.program = shared.program, .content = &job->content};
    char name[] = "local-mailbox";
    int code;

    address_print_text(&sender, m->sender); /* quoted where it must be */
    char *argv[] = {name,
                    argument(&job->arena, "user", user),
                    argument(&job->arena, "path", mailbox_path(&job->arena, user)),
                    argument(&job->arena, "address", r->address),
                    argument(&job->arena, "sender", str_span(&sender)),
                    argument(&job->arena, "locks", span_cstr(shared.locks)),
                    shared.limit,
                    shared.lock_attempts,
                    shared.lock_delay,
                    shared.stale_lock,
                    NULL};
    str_printf(&prefix, "Return-Path: <%s>\r\n", str_cstr(&sender));
    str_printf(&prefix, "X-Original-To: %.*s\r\n",
               SPAN_ARG(r->original.n > 0 ? r->original : r->address));
    str_printf(&prefix, "Delivered-To: %.*s\r\n", SPAN_ARG(r->address));
    child.prefix = str_span(&prefix);
    child.arguments = argv;
    if (!is_user_name(user)) {
        report(job, i, DELIVER_BOUNCED, "5.1.1", SPAN_LIT("unknown user"));
    } else if (argv[1] == NULL || argv[2] == NULL || argv[3] == NULL || argv[4] == NULL ||
               argv[5] == NULL || str_error(&sender) < 0 || str_error(&prefix) < 0) {
        report(job, i, DELIVER_DEFERRED, "4.3.0", SPAN_LIT("out of memory"));
    } else {
        code = mailbox_child_run(&child, &words);
        if (code < 0)
            log_error("%s: %s", shared.program, error_text(code));
        report_exit(job, i, code < 0 ? DEPOSIT_TRY_AGAIN : code, str_span(&words));
    }
    str_fini(&prefix);
    str_fini(&words);
    str_fini(&sender);
}

/* --- aliases --- */

/* Members to whom the message is submitted anew, with this sender. */
struct parcel {
    struct span sender;
    struct members to;
};

/* The members of an alias. */
struct audience {
    struct arena *arena;
    struct span sender;  /* of the message */
    struct members here; /* get the message as it is */
    ARRAY(struct parcel) away;
    struct member_set known;
};

static void audience_fini(struct audience *a)
{
    for (size_t i = 0; i < a->away.len; i++)
        array_free(&a->away.items[i].to.list);
    array_free(&a->away);
    array_free(&a->here.list);
    member_set_fini(&a->known);
}

/* The parcel of this sender; NULL without memory. The last one is the likely one. */
static struct parcel *find_parcel(struct audience *a, struct span sender)
{
    struct parcel *slot;

    for (size_t i = a->away.len; i-- > 0;)
        if (span_ieq(a->away.items[i].sender, sender))
            return &a->away.items[i];
    slot = array_push(&a->away);
    if (slot != NULL)
        slot->sender = sender;
    return slot;
}

/* A member of an alias with an owner gets the message from that owner, so that failures go
 * there and not to who wrote to the list. What nobody sent stays so. */
static int add_member(struct audience *a, const struct queue_recipient *member, struct span owner)
{
    bool has_owner = owner.n > 0 && a->sender.n > 0 && !span_ieq(owner, a->sender);
    struct parcel *parcel;
    int rc = forward_is_final(shared.route, member->address, a->arena);

    if (rc < 0)
        return rc;
    if (rc == 1 && !has_owner)
        return members_add(&a->here, &a->known, member, a->arena);
    parcel = find_parcel(a, has_owner ? owner : a->sender);
    if (parcel == NULL)
        return -ENOMEM;
    return rc == 1 ? members_add(&parcel->to, &a->known, member, a->arena)
                   : forward_expand(shared.route, member, a->arena, &parcel->to, &a->known);
}

/* ERR_NOT_SUPPORTED with *refused when there is a member that this program does not
 * deliver to. */
static int sort_members(struct audience *a, const struct queue_recipient *r,
                        const struct alias_expansion *e, struct span *refused)
{
    for (size_t i = 0; i < e->items.len; i++) {
        const struct alias_item *item = &e->items.items[i];
        struct queue_recipient member = {.address = item->text,
                                         .original = r->original.n > 0 ? r->original : r->address};
        int rc;

        if (item->kind == ALIAS_REFUSED) {
            *refused = item->text;
            return ERR_NOT_SUPPORTED;
        }
        if (item->kind == ALIAS_MAILBOX) {
            member.transport = shared.aliases.transport;
            member.next_hop = SPAN_LIT(NEXT_HOP_MAILBOX);
        }
        if (span_find(item->text, '@') < 0) /* a user's name */
            member.address = span_cstr(arena_printf(a->arena, "%.*s@%.*s", SPAN_ARG(item->text),
                                                    SPAN_ARG(route_domain(r->address))));
        if (member.address.n == 0)
            return -ENOMEM;
        rc = add_member(a, &member, item->owner);
        if (rc == 0)
            rc = task_breathe();
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Whether the message was here before: its header has Delivered-To: of this address. The
 * header is looked through by a child without rights. 0, DEPOSIT_LOOP, or what is reported
 * as a deferral, with words. */
static int find_loop(struct deliver_job *job, const struct queue_recipient *r, struct str *words)
{
    struct queue_content header = job->content;
    char name[] = "local-mailbox", check[] = "check=loop";
    char *argv[] = {name, argument(&job->arena, "user", span_cstr(shared.nobody)),
                    argument(&job->arena, "address", r->address), check, NULL};
    char *prefix = arena_printf(&job->arena, "Delivered-To: %.*s\r\n", SPAN_ARG(r->address));
    struct mailbox_child child = {.program = shared.program,
                                  .prefix = span_cstr(prefix),
                                  .arguments = argv,
                                  .content = &header};
    size_t n = 0;

    while (n < header.extents.len && (header.extents.items[n].flags & QUEUE_EXTENT_HEADER) != 0)
        n++;
    header.extents.len = n; /* the items are the job's */
    if (argv[1] == NULL || argv[2] == NULL || prefix == NULL)
        return DEPOSIT_TRY_AGAIN;
    int code = mailbox_child_run(&child, words);
    if (code < 0)
        log_error("%s: %s", shared.program, error_text(code));
    return code < 0 ? DEPOSIT_TRY_AGAIN : code;
}

/* Submit the message anew to those who are away, once for each sender. When that fails for
 * one of several senders, all get it at the next try. False: reported. */
static bool send_away(struct deliver_job *job, size_t i, const struct audience *a,
                      struct str *words)
{
    const struct queue_recipient *r = &job->message->recipients.items[i];
    struct str ids = {0};
    int code = find_loop(job, r, words), rc = 0;

    if (code == DEPOSIT_DONE) {
        for (size_t k = 0; rc == 0 && k < a->away.len; k++) {
            const struct parcel *parcel = &a->away.items[k];

            if (ids.len > 0)
                str_append_cstr(&ids, ", ");
            if (parcel->to.list.len > 0)
                rc = forward_submit(shared.queue, job, r, parcel->sender, &parcel->to, &ids);
        }
        str_clear(words);
        if (rc == 0)
            str_printf(words, "forwarded as %s", str_cstr(&ids));
        else
            str_printf(words, "unable to forward message: %s", error_text(rc));
        if (rc < 0)
            report(job, i, DELIVER_DEFERRED, "4.3.0", str_span(words));
    } else if (code == DEPOSIT_LOOP) {
        report_exit(job, i, code, str_span(words));
    } else {
        report(job, i, DELIVER_DEFERRED, "4.3.0",
               words->len > 0 ? str_span(words) : SPAN_LIT("unable to forward message"));
    }
    str_fini(&ids);
    return code == DEPOSIT_DONE && rc == 0;
}

static void report_members(struct deliver_job *job, size_t i, const struct members *here,
                           struct span words)
{
    deliver_report(
        job, i,
        &(struct deliver_result){.status = here->list.len > 0 ? DELIVER_EXPANDED : DELIVER_SENT,
                                 .dsn = "2.0.0",
                                 .reason = words.n > 0 ? words : SPAN_LIT("alias expanded"),
                                 .relay = SPAN_LIT("local"),
                                 .expansion = here->list.items,
                                 .expansion_count = here->list.len});
}

/* Whether the members fit a result; a message of its own takes any number of them. */
static bool fits_result(const struct members *here)
{
    struct deliver_result result = {.status = DELIVER_EXPANDED,
                                    .dsn = "2.0.0",
                                    .expansion = here->list.items,
                                    .expansion_count = here->list.len};
    struct str encoded = {0};

    deliver_result_encode(&result, 0, &encoded);
    bool fits = encoded.len < DELIVER_RESULT_MAX - 1024 && str_error(&encoded) == 0;
    str_fini(&encoded);
    return fits;
}

/* All who are here are away, with the sender of the message. */
static int move_away(struct audience *a)
{
    struct parcel *parcel = find_parcel(a, a->sender);

    for (size_t i = 0; parcel != NULL && i < a->here.list.len; i++) {
        struct queue_recipient *slot = array_push(&parcel->to.list);
        if (slot == NULL)
            return -ENOMEM;
        *slot = a->here.list.items[i];
    }
    array_clear(&a->here.list);
    return parcel != NULL ? 0 : -ENOMEM;
}

static void report_trouble(struct deliver_job *job, size_t i, struct span name, int rc)
{
    char *words;

    if (rc == ERR_LIMIT) {
        words =
            arena_printf(&job->arena, "alias %.*s: too many members (alias_expansion_limit is %zu)",
                         SPAN_ARG(name), shared.aliases.limit);
        log_warn("%s", words != NULL ? words : "");
        report(job, i, DELIVER_DEFERRED, "4.6.0", span_cstr(words));
    } else if (rc == -ELOOP) {
        report(job, i, DELIVER_BOUNCED, "5.4.6", SPAN_LIT("aliases nest too deeply"));
    } else {
        report(job, i, DELIVER_DEFERRED, "4.3.0", SPAN_LIT("alias database unavailable"));
    }
}

static void report_member_trouble(struct deliver_job *job, size_t i, struct span name, int rc,
                                  struct span refused)
{
    const char *words;

    if (rc == ERR_NOT_SUPPORTED) {
        words =
            arena_printf(&job->arena,
                         "alias %.*s: delivery to \"%.*s\" is not supported: commands, files and "
                         ":include: are not delivered to",
                         SPAN_ARG(name), SPAN_ARG(refused));
        report(job, i, DELIVER_DEFERRED, "4.3.5", span_cstr(words));
    } else if (rc == ERR_LIMIT) {
        words = arena_printf(&job->arena,
                             "alias %.*s: the virtual aliases of a member are over their limit",
                             SPAN_ARG(name));
        report(job, i, DELIVER_DEFERRED, "4.6.0", span_cstr(words));
    } else {
        report_trouble(job, i, name, rc);
    }
}

static void deliver_expanded(struct deliver_job *job, size_t i, struct span name,
                             const struct alias_expansion *e)
{
    const struct queue_recipient *r = &job->message->recipients.items[i];
    struct audience a = {.arena = &job->arena, .sender = job->message->sender};
    struct span refused = SPAN_NONE;
    struct str words = {0};
    int rc = sort_members(&a, r, e, &refused);

    if (rc == 0 && !fits_result(&a.here))
        rc = move_away(&a);
    if (rc < 0)
        report_member_trouble(job, i, name, rc, refused);
    else if (a.away.len == 0 || send_away(job, i, &a, &words))
        report_members(job, i, &a.here, str_span(&words));
    str_fini(&words);
    audience_fini(&a);
}

static void deliver_recipient(struct deliver_job *job, size_t i)
{
    struct span address = job->message->recipients.items[i].address, local, extension;
    struct alias_expansion e = {0};
    int rc = alias_fold(route_local_part(address), &job->arena, &local);

    if (rc == 0)
        rc = span_eq(job->next_hop, SPAN_LIT(NEXT_HOP_MAILBOX))
                 ? ERR_NOT_FOUND
                 : alias_expand(&shared.aliases, local, &job->arena, &e);
    if (rc == ERR_NOT_FOUND)
        deliver_to_user(job, i, route_split_extension(shared.route, local, &extension));
    else if (rc == 0)
        deliver_expanded(job, i, local, &e);
    else
        report_trouble(job, i, local, rc);
    alias_expansion_free(&e);
}

void agent_deliver(struct deliver_job *job, void *arg)
{
    job->times.connected = clock_wall_us();
    for (size_t i = 0; i < job->message->recipients.len; i++)
        deliver_recipient(job, i);
}
