#include "tests/unit/smtp/support_world.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "smtp/pool.h"

static const char basic[] = "myhostname = me.example.test\n"
                            "inet_interfaces = 127.0.0.1\n"
                            "inet_protocols = ipv4, ipv6\n"
                            "smtp_address_preference = ipv4\n"
                            "smtp_randomize_addresses = no\n"
                            "smtp_tls_security_level = none\n"
                            "compatibility_level = 3.6\n";

static struct world *the_world;
static struct peer peers[WORLD_SERVERS];
static bool is_used[WORLD_SERVERS];

/* --- lib/queue's reports --- */

void deliver_report(struct deliver_job *job, size_t i, const struct deliver_result *r)
{
    str_printf(&the_world->results, "%.*s %s %s %s (%.*s)%s\n",
               SPAN_ARG(job->message->recipients.items[i].address), deliver_status_text(r->status),
               r->dsn, r->relay.n > 0 ? "relay" : "none", SPAN_ARG(r->reason),
               r->site ? " site" : "");
    deliver_log(job->queue_id, &job->message->recipients.items[i], r, &job->times,
                job->connection_use);
}

bool deliver_is_reported(const struct deliver_job *job, size_t i)
{
    return false;
}

/* --- servers --- */

static bool is_at(const struct world_server *server, const struct net_address *to)
{
    struct net_address address;
    uint16_t port = 25;

    if (net_address_parse_port(span_cstr(server->address), &address) == 0)
        port = address.port;
    else if (net_address_parse(span_cstr(server->address), &address) < 0)
        fail_msg("%s", server->address);
    return net_address_eq(&address, to) && port == to->port;
}

static int connect_to_script(const struct settings *s, const struct net_address *to,
                             struct budget *budget, struct stream **out, deadline_t deadline)
{
    struct world *w = the_world;

    for (size_t i = 0; i < WORLD_SERVERS && w->servers[i].address != NULL; i++) {
        if (is_used[i] || !is_at(&w->servers[i], to))
            continue;
        is_used[i] = true;
        if (w->servers[i].script == NULL)
            return -ECONNREFUSED;
        w->connections++;
        peer_init(&peers[i], w->split, w->seed + (unsigned)i, span_cstr(w->servers[i].script));
        peers[i].end = w->servers[i].end;
        peers[i].yields = peers[i].pauses = true;
        *out = peer_stream(&peers[i], budget);
        /* Others get their turn while a connection is made, as in life. */
        task_yield();
        return *out != NULL ? 0 : -ENOMEM;
    }
    return -ENETUNREACH;
}

/* --- jobs --- */

struct run {
    struct settings *settings;
    const struct world_job *job;
};

static void run_job(void *arg)
{
    struct run *run = arg;
    const struct world_job *j = run->job;
    struct queue_message m;
    struct span rest = span_cstr(j->recipients), item;
    struct span content = span_cstr(j->content != NULL ? j->content : "x\r\n");
    struct queue_scan scan = {0};
    struct queue_extent *extent;
    struct deliver_job job = {.message = &m, .queue_id = "3zzzz"};

    queue_message_init(&m, NULL);
    m.sender = span_cstr(j->sender);
    m.flags = j->flags;
    while (span_token(&rest, " ", &item))
        queue_message_add(&m, item)->notify = j->notify;
    queue_content_init(&job.content);
    job.content.inline_octets = content;
    extent = array_push(&job.content.extents);
    *extent = (struct queue_extent){0, content.n, queue_scan(&scan, content)};
    job.next_hop = span_cstr(j->next_hop);
    job.times.handed = job.times.active = clock_wall_us();
    job.times.arrival = job.times.active - j->age_s * INT64_C(1000000);
    delivery_run(&job, run->settings);
    queue_content_fini(&job.content);
    arena_reset(&job.arena);
    queue_message_fini(&m);
}

static void keep_log(void *arg, enum log_level level, struct span text)
{
    struct str *log = arg;

    str_append(log, text);
    str_append_char(log, '\n');
}

bool world_load(struct settings *s, struct conf **conf, const char *main_cf, const char *names,
                struct str *why)
{
    struct str text = {0};
    int rc;

    /* What is set twice is warned about: the rows' own lines come alone. */
    for (struct span rest = span_cstr(basic), line; span_next(&rest, '\n', &line);) {
        struct span name = span_take(line, (size_t)(span_find(line, ' ') + 1));

        if (main_cf == NULL || span_search(span_cstr(main_cf), name) < 0)
            str_printf(&text, "%.*s\n", SPAN_ARG(line));
    }
    str_append_cstr(&text, main_cf != NULL ? main_cf : "");
    rc = conf_load_text(conf, "/nonexistent", "main.cf", str_span(&text), why);
    str_fini(&text);
    if (rc < 0)
        return false;
    if (settings_load(s, *conf, why) < 0)
        return false;
    resolver_free(s->resolver);
    s->resolver = NULL;
    return resolver_new_fake(&s->resolver, names != NULL ? names : "") == 0;
}

void world_unload(struct settings *s, struct conf *conf)
{
    settings_fini(s);
    conf_free(conf);
}

void world_play(struct world *w)
{
    struct conf *conf = NULL;
    struct settings settings;
    struct task_group group;
    struct run runs[WORLD_JOBS];
    struct str why = {0};

    the_world = w;
    memset(is_used, 0, sizeof(is_used));
    memset(peers, 0, sizeof(peers));
    log_set_sink(keep_log, &w->log);
    if (!world_load(&settings, &conf, w->main_cf, w->names, &why))
        fail_msg("%s", str_cstr(&why));
    settings.connect = connect_to_script;
    task_group_init(&group);
    for (size_t i = 0; i < WORLD_JOBS && w->jobs[i].next_hop != NULL; i++) {
        runs[i] = (struct run){&settings, &w->jobs[i]};
        assert_int_equal(task_group_spawn(&group, "job", run_job, &runs[i]), 0);
        if (!w->at_once || i == 0)
            assert_int_equal(task_group_wait(&group, DEADLINE_NONE), 0);
    }
    for (unsigned i = 0; i < w->cancel_after && group.count > 0; i++)
        task_yield();
    if (w->cancel_after > 0)
        task_group_cancel(&group);
    assert_int_equal(task_group_wait(&group, DEADLINE_NONE), 0);
    pool_close();
    for (size_t i = 0; i < WORLD_SERVERS; i++) {
        str_append(&w->sent[i], str_span(&peers[i].received));
        w->writes[i] = peers[i].writes;
        peer_fini(&peers[i]);
    }
    world_unload(&settings, conf);
    log_set_sink(NULL, NULL);
    str_fini(&why);
}

void world_fini(struct world *w)
{
    str_fini(&w->results);
    str_fini(&w->log);
    for (size_t i = 0; i < WORLD_SERVERS; i++)
        str_fini(&w->sent[i]);
}
