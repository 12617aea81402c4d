/* A whole SMTP session against whatever a client may say. */
#include <stdlib.h>

#include "base/log.h"
#include "smtpd/session.h"
/* The scripted peer of the unit tests. */
#include "tests/unit/net/support_peer.c"

static struct server server;
static struct conf *conf;
static struct span the_input;
static unsigned the_seed;

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

/* --- queue and auth --- */

static uint64_t space(void *arg)
{
    return UINT64_MAX;
}

static int take_id(void *arg, struct queue_id *id)
{
    *id = (struct queue_id){.number = 1, .time_us = 1};
    return 0;
}

static int begin(void *arg, struct budget *budget, void **upload)
{
    struct str *s = calloc(1, sizeof(*s));

    str_init(s, budget);
    *upload = s;
    return 0;
}

static int append(void *upload, struct span octets)
{
    return str_append(upload, octets);
}

static void drop(void *upload)
{
    str_fini(upload);
    free(upload);
}

static int commit(void *arg, struct queue_message *m, void *upload)
{
    struct str *s = upload;

    /* SMTP smuggling: nothing that another server could take for an end of line. */
    for (size_t i = 0; i < s->len; i++)
        if (s->data[i] == '\n' && (i == 0 || s->data[i - 1] != '\r'))
            abort();
    drop(upload);
    return 0;
}

static int insert(void *upload, uint64_t at, struct span octets)
{
    return 0; /* only what the client sent is looked at here */
}

int auth_begin(struct auth_client *c, const struct auth_request *request,
               struct auth_exchange **exchange, struct auth_answer *answer, deadline_t deadline)
{
    *exchange = NULL;
    *answer = (struct auth_answer){.outcome = request->has_initial ? AUTH_FAILED : AUTH_CONTINUE};
    return 0;
}

int auth_step(struct auth_exchange *e, struct span response, struct auth_answer *answer,
              deadline_t deadline)
{
    *answer = (struct auth_answer){.outcome = response.n % 2 ? AUTH_DONE : AUTH_CONTINUE,
                                   .user = SPAN_LIT("u1")};
    return 0;
}

void auth_exchange_free(struct auth_exchange *e)
{
}

int auth_offer(struct str *out, struct span configured, bool is_secured)
{
    return str_append_cstr(out, "PLAIN");
}

/* --- one session --- */

static void load(void)
{
    static const char main_cf[] =
        "myhostname = mx.test\nmydestination = a.test\ninet_interfaces = 127.0.0.1\n"
        "compatibility_level = 3.6\nalias_maps =\nlocal_recipient_maps = inline:{u=x}\n"
        "mynetworks = 127.0.0.1\nsmtpd_error_sleep_time = 0\nsmtpd_peername_lookup = no\n"
        "smtpd_sasl_auth_enable = yes\nsession_memory_limit = 262144\n"
        "message_size_limit = 4000\nsmtpd_hard_error_limit = 50\n"
        "virtual_alias_maps = inline:{ {x@a.test = u, y@a.test} }\n";
    struct str why = {0};

    if (conf_load_text(&conf, "/nonexistent", "main.cf", SPAN_LIT(main_cf), &why) < 0 ||
        server_load(&server, conf, "smtp", &why) < 0)
        abort();
    server.queue = (struct server_queue){.space = space,
                                         .take_id = take_id,
                                         .begin = begin,
                                         .append = append,
                                         .insert = insert,
                                         .abort = drop,
                                         .commit = commit};
}

static void run(void *arg)
{
    struct net_address client = {.family = AF_INET, .octets = {192, 0, 2, 1}};
    struct budget budget;
    struct peer peer;

    budget_init(&budget, server.session_budget);
    peer_init(&peer, (enum peer_split)(the_seed % 3), the_seed, the_input);
    session_run(&server, peer_stream(&peer, &budget), &budget, &client, &client);
    if (budget.used != 0)
        abort();
    peer_fini(&peer);
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
    if (task_runtime_init(&options) < 0 || task_runtime_run(run, NULL) < 0)
        abort();
    task_runtime_fini();
    return 0;
}
