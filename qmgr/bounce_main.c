/* bounce: turns results into notifications. See bounce(8). */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "qmgr/report.h"
#include "qmgr/submit.h"
#include "queue/queue.h"
#include "route/route.h"
#include "service/service.h"

enum { COPY_PIECE = 32768 };

static struct {
    const char *myhostname, *mail_name, *myorigin, *double_bounce_sender;
    const char *notice_2bounce, *notice_bounce, *notice_delay, *notify_classes;
    uint64_t size_limit;
    int64_t delay_warning_s, queue_lifetime_s, ipc_timeout_ms;
    struct route *route;
    struct queue_client *queue;
} config;

static bool has_class(const char *class)
{
    struct span list = span_cstr(config.notify_classes), item;

    while (span_token(&list, ", \t\r\n", &item))
        if (span_ieq(item, span_cstr(class)))
            return true;
    return false;
}

/* --- one notification --- */

struct copy_job {
    const struct queue_content *content;
    uint64_t offset, left;
    struct str out;
    int rc;
};

static void run_copy(void *arg)
{
    struct copy_job *job = arg;
    uint64_t n = job->left < COPY_PIECE ? job->left : COPY_PIECE;

    str_clear(&job->out);
    job->rc = queue_content_copy(job->content, job->offset, n, &job->out);
    job->offset += n;
    job->left -= n;
}

/* The original, in pieces read on a worker. */
static int append_original(struct queue_upload *u, const struct bounce_request *r,
                           const struct report_options *o)
{
    struct copy_job job = {.content = &r->content, .left = report_returned_size(r, o)};
    int rc = 0;

    while (rc == 0 && job.left > 0) {
        rc = task_offload(TASK_POOL_STORE, run_copy, &job);
        if (rc == 0)
            rc = job.rc;
        if (rc == 0)
            rc = queue_upload_append(u, str_span(&job.out));
    }
    str_fini(&job.out);
    return rc;
}

static int append_report(struct queue_upload *u, const struct bounce_request *r,
                         const struct report_options *o)
{
    struct str text = {0};
    int rc = report_print(r, o, &text);

    if (rc == 0)
        rc = queue_upload_append(u, str_span(&text));
    if (rc == 0)
        rc = append_original(u, r, o);
    str_clear(&text);
    if (rc == 0)
        rc = report_print_end(o, &text);
    if (rc == 0)
        rc = queue_upload_append(u, str_span(&text));
    str_fini(&text);
    return rc;
}

static int send_notification(const struct bounce_request *r, struct report_options *o,
                             const char *what, uint32_t flags, struct span sender)
{
    struct queue_message m;
    struct queue_upload *u = NULL;
    struct str message_id = {0};
    char id[QUEUE_ID_TEXT_MAX];

    queue_message_init(&m, NULL);
    int rc = queue_take_id(config.queue, &m.id);
    o->queue_id = queue_id_format(id, m.id);
    m.arrival_us = m.id.time_us;
    m.sender = sender;
    m.flags = flags | (r->message.flags & QUEUE_MESSAGE_SMTPUTF8);
    m.rewrite_context = SPAN_LIT("local");
    if ((queue_content_flags(&r->content) & QUEUE_EXTENT_8BIT) != 0)
        m.body = QUEUE_BODY_8BITMIME;
    if (rc == 0)
        rc = submit_add_recipient(&m, config.route, o->recipient);
    if (rc == 0)
        rc = queue_upload_begin(&u, config.queue, NULL);
    if (rc == 0)
        rc = append_report(u, r, o);
    if (rc == 0) {
        report_message_id(o, &message_id);
        m.message_id = str_span(&message_id);
        submit_log("cleanup", "%s: message-id=<%.*s>", id, SPAN_ARG(m.message_id));
        rc = queue_commit(config.queue, &m, u);
    } else {
        queue_upload_abort(u);
    }
    if (rc == 0)
        log_info("%s: %s: %s", o->original_id, what, id);
    else
        log_warn("%s: %s cannot be queued: %s", o->original_id, what, error_text(rc));
    str_fini(&message_id);
    queue_message_fini(&m);
    return rc;
}

/* --- who is told --- */

/* Our own: another host's postmaster notification is returned to that host. */
static bool is_double_bounce(struct span sender)
{
    return span_ieq(route_local_part(sender), span_cstr(config.double_bounce_sender)) &&
           span_ieq(route_domain(sender), span_cstr(config.myhostname));
}

/* From an address whose failures end here. */
static int tell_postmaster(const struct bounce_request *r, struct report_options *o,
                           const char *recipient, const char *what)
{
    struct str sender = {0};

    str_printf(&sender, "%s@%s", config.double_bounce_sender, config.myhostname);
    o->audience = REPORT_TO_POSTMASTER;
    o->recipient = span_cstr(recipient);
    int rc = send_notification(r, o, what, QUEUE_MESSAGE_DOUBLE_BOUNCE | QUEUE_MESSAGE_INTERNAL,
                               str_span(&sender));
    str_fini(&sender);
    return rc;
}

