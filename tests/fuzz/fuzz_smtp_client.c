/* Deliveries against servers that say whatever they like. The first octet chooses how it
 * comes in pieces; 0xff stands between what one connection says and what the next does. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "smtp/delivery.h"
#include "smtp/pool.h"
/* The scripted peer of the unit tests. */
#include "tests/unit/net/support_peer.c"

enum { JOBS = 4, RECIPIENTS = 3, SERVERS = 6 };

static struct settings settings;
static struct conf *conf;
static struct span the_input;
static unsigned the_seed;
static struct peer peers[SERVERS];
static size_t peer_count;
static unsigned reports[JOBS][RECIPIENTS];

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

void deliver_report(struct deliver_job *job, size_t i, const struct deliver_result *r)
{
    struct dsn_status dsn;

    ENSURE(reports[job->attempt][i]++ == 0);
    ENSURE(dsn_parse(span_cstr(r->dsn), &dsn) == 0);
    ENSURE(dsn.class == (r->status == DELIVER_SENT ? 2u : r->status == DELIVER_BOUNCED ? 5u : 4u));
    for (size_t at = 0; at < r->reason.n; at++)
        ENSURE(r->reason.p[at] != '\n');
}

static int connect_to_script(const struct settings *s, const struct net_address *to,
                             struct budget *budget, struct stream **out, deadline_t deadline)
{
    struct peer *p = &peers[peer_count];
    struct span script;

    if (peer_count == SERVERS || !span_next(&the_input, '\xff', &script))
        return -ECONNREFUSED;
    peer_count++;
    peer_init(p, (enum peer_split)(the_seed % 3), the_seed, script);
    p->yields = p->pauses = true;
    *out = peer_stream(p, budget);
    task_yield();
    return *out != NULL ? 0 : -ENOMEM;
}

/* Whatever the server said, what it was told are whole lines. */
static void check_sent(const struct peer *p)
{
    for (size_t i = 0; i < p->received.len; i++) {
        if (p->received.data[i] == '\n')
            ENSURE(i > 0 && p->received.data[i - 1] == '\r');
        if (p->received.data[i] == '\r')
            ENSURE(i + 1 == p->received.len || p->received.data[i + 1] == '\n');
    }
}

static void run_job(void *arg)
{
    static const char content[] = "Subject: x\r\n\r\n.dot\r\nbare\nline\rend\0\r\n";
    struct queue_message m;
    struct deliver_job job = {.message = &m, .queue_id = "3zzzz", .next_hop = SPAN_LIT("a.test")};
    struct queue_extent *e;

    queue_message_init(&m, NULL);
    m.sender = SPAN_LIT("s@b.test");
    job.attempt = (uint32_t)(uintptr_t)arg;
    for (size_t i = 0; i < RECIPIENTS; i++)
        queue_message_add(&m, SPAN_LIT("r@a.test"));
    queue_content_init(&job.content);
    job.content.inline_octets = span_make(content, sizeof(content) - 1);
    e = array_push(&job.content.extents);
    *e = (struct queue_extent){0, sizeof(content) - 1, 0};
    job.times.arrival = job.times.active = job.times.handed = clock_wall_us();
    delivery_run(&job, &settings);
    queue_content_fini(&job.content);
    arena_reset(&job.arena);
    queue_message_fini(&m);
}

static void run(void *arg)
{
    struct task_group group;

    task_group_init(&group);
    for (uintptr_t i = 0; i < JOBS; i++) {
        ENSURE(task_group_spawn(&group, "job", run_job, (void *)i) == 0);
        /* The first one alone; then the destination is known to be quick. */
        if (i == 0)
            task_group_wait(&group, DEADLINE_NONE);
    }
    task_group_wait(&group, DEADLINE_NONE);
    pool_close();
    for (size_t i = 0; i < JOBS; i++)
        for (size_t j = 0; j < RECIPIENTS; j++)
            ENSURE(reports[i][j] == 1);
    for (size_t i = 0; i < peer_count; i++) {
        check_sent(&peers[i]);
        peer_fini(&peers[i]);
    }
}

static void load(void)
{
    static const char main_cf[] = "myhostname = me.test\ninet_interfaces = 127.0.0.1\n"
                                  "inet_protocols = ipv4\ncompatibility_level = 3.6\n"
                                  "smtp_overlap_latency_limit = 60000\n"
                                  "smtp_reply_size_limit = 512\n";
    static const char names[] = "a.test MX 10 b.test\na.test MX 20 c.test\n"
                                "b.test A 192.0.2.1\nc.test A 192.0.2.2\n";
    struct str why = {0};

    ENSURE(conf_load_text(&conf, "/nonexistent", "main.cf", SPAN_LIT(main_cf), &why) == 0 &&
           settings_load(&settings, conf, &why) == 0);
    resolver_free(settings.resolver);
    ENSURE(resolver_new_fake(&settings.resolver, names) == 0);
    settings.connect = connect_to_script;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct task_options options = {0};

    if (size < 1)
        return 0;
    log_set_sink(drop_log, NULL);
    if (conf == NULL)
        load();
    the_seed = data[0];
    the_input = span_make(data + 1, size - 1);
    peer_count = 0;
    memset(reports, 0, sizeof(reports));
    ENSURE(task_runtime_init(&options) == 0 && task_runtime_run(run, NULL) == 0);
    task_runtime_fini();
    return 0;
}
