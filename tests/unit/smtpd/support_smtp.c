#include "tests/unit/smtpd/support_smtp.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

static const char basic[] = "myhostname = mx.example.test\n"
                            "mydomain = example.test\n"
                            "mydestination = example.test, mx.example.test, localhost\n"
                            "mynetworks = 127.0.0.0/8, 10.0.0.0/8\n"
                            "inet_interfaces = 127.0.0.1\n"
                            "compatibility_level = 3.6\n"
                            "local_recipient_maps = inline:{u1=x,u2=x,root=x}\n"
                            "alias_maps =\n"
                            "smtpd_error_sleep_time = 0\n"
                            "smtpd_peername_lookup = no\n";

/* --- the queue --- */

struct fake_upload {
    struct smtp_run *run;
    struct str content;
};

static struct smtp_run *the_run;

static uint64_t fake_space(void *arg)
{
    return the_run->space != 0 ? the_run->space : UINT64_MAX;
}

static int fake_take_id(void *arg, struct queue_id *id)
{
    *id = (struct queue_id){.number = 1, .time_us = 1600000000000000};
    return the_run->id_error;
}

static int fake_begin(void *arg, struct budget *budget, void **upload)
{
    struct fake_upload *u = NEW(struct fake_upload);

    u->run = the_run;
    the_run->uploads++;
    *upload = u;
    return 0;
}

static int fake_append(void *upload, struct span octets)
{
    struct fake_upload *u = upload;

    if (u->run->append_error != 0)
        return u->run->append_error;
    return str_append(&u->content, octets);
}

static int fake_insert(void *upload, uint64_t at, struct span octets)
{
    struct fake_upload *u = upload;
    struct str whole = {0};

    str_append(&whole, span_take(str_span(&u->content), at));
    str_append(&whole, octets);
    str_append(&whole, span_drop(str_span(&u->content), at));
    str_set(&u->content, str_span(&whole));
    str_fini(&whole);
    return str_error(&u->content);
}

static void fake_abort(void *upload)
{
    struct fake_upload *u = upload;

    u->run->uploads--;
    str_fini(&u->content);
    free(u);
}

static int fake_commit(void *arg, struct queue_message *m, void *upload)
{
    struct fake_upload *u = upload;
    struct smtp_run *run = u->run;
    struct smtp_message *out = &run->messages[run->count];

    if (run->commit_error == 0 && run->count < 8) {
        str_append(&out->sender, m->sender);
        for (size_t i = 0; i < m->recipients.len; i++) {
            const struct queue_recipient *r = &m->recipients.items[i];

            str_printf(&out->recipients, "%s%.*s", i > 0 ? " " : "", SPAN_ARG(r->address));
            if (r->original.n > 0)
                str_printf(&out->recipients, "(%.*s)", SPAN_ARG(r->original));
        }
        str_append(&out->content, str_span(&u->content));
        if (m->transport.n > 0)
            str_printf(&out->transport, "%.*s:%.*s", SPAN_ARG(m->transport), SPAN_ARG(m->next_hop));
        out->flags = m->flags;
        run->count++;
    }
    fake_abort(u);
    return run->commit_error;
}

static int fake_connect(void *arg, const char *service, const struct net_address *client,
                        uint64_t *count)
{
    *count = the_run->connections;
    return 0;
}

static void fake_disconnect(void *arg, const char *service, const struct net_address *client)
{
}

/* --- auth: stands in for lib/auth's client --- */

struct auth_exchange {
    int step;
};

static int check_plain(struct span response, struct auth_answer *answer)
{
    bool is_right = span_eq(response, span_make("\0u1\0pass", 8));

    answer->outcome = is_right ? AUTH_DONE : AUTH_FAILED;
    answer->user = SPAN_LIT("u1");
    return 0;
}

