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

struct auth_exchange {
    struct auth_client *client;
    struct arena arena; /* of the answers handed out */
    struct span id;     /* at the server; empty when finished */
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

/* Send the request and read the answer of begin and step. */
static int ask(struct auth_exchange *e, struct ipc_out *request, struct auth_answer *answer,
               deadline_t deadline)
{
    struct ipc_in *reply = NULL;
    int rc = ipc_client_call(e->client->ipc, request, &reply, deadline);

    e->id = SPAN_NONE;
    ipc_out_fini(request);
    if (rc == -ECANCELED || rc == -ENOMEM)
        return rc;
    if (rc < 0) {
        set_unavailable(answer, rc);
        return 0;
    }
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
    ipc_in_free(reply);
    return 0;
}

int auth_begin(struct auth_client *c, const struct auth_request *request,
               struct auth_exchange **exchange, struct auth_answer *answer, deadline_t deadline)
{
    struct ipc_out m = {0};
    struct auth_exchange *e = NEW(struct auth_exchange);

    *exchange = e;
    if (e == NULL)
        return -ENOMEM;
    e->client = c;
    ipc_begin(&m, "begin");
    ipc_put(&m, "service", span_cstr(request->service));
    ipc_put(&m, "mechanism", request->mechanism);
    if (request->has_initial)
        ipc_put(&m, "initial", request->initial);
    ipc_put(&m, "client", request->client_address);
    ipc_put(&m, "local", request->local_address);
    ipc_put_bool(&m, "secured", request->is_secured);
    return ask(e, &m, answer, deadline);
}

int auth_step(struct auth_exchange *e, struct span response, struct auth_answer *answer,
              deadline_t deadline)
{
    struct ipc_out m = {0};

    ipc_begin(&m, "step");
    ipc_put(&m, "exchange", e->id);
    ipc_put(&m, "response", response);
    return ask(e, &m, answer, deadline);
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
    int rc = ipc_client_call(c->ipc, m, &reply, deadline);

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