static int notify(const struct bounce_request *r)
{
    static const char *const whats[BOUNCE_KINDS] = {"sender non-delivery notification",
                                                    "sender delay notification",
                                                    "sender delivery status notification"};
    char original_id[QUEUE_ID_TEXT_MAX];
    struct report_options o = {.myhostname = config.myhostname,
                               .mail_name = config.mail_name,
                               .size_limit = config.size_limit,
                               .now_s = clock_wall_s(),
                               .delay_warning_s = config.delay_warning_s,
                               .queue_lifetime_s = config.queue_lifetime_s,
                               .original_id = queue_id_format(original_id, r->message.id),
                               .recipient = r->message.sender};
    bool is_failure = r->kind == BOUNCE_FAILURE;

    if (is_double_bounce(r->message.sender)) {
        if (is_failure)
            log_warn("%s: undeliverable postmaster notification discarded", original_id);
        return 0;
    }
    if (r->message.sender.n == 0) {
        /* The null sender is never answered (RFC 5321 4.5.5). */
        return is_failure && has_class("2bounce")
                   ? tell_postmaster(r, &o, config.notice_2bounce,
                                     "postmaster non-delivery notification")
                   : 0;
    }
    int rc = send_notification(r, &o, whats[r->kind], QUEUE_MESSAGE_BOUNCE, SPAN_NONE);
    if (rc == 0 && is_failure && has_class("bounce"))
        tell_postmaster(r, &o, config.notice_bounce, "postmaster non-delivery notification");
    if (rc == 0 && r->kind == BOUNCE_DELAY && has_class("delay"))
        tell_postmaster(r, &o, config.notice_delay, "postmaster delay notification");
    return rc;
}

/* --- the service --- */

static int on_load(const struct conf *conf, struct str *why)
{
    config.myhostname = conf_string(conf, "myhostname");
    config.mail_name = conf_string(conf, "mail_name");
    config.myorigin = conf_string(conf, "myorigin");
    config.double_bounce_sender = conf_string(conf, "double_bounce_sender");
    config.notice_2bounce = conf_string(conf, "2bounce_notice_recipient");
    config.notice_bounce = conf_string(conf, "bounce_notice_recipient");
    config.notice_delay = conf_string(conf, "delay_notice_recipient");
    config.notify_classes = conf_string(conf, "notify_classes");
    config.size_limit = (uint64_t)conf_int(conf, "bounce_size_limit");
    config.delay_warning_s = conf_seconds(conf, "delay_warning_time");
    config.queue_lifetime_s = conf_seconds(conf, "maximal_queue_lifetime");
    config.ipc_timeout_ms = conf_ms(conf, "ipc_timeout");
    return route_load(&config.route, conf, why);
}

static int on_start(const struct conf *conf)
{
    config.queue = queue_client_new("qmgr", config.ipc_timeout_ms);
    return config.queue == NULL ? -ENOMEM : 0;
}

/* qmgr has one connection, and several calls on it: what they commit shares syncs. */
struct call {
    struct ipc_conn *c;
    struct ipc_in *m;
};

static void run_call(void *arg)
{
    struct call *call = arg;
    struct bounce_request r;
    struct ipc_out reply = {0};
    int rc = bounce_request_decode(&r, call->m);

    if (rc == 0)
        rc = notify(&r);
    bounce_request_fini(&r);
    ipc_begin_reply(&reply, call->m);
    ipc_put_i64(&reply, "error", rc);
    ipc_send(call->c, &reply, deadline_in(config.ipc_timeout_ms));
    ipc_out_fini(&reply);
    ipc_in_free(call->m);
    free(call);
}

/* Takes m. */
static int start_call(struct task_group *calls, struct ipc_conn *c, struct ipc_in *m)
{
    struct call *call = ipc_is(m, "notify") ? NEW(struct call) : NULL;
    int rc = !ipc_is(m, "notify") ? ERR_PROTOCOL : call == NULL ? -ENOMEM : 0;

    if (rc == 0) {
        *call = (struct call){c, m};
        rc = task_group_spawn(calls, "bounce-call", run_call, call);
    }
    if (rc < 0) {
        free(call);
        ipc_in_free(m);
    }
    return rc;
}

static void on_client(struct service_client *client)
{
    struct task_group calls;
    struct ipc_conn *c;
    struct ipc_in *m;
    int rc = 0;

    if (ipc_accept(&c, client->fd, BOUNCE_PROTOCOL, BOUNCE_PROTOCOL_VERSION,
                   deadline_in(IPC_HELLO_MS)) < 0)
        return;
    task_group_init(&calls);
    while (rc == 0 && (rc = ipc_receive(c, &m, DEADLINE_NONE)) == 0)
        rc = start_call(&calls, c, m);
    if (task_is_cancelled())
        task_group_cancel(&calls);
    bool shield = task_shield(true);
    task_group_wait(&calls, DEADLINE_NONE);
    ipc_close(c);
    task_shield(shield);
}

static void on_stop(void)
{
    queue_client_free(config.queue);
    route_free(config.route);
}

static const char *const askers[] = {"waypost_queue_user", NULL};

static const struct service bounce_service = {
    .name = "bounce",
    .kind = SERVICE_SINGLE,
    .user_parameter = "waypost_queue_user",
    .askers = askers,
    .is_chrooted = true,
    .on_load = on_load,
    .on_start = on_start,
    .on_client = on_client,
    .on_stop = on_stop,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &bounce_service);
}
