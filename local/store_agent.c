#include "local/store_agent.h"

#include <errno.h>

#include "auth/auth.h"
#include "base/error.h"
#include "base/log.h"
#include "store/store.h"

enum { HEADER_MAX = 256 * 1024 }; /* looked through for a loop */

static struct {
    struct store *store;
    struct auth_client *auth;
    int64_t patience_ms;
} shared;

int store_agent_start(const struct conf *conf, int directory)
{
    struct store_options options;

    if (directory < 0) {
        log_error("store_directory %s: not there", conf_string(conf, "store_directory"));
        return -ENOENT;
    }
    shared.auth = auth_client_new();
    if (shared.auth == NULL)
        return -ENOMEM;
    shared.patience_ms = conf_ms(conf, "ipc_timeout");
    store_options_load(&options, conf);
    return store_new(&shared.store, directory, &options);
}

/* --- results --- */

static void report(struct deliver_job *job, size_t i, enum deliver_status status, const char *dsn,
                   struct span reason)
{
    struct deliver_result result = {
        .status = status, .dsn = dsn, .reason = reason, .relay = SPAN_LIT("store")};

    deliver_report(job, i, &result);
}

static void report_error(struct deliver_job *job, size_t i, int rc)
{
    const char *text = arena_printf(&job->arena, "mailbox delivery failed: %s", error_text(rc));
    const char *dsn = "4.3.0";

    if (rc == -ENOSPC || rc == -EDQUOT)
        dsn = "4.3.1"; /* RFC 3463 3.4: mail system full */
    else if (rc == -EINVAL || rc == ERR_VERSION)
        dsn = "4.3.5";
    else if (rc == ERR_LIMIT)
        dsn = "4.2.2";
    report(job, i, DELIVER_DEFERRED, dsn, span_cstr(text));
}

/* --- the message --- */

/* Whether the header says that the message was delivered to this address before. */
static bool is_loop(struct deliver_job *job, struct span address)
{
    struct span name = SPAN_LIT("Delivered-To:"), rest, line;
    uint64_t size = queue_content_header_size(&job->content);
    struct str header = {0};
    bool found = false;

    if (size > HEADER_MAX)
        size = HEADER_MAX;
    if (queue_content_copy(&job->content, 0, size, &header) == 0) {
        rest = str_span(&header);
        while (!found && span_next(&rest, '\n', &line)) {
            if (span_istarts(line, name))
                found = span_ieq(span_trim(span_drop(line, name.n)), address);
        }
    }
    str_fini(&header);
    return found;
}

/* An address as a header's value: nothing in it may end the line. */
static void put_address(struct str *out, struct span address)
{
    for (size_t i = 0; i < address.n; i++) {
        unsigned char c = (unsigned char)address.p[i];
        str_append_char(out, c < 32 || c == 127 ? '?' : (char)c);
    }
}

static int make_prefix(struct str *out, struct deliver_job *job, struct span address)
{
    str_append_cstr(out, "Return-Path: <");
    put_address(out, job->message->sender);
    str_append_cstr(out, ">\r\nDelivered-To: ");
    put_address(out, address);
    return str_append_cstr(out, "\r\n");
}

static ssize_t read_content(const void *arg, uint64_t offset, void *buf, size_t n)
{
    return queue_content_read(arg, offset, buf, n);
}

/* One run of octets in memory needs no copy. */
static void set_content(struct store_append *m, const struct queue_content *c)
{
    m->fd = -1;
    if (c->fd < 0 && c->extents.len == 1 && c->extents.items[0].offset <= c->inline_octets.n &&
        c->extents.items[0].length <= c->inline_octets.n - c->extents.items[0].offset) {
        m->content = span_take(span_drop(c->inline_octets, c->extents.items[0].offset),
                               c->extents.items[0].length);
        return;
    }
    m->read = read_content;
    m->read_arg = c;
    m->length = queue_content_size(c);
}

/* --- delivery --- */

static int append(struct deliver_job *job, struct span account, struct span address,
                  struct store_appended *out)
{
    struct str prefix = {0}, id = {0};
    struct store_append m = {.is_retry = job->attempt > 1};
    int rc;

    set_content(&m, &job->content);
    str_printf(&id, "%s %.*s", job->queue_id, SPAN_ARG(address));
    rc = make_prefix(&prefix, job, address);
    m.prefix = str_span(&prefix);
    m.delivery_id = str_span(&id);
    if (rc == 0)
        rc = str_error(&id);
    if (rc == 0)
        rc = store_deliver(shared.store, account, &m, out);
    str_fini(&prefix);
    str_fini(&id);
    return rc;
}

static void deliver_one(struct deliver_job *job, size_t i)
{
    struct span address = job->message->recipients.items[i].address;
    struct store_appended out;
    struct str account = {0};
    int rc = auth_lookup(shared.auth, address, &account, deadline_in(shared.patience_ms));

    if (rc == ERR_NOT_FOUND) {
        const char *text = arena_printf(&job->arena, "unknown user: \"%.*s\"", SPAN_ARG(address));
        report(job, i, DELIVER_BOUNCED, "5.1.1", span_cstr(text));
    } else if (rc < 0) {
        report(job, i, DELIVER_DEFERRED, "4.3.0", SPAN_LIT("user look-up failed"));
    } else if (job->message->flags & QUEUE_MESSAGE_PROBE) {
        report(job, i, DELIVER_DELIVERABLE, "2.0.0", SPAN_LIT("delivers to mailbox"));
    } else if (is_loop(job, address)) {
        const char *text =
            arena_printf(&job->arena, "mail forwarding loop for %.*s", SPAN_ARG(address));
        report(job, i, DELIVER_BOUNCED, "5.4.6", span_cstr(text));
    } else {
        rc = append(job, str_span(&account), address, &out);
        if (rc == 0)
            report(job, i, DELIVER_SENT, "2.0.0", SPAN_LIT("delivered to mailbox"));
        else
            report_error(job, i, rc);
    }
    str_fini(&account);
}

void store_agent_deliver(struct deliver_job *job, void *arg)
{
    job->times.connected = clock_wall_us();
    for (size_t i = 0; i < job->message->recipients.len && !task_is_cancelled(); i++)
        deliver_one(job, i);
}
