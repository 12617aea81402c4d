#include "auth/auth.h"

#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/mem.h"
#include "ipc/ipc.h"

#define PROTOCOL_VERSION 1

struct auth_client {
    struct ipc_client *ipc;
};

enum {
    ROUNDS_KEPT = 4, /* LOGIN has two */
    BEGIN_TRIES = 4,
    AGAIN_MS = 20, /* a process of auth that ends begins nothing new */
};

/* A challenge and what the client said to it. */
struct round {
    struct span challenge; /* in the arena */
    struct str response;
};

struct auth_exchange {
    struct auth_client *client;
    struct arena arena;   /* of the answers handed out */
    struct span id;       /* at the server; empty when finished */
    struct span asked;    /* the last challenge */
    struct ipc_out begun; /* the first request, and what came later: to begin again */
    struct round rounds[ROUNDS_KEPT];
    size_t round_count; /* more than ROUNDS_KEPT: not all were kept */
};

struct auth_client *auth_client_new(void)
{
    struct auth_client *c = NEW(struct auth_client);

    if (c == NULL)
        return NULL;
    c->ipc = ipc_client_new("auth", "auth", PROTOCOL_VERSION);
    if (c->ipc == NULL) {
        free(c);
        return NULL;
    }
    return c;
}

void auth_client_free(struct auth_client *c)
{
    if (c == NULL)
        return;
    ipc_client_free(c->ipc);
    free(c);
}

static const struct {
    const char *word;
    enum auth_outcome outcome;
} outcomes[] = {
    {"continue", AUTH_CONTINUE},       {"done", AUTH_DONE},
    {"failed", AUTH_FAILED},           {"bad", AUTH_BAD},
    {"unavailable", AUTH_UNAVAILABLE},
};

static bool says(const struct ipc_in *reply, const char *outcome)
{
    struct span word;

    return ipc_get(reply, "outcome", &word) == 0 && span_eq(word, span_cstr(outcome));
}

static enum auth_outcome parse_outcome(const struct ipc_in *reply)
{
    struct span word;

    if (ipc_get(reply, "outcome", &word) == 0) {
        for (size_t i = 0; i < COUNT_OF(outcomes); i++) {
            if (span_eq(word, span_cstr(outcomes[i].word)))
                return outcomes[i].outcome;
        }
    }
    return AUTH_UNAVAILABLE;
}

/* A value copied into the exchange's arena; empty when it is not there. */
static struct span keep(struct auth_exchange *e, const struct ipc_in *reply, const char *name)
{
    struct span value, copy;

    if (ipc_get(reply, name, &value) < 0 || arena_copy(&e->arena, value, &copy) < 0)
        return SPAN_NONE;
    return copy;
}

static void set_unavailable(struct auth_answer *answer, int code)
{
    *answer =
        (struct auth_answer){.outcome = AUTH_UNAVAILABLE, .reason = span_cstr(error_text(code))};
}

/* Read the answer of begin and step. */
static void take_answer(struct auth_exchange *e, const struct ipc_in *reply,
                        struct auth_answer *answer)
{
    *answer = (struct auth_answer){
        .outcome = parse_outcome(reply),
        .challenge = keep(e, reply, "challenge"),
        .user = keep(e, reply, "user"),
        .account = keep(e, reply, "account"),
        .session = keep(e, reply, "session"),
        .reason = keep(e, reply, "reason"),
    };
    if (answer->outcome == AUTH_CONTINUE)
        e->id = keep(e, reply, "exchange");
    e->asked = answer->challenge;
}

static int begin(struct auth_exchange *e, struct auth_answer *answer, deadline_t deadline)
{
    struct ipc_in *reply = NULL;
    int rc;

    while ((rc = ipc_client_ask(e->client->ipc, &e->begun, &reply, deadline)) == 0 &&
           says(reply, "again")) {
        ipc_in_free(reply);
        reply = NULL;
        rc = clock_mono_ms() < deadline ? task_sleep(deadline_in(AGAIN_MS)) : -ETIMEDOUT;
        if (rc < 0)
            break;
    }
    if (rc == 0)
        take_answer(e, reply, answer);
    ipc_in_free(reply);
    return rc;
}

/* ERR_TRUNCATED: the exchange ended with its auth. */
static int step(struct auth_exchange *e, struct span response, struct auth_answer *answer,
                deadline_t deadline)
{
    struct ipc_out m = {0};
    struct ipc_in *reply = NULL;
    int rc;

    ipc_begin(&m, "step");
    ipc_put(&m, "exchange", e->id);
    ipc_put(&m, "response", response);
    e->id = SPAN_NONE;
    rc = ipc_client_call(e->client->ipc, &m, &reply, deadline);
    ipc_out_fini(&m);
    if (rc == 0 && says(reply, "lost"))
        rc = ERR_TRUNCATED;
    else if (rc == 0)
        take_answer(e, reply, answer);
    ipc_in_free(reply);
    return rc;
}

static void remember(struct auth_exchange *e, struct span response)
{
    size_t i = e->round_count;

    /* What cannot be kept cannot be said again. */
    e->round_count = ROUNDS_KEPT + 1;
    if (i >= ROUNDS_KEPT || str_set(&e->rounds[i].response, response) < 0)
        return;
    e->rounds[i].challenge = e->asked;
    e->round_count = i + 1;
}