int auth_begin(struct auth_client *c, const struct auth_request *request,
               struct auth_exchange **exchange, struct auth_answer *answer, deadline_t deadline)
{
    *exchange = NEW(struct auth_exchange);
    memset(answer, 0, sizeof(*answer));
    if (span_ieq(request->mechanism, SPAN_LIT("DOWN"))) {
        answer->outcome = AUTH_UNAVAILABLE;
        return 0;
    }
    if (!span_ieq(request->mechanism, SPAN_LIT("PLAIN"))) {
        answer->outcome = AUTH_BAD;
        answer->reason = SPAN_LIT("no mechanism available");
        return 0;
    }
    if (request->has_initial)
        return check_plain(request->initial, answer);
    answer->outcome = AUTH_CONTINUE;
    return 0;
}

int auth_step(struct auth_exchange *e, struct span response, struct auth_answer *answer,
              deadline_t deadline)
{
    memset(answer, 0, sizeof(*answer));
    return check_plain(response, answer);
}

void auth_exchange_free(struct auth_exchange *e)
{
    free(e);
}

int auth_offer(struct str *out, struct span configured, bool is_secured)
{
    return str_append_cstr(out, is_secured ? "PLAIN LOGIN SCRAM-SHA-256" : "SCRAM-SHA-256");
}

/* --- the session --- */

static void keep_log(void *arg, enum log_level level, struct span text)
{
    struct str *log = arg;

    str_append(log, text);
    str_append_char(log, '\n');
}

bool smtp_load(struct server *server, struct conf **conf, const char *main_cf, struct str *why)
{
    struct str text = {0};
    int rc;

    str_append_cstr(&text, basic);
    str_append_cstr(&text, main_cf != NULL ? main_cf : "");
    rc = conf_load_text(conf, "/nonexistent", "main.cf", str_span(&text), why);
    str_fini(&text);
    if (rc < 0)
        return false;
    rc = server_load(server, *conf, "smtp", why);
    server->queue = (struct server_queue){.space = fake_space,
                                          .take_id = fake_take_id,
                                          .begin = fake_begin,
                                          .append = fake_append,
                                          .insert = fake_insert,
                                          .abort = fake_abort,
                                          .commit = fake_commit};
    server->anvil = (struct server_anvil){.connect = fake_connect, .disconnect = fake_disconnect};
    return rc == 0;
}

void smtp_play(struct smtp_run *run)
{
    struct net_address client = {0}, local = {0};
    struct conf *conf = NULL;
    struct server server;
    struct budget budget;
    struct peer peer;
    struct str why = {0};

    the_run = run;
    log_set_sink(keep_log, &run->log);
    if (!smtp_load(&server, &conf, run->main_cf, &why))
        fail_msg("%s", str_cstr(&why));
    if (run->dns != NULL)
        assert_int_equal(resolver_new_fake(&server.resolver, run->dns), 0);
    (void)net_address_parse(span_cstr(run->client != NULL ? run->client : "192.0.2.1"), &client);
    client.port = 12345;
    (void)net_address_parse(SPAN_LIT("192.0.2.25"), &local);
    peer_init(&peer, run->split, run->seed, run->script);
    peer.end = run->end;
    budget_init(&budget, server.session_budget);
    session_run(&server, peer_stream(&peer, &budget), &budget, &client, &local);
    assert_int_equal(budget.used, 0);
    assert_int_equal(run->uploads, 0);
    str_append(&run->replies, str_span(&peer.received));
    peer_fini(&peer);
    if (run->dns != NULL)
        resolver_free(server.resolver);
    server_unload(&server);
    conf_free(conf);
    str_fini(&why);
    log_set_sink(NULL, NULL);
}

void smtp_run_fini(struct smtp_run *run)
{
    str_fini(&run->replies);
    str_fini(&run->log);
    for (size_t i = 0; i < COUNT_OF(run->messages); i++) {
        str_fini(&run->messages[i].sender);
        str_fini(&run->messages[i].recipients);
        str_fini(&run->messages[i].content);
        str_fini(&run->messages[i].transport);
    }
}
