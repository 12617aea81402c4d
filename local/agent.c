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
    struct map_list *aliases;
    struct queue_client *queue;
    const char *program; /* local-mailbox */
    const char *spool, *home_mailbox, *locks;
    const char *nobody; /* whose rights suffice to look through a header */
    bool owner_is_expanded;
    char limit[32], lock_attempts[32], lock_delay[32], stale_lock[32];
} shared;

int agent_load(const struct conf *conf, struct str *why)
{
    struct str program = {0};
    int rc = route_load(&shared.route, conf, why);

    if (rc == 0)
        rc = map_list_open(&shared.aliases, conf, "alias_maps", why);
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
    shared.owner_is_expanded = conf_bool(conf, "expand_owner_alias");
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

static int is_local_domain(void *arg, struct span domain)
{
    return route_is_local_domain(shared.route, domain);
}

/* The members of an alias: who gets the message as it is (here), and to whom it is
 * submitted anew (away). ERR_NOT_SUPPORTED with *refused when there is one that this
 * program does not deliver to. */
static int add_address(const struct queue_recipient *r, struct span address, struct arena *arena,
                       struct members *here, struct members *away)
{
    int rc = forward_is_final(shared.route, address, arena);

    if (rc == 0)
        return forward_expand(shared.route, r, address, arena, away);
    if (rc < 0)
        return rc;
    struct queue_recipient *slot = array_push(&here->list);
    if (slot == NULL)
        return -ENOMEM;
    *slot = (struct queue_recipient){.address = address,
                                     .original = r->original.n > 0 ? r->original : r->address};
    return 0;
}

static int split_members(struct deliver_job *job, const struct queue_recipient *r,
                         const struct alias_expansion *e, struct members *here,
                         struct members *away, struct span *refused)
{
    struct span domain = route_domain(r->address);

    for (size_t i = 0; i < e->items.len; i++) {
        const struct alias_item *item = &e->items.items[i];
        const char *address;
        int rc;

        if (item->kind == ALIAS_REFUSED) {
            *refused = item->text;
            return ERR_NOT_SUPPORTED;
        }
        if (span_find(item->text, '@') >= 0)
            address = arena_strdup(&job->arena, item->text);
        else
            address =
                arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(item->text), SPAN_ARG(domain));
        if (address == NULL)
            return -ENOMEM;
        rc = add_address(r, span_cstr(address), &job->arena, here, away);
        if (rc == 0)
            rc = task_breathe();
        if (rc < 0)
            return rc;
        if (item->kind == ALIAS_MAILBOX && here->list.len > 0) {
            struct queue_recipient *last = &here->list.items[here->list.len - 1];
            last->transport = span_cstr(service_entry_name());
            last->next_hop = SPAN_LIT(NEXT_HOP_MAILBOX);
        }
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

/* Submit the message anew to those who are away. With owner-NAME it has that sender, so that
 * failures go to the list's owner and not to who wrote to the list. False: reported. */
static bool send_away(struct deliver_job *job, size_t i, struct span sender,
                      const struct members *away, struct str *words)
{
    const struct queue_recipient *r = &job->message->recipients.items[i];
    struct str id = {0};
    int code = find_loop(job, r, words), rc = 0;

    if (code == DEPOSIT_DONE) {
        rc = forward_submit(shared.queue, job, r, sender, away, &id);
        str_clear(words);
        if (rc == 0)
            str_printf(words, "forwarded as %s", str_cstr(&id));
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
    str_fini(&id);
    return code == DEPOSIT_DONE && rc == 0;
}

/* The address that failures of this alias go to: owner-NAME, or what that stands for
 * with expand_owner_alias. Empty: there is none. ERR_TEMPORARY. */
static int find_owner(struct deliver_job *job, struct span name, struct span domain,
                      struct span *owner)
{
    struct str value = {0};
    struct alias_item item;
    char *owner_name = arena_printf(&job->arena, "owner-%.*s", SPAN_ARG(name));
    struct span rest;
    char *address;
    int rc = owner_name != NULL ? map_list_find(shared.aliases, span_cstr(owner_name), 0, &value)
                                : -ENOMEM;

    *owner = SPAN_NONE;
    if (rc == ERR_NOT_FOUND)
        return 0;
    rest = str_span(&value);
    if (rc == 0) {
        if (shared.owner_is_expanded && alias_next(&rest, &job->arena, &item) && rest.n == 0 &&
            item.kind == ALIAS_ADDRESS)
            address =
                span_find(item.text, '@') >= 0
                    ? arena_strdup(&job->arena, item.text)
                    : arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(item.text), SPAN_ARG(domain));
        else
            address = arena_printf(&job->arena, "%s@%.*s", owner_name, SPAN_ARG(domain));
        *owner = span_cstr(address);
    }
    str_fini(&value);
    return rc;
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

/* All members are away. */
static int move_away(struct members *here, struct members *away)
{
    for (size_t i = 0; i < here->list.len; i++) {
        struct queue_recipient *slot = array_push(&away->list);
        if (slot == NULL)
            return -ENOMEM;
        *slot = here->list.items[i];
    }
    array_clear(&here->list);
    return 0;
}

static void report_trouble(struct deliver_job *job, size_t i, struct span name, int rc,
                           struct span refused)
{
    char *words;

    if (rc == ERR_NOT_SUPPORTED) {
        words =
            arena_printf(&job->arena,
                         "alias %.*s: delivery to \"%.*s\" is not supported: commands, files and "
                         ":include: are not delivered to",
                         SPAN_ARG(name), SPAN_ARG(refused));
        report(job, i, DELIVER_DEFERRED, "4.3.5", span_cstr(words));
    } else if (rc == ERR_LIMIT) {
        report(job, i, DELIVER_BOUNCED, "5.4.6", SPAN_LIT("aliases nest too deeply"));
    } else {
        report(job, i, DELIVER_DEFERRED, "4.3.0", SPAN_LIT("alias database unavailable"));
    }
}

static void deliver_expanded(struct deliver_job *job, size_t i, struct span name,
                             const struct alias_expansion *e)
{
    const struct queue_recipient *r = &job->message->recipients.items[i];
    struct members here = {0}, away = {0};
    struct span refused = SPAN_NONE, owner = SPAN_NONE, sender = job->message->sender;
    struct str words = {0};
    int rc = split_members(job, r, e, &here, &away, &refused);

    if (rc == 0)
        rc = find_owner(job, name, route_domain(r->address), &owner);
    bool has_owner = rc == 0 && owner.n > 0 && sender.n > 0 && !span_ieq(owner, sender);
    if (has_owner)
        sender = owner;
    if (rc == 0 && (has_owner || !fits_result(&here)))
        rc = move_away(&here, &away);
    if (rc < 0)
        report_trouble(job, i, name, rc, refused);
    else if (away.list.len == 0 || send_away(job, i, sender, &away, &words))
        report_members(job, i, &here, str_span(&words));
    str_fini(&words);
    array_free(&here.list);
    array_free(&away.list);
}

static void deliver_recipient(struct deliver_job *job, size_t i)
{
    struct span address = job->message->recipients.items[i].address, extension;
    struct span local = route_local_part(address);
    struct span user = route_split_extension(shared.route, local, &extension);
    struct alias_expansion e = {0};
    int rc = ERR_NOT_FOUND;

    if (!span_eq(job->next_hop, SPAN_LIT(NEXT_HOP_MAILBOX))) {
        rc = alias_expand(shared.aliases, local, is_local_domain, NULL, &job->arena, &e);
        if (rc == ERR_NOT_FOUND && user.n < local.n)
            rc = alias_expand(shared.aliases, user, is_local_domain, NULL, &job->arena, &e);
    }
    if (rc == ERR_NOT_FOUND)
        deliver_to_user(job, i, user);
    else if (rc == 0)
        deliver_expanded(job, i, local, &e);
    else
        report_trouble(job, i, local, rc, SPAN_NONE);
    alias_expansion_free(&e);
}

void agent_deliver(struct deliver_job *job, void *arg)
{
    job->times.connected = clock_wall_us();
    for (size_t i = 0; i < job->message->recipients.len; i++)
        deliver_recipient(job, i);
}