/* The same exchange with the next auth: its challenges must be the same, as those of PLAIN
 * and LOGIN are. ERR_TRUNCATED: that one ended, too; ERR_TEMPORARY: it asks other things. */
static int begin_again(struct auth_exchange *e, struct auth_answer *answer, deadline_t deadline)
{
    int rc = begin(e, answer, deadline);

    for (size_t i = 0; rc == 0 && i < e->round_count; i++) {
        if (answer->outcome != AUTH_CONTINUE)
            break;
        if (i >= ROUNDS_KEPT || !span_eq(answer->challenge, e->rounds[i].challenge))
            return ERR_TEMPORARY;
        rc = step(e, str_span(&e->rounds[i].response), answer, deadline);
    }
    return rc;
}

static int finish(struct auth_answer *answer, int rc)
{
    if (rc == -ECANCELED || rc == -ENOMEM)
        return rc;
    if (rc < 0)
        set_unavailable(answer, rc);
    return 0;
}

int auth_begin(struct auth_client *c, const struct auth_request *request,
               struct auth_exchange **exchange, struct auth_answer *answer, deadline_t deadline)
{
    struct auth_exchange *e = NEW(struct auth_exchange);
    struct ipc_out *m;

    *exchange = e;
    if (e == NULL)
        return -ENOMEM;
    e->client = c;
    m = &e->begun;
    ipc_begin(m, "begin");
    ipc_put(m, "service", span_cstr(request->service));
    ipc_put(m, "mechanism", request->mechanism);
    if (request->has_initial)
        ipc_put(m, "initial", request->initial);
    ipc_put(m, "client", request->client_address);
    ipc_put(m, "local", request->local_address);
    ipc_put_bool(m, "secured", request->is_secured);
    return finish(answer, begin(e, answer, deadline));
}

int auth_step(struct auth_exchange *e, struct span response, struct auth_answer *answer,
              deadline_t deadline)
{
    int rc;

    remember(e, response);
    rc = step(e, response, answer, deadline);
    for (int i = 0; rc == ERR_TRUNCATED && i < BEGIN_TRIES; i++)
        rc = begin_again(e, answer, deadline);
    return finish(answer, rc);
}

void auth_exchange_free(struct auth_exchange *e)
{
    struct ipc_out m = {0};

    if (e == NULL)
        return;
    if (e->id.n > 0) {
        ipc_begin(&m, "cancel");
        ipc_put(&m, "exchange", e->id);
        /* Without a connection there is nothing to cancel either. */
        (void)ipc_client_post(e->client->ipc, &m);
        ipc_out_fini(&m);
    }
    for (size_t i = 0; i < ROUNDS_KEPT; i++)
        str_fini_secret(&e->rounds[i].response);
    str_fini_secret(&e->begun.text);
    ipc_out_fini(&e->begun);
    arena_reset(&e->arena);
    free(e);
}

static int read_account(struct ipc_in *reply, struct str *user, struct str *account)
{
    struct span value;

    switch (parse_outcome(reply)) {
    case AUTH_DONE:
        break;
    case AUTH_FAILED:
        return ERR_NOT_FOUND;
    case AUTH_BAD:
        return ERR_DENIED;
    default:
        return ERR_TEMPORARY;
    }
    if (user != NULL && (ipc_get(reply, "user", &value) < 0 || str_set(user, value) < 0))
        return ERR_TEMPORARY;
    if (ipc_get(reply, "account", &value) < 0 || str_set(account, value) < 0)
        return ERR_TEMPORARY;
    return 0;
}

static int call_for_account(struct auth_client *c, struct ipc_out *m, struct str *user,
                            struct str *account, deadline_t deadline)
{
    struct ipc_in *reply = NULL;
    /* A session id that the lost process redeemed is void: asking again is safe, too. */
    int rc = ipc_client_ask(c->ipc, m, &reply, deadline);

    ipc_out_fini(m);
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0)
        return ERR_TEMPORARY;
    rc = read_account(reply, user, account);
    ipc_in_free(reply);
    return rc;
}

int auth_redeem(struct auth_client *c, struct span session, const char *service, struct str *user,
                struct str *account, deadline_t deadline)
{
    struct ipc_out m = {0};
    int rc;

    ipc_begin(&m, "redeem");
    ipc_put(&m, "session", session);
    ipc_put(&m, "service", span_cstr(service));
    rc = call_for_account(c, &m, user, account, deadline);
    return rc == ERR_NOT_FOUND ? ERR_DENIED : rc;
}

int auth_lookup(struct auth_client *c, struct span address, struct str *account,
                deadline_t deadline)
{
    struct ipc_out m = {0};

    ipc_begin(&m, "lookup");
    ipc_put(&m, "address", address);
    return call_for_account(c, &m, NULL, account, deadline);
}

int auth_offer(struct str *out, struct span configured, bool is_secured)
{
    struct span name;

    while (span_token(&configured, ", \t", &name)) {
        bool shows_password =
            span_ieq(name, SPAN_LIT("PLAIN")) || span_ieq(name, SPAN_LIT("LOGIN"));
        if (shows_password && !is_secured)
            continue;
        if (out->len > 0)
            str_append_char(out, ' ');
        for (size_t i = 0; i < name.n; i++)
            str_append_char(out, ascii_upper(name.p[i]));
    }
    return str_error(out);
}
