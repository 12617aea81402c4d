#include "auth/exchange.h"

#include <gsasl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "auth/password.h"
#include "base/encode.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

enum {
    USER_MAX = 256,
    RESPONSE_MAX = 8192,
    FAKE_ITERATIONS = 4096,
};

static Gsasl *library;
/* Makes the salt shown for a user that does not exist look like a stored one:
 * the same each time, unknown to the client. */
static unsigned char fake_key[32];

struct exchange {
    Gsasl_session *session;
    const char *default_realm;
    struct passwd_table *users; /* borrowed, during a step */
    struct str user, account;
    const char *reason;
    bool is_denied;
    bool is_login;    /* mechanism LOGIN */
    unsigned prompts; /* sent */
};

static int find_user(struct exchange *e, const char *name, struct passwd_entry *entry)
{
    struct span text = span_cstr(name);
    int rc;

    if (text.n == 0 || text.n > USER_MAX)
        return ERR_NOT_FOUND;
    str_clear(&e->user);
    for (size_t i = 0; i < text.n; i++)
        str_append_char(&e->user, ascii_lower(text.p[i]));
    if (span_find(text, '@') < 0 && e->default_realm[0] != '\0')
        str_printf(&e->user, "@%s", e->default_realm);
    rc = passwd_table_find(e->users, str_span(&e->user), entry);
    if (rc == 0)
        str_set(&e->account, entry->account);
    return rc == 0 && entry->barred_by.n > 0 ? ERR_DENIED : rc;
}

/* Why there is nobody to log in, for the log. */
static const char *no_user(int rc)
{
    return rc == ERR_DENIED ? "the passwd-file bars the user (nologin, allow_nets or the like)"
                            : "unknown user";
}

static int deny(struct exchange *e, const char *reason)
{
    e->is_denied = true;
    e->reason = reason;
    return GSASL_AUTHENTICATION_ERROR;
}

/* PLAIN and LOGIN: the client shows its password. */
static int validate_simple(struct exchange *e)
{
    const char *name = gsasl_property_fast(e->session, GSASL_AUTHID);
    const char *authorisation = gsasl_property_fast(e->session, GSASL_AUTHZID);
    const char *password = gsasl_property_fast(e->session, GSASL_PASSWORD);
    struct passwd_entry entry;
    int rc;

    if (name == NULL || password == NULL)
        return deny(e, "no user name or password");
    rc = find_user(e, name, &entry);
    if (rc < 0) {
        /* Cost and time of a wrong password, so that names cannot be probed. */
        password_verify(SPAN_LIT("{SHA512-CRYPT}$6$waypost$"), span_cstr(password));
        return deny(e, no_user(rc));
    }
    if (authorisation != NULL && authorisation[0] != '\0' && strcasecmp(authorisation, name) != 0 &&
        strcasecmp(authorisation, str_cstr(&e->user)) != 0)
        return deny(e, "may not act for another user");
    /* "{PLAIN}" is a user without a password, not one whose password is "". */
    rc = password[0] == '\0' ? ERR_DENIED : password_verify(entry.password, span_cstr(password));
    if (rc == ERR_DENIED)
        return deny(e, "password mismatch");
    if (rc < 0) {
        log_error("user %s: stored password: %s", str_cstr(&e->user), error_text(rc));
        e->reason = "the stored password cannot be used";
        return GSASL_NO_CALLBACK;
    }
    return GSASL_OK;
}

static void set_scram(struct exchange *e, const struct password_scram *scram)
{
    char iterations[16];

    snprintf(iterations, sizeof(iterations), "%u", scram->iterations);
    gsasl_property_set(e->session, GSASL_SCRAM_ITER, iterations);
    gsasl_property_set_raw(e->session, GSASL_SCRAM_SALT, scram->salt.p, scram->salt.n);
    gsasl_property_set_raw(e->session, GSASL_SCRAM_STOREDKEY, scram->stored_key.p,
                           scram->stored_key.n);
    gsasl_property_set_raw(e->session, GSASL_SCRAM_SERVERKEY, scram->server_key.p,
                           scram->server_key.n);
}

/* A verifier nobody can satisfy, for users that do not exist or whose stored
 * password is of a scheme that SCRAM cannot use. */
static int set_fake_scram(struct exchange *e, const char *reason)
{
    struct str material = {0}, salt = {0}, key = {0};
    unsigned char digest[32], unknown[32];
    size_t size = sizeof(digest);
    int rc = GSASL_AUTHENTICATION_ERROR;

    e->reason = reason;
    str_append(&material, span_make(fake_key, sizeof(fake_key)));
    str_append(&material, str_span(&e->user));
    random_bytes(unknown, sizeof(unknown));
    base64_encode(&key, span_make(unknown, sizeof(unknown)));
    if (EVP_Q_digest(NULL, "SHA256", NULL, str_cstr(&material), material.len, digest, &size) == 1 &&
        base64_encode(&salt, span_make(digest, 16)) == 0 && str_error(&key) == 0) {
        set_scram(e, &(struct password_scram){.iterations = FAKE_ITERATIONS,
                                              .salt = str_span(&salt),
                                              .stored_key = str_span(&key),
                                              .server_key = str_span(&key)});
        rc = GSASL_OK;
    }
    str_fini(&material);
    str_fini(&salt);
    str_fini(&key);
    return rc;
}

static int prepare_scram(struct exchange *e)
{
    const char *name = gsasl_property_fast(e->session, GSASL_AUTHID);
    const char *authorisation = gsasl_property_fast(e->session, GSASL_AUTHZID);
    struct passwd_entry entry;
    struct password_scram scram;
    struct span scheme, data;
    char *secret;
    int rc = name != NULL ? find_user(e, name, &entry) : ERR_NOT_FOUND;

    if (rc < 0)
        return set_fake_scram(e, no_user(rc));
    if (authorisation != NULL && authorisation[0] != '\0' && strcasecmp(authorisation, name) != 0 &&
        strcasecmp(authorisation, str_cstr(&e->user)) != 0)
        return set_fake_scram(e, "may not act for another user");
    password_split(entry.password, &scheme, &data);
    if (span_ieq(scheme, SPAN_LIT("SCRAM-SHA-256"))) {
        if (password_parse_scram(data, &scram) < 0)
            return set_fake_scram(e, "the stored password cannot be used");
        set_scram(e, &scram);
    } else if (span_ieq(scheme, SPAN_LIT("PLAIN")) || span_ieq(scheme, SPAN_LIT("CLEARTEXT"))) {
        if (data.n == 0)
            return set_fake_scram(e, "no password is stored");
        secret = mem_strdup(data);
        if (secret == NULL)
            return GSASL_MALLOC_ERROR;
        gsasl_property_set(e->session, GSASL_PASSWORD, secret);
        explicit_bzero(secret, data.n);
        free(secret);
    } else {
        return set_fake_scram(e, "the stored password's scheme does not allow SCRAM");
    }
    return GSASL_OK;
}

static int callback(Gsasl *context, Gsasl_session *session, Gsasl_property property)
{
    struct exchange *e = gsasl_session_hook_get(session);

    switch (property) {
    case GSASL_VALIDATE_SIMPLE:
        return validate_simple(e);
    case GSASL_SCRAM_ITER:
    case GSASL_SCRAM_SALT:
    case GSASL_SCRAM_STOREDKEY:
    case GSASL_SCRAM_SERVERKEY:
    case GSASL_PASSWORD:
        if (gsasl_property_fast(session, property) != NULL)
            return GSASL_OK;
        if (gsasl_property_fast(session, GSASL_SCRAM_ITER) != NULL ||
            gsasl_property_fast(session, GSASL_PASSWORD) != NULL)
            return GSASL_NO_CALLBACK;
        return prepare_scram(e);
    default:
        return GSASL_NO_CALLBACK;
    }
}

int exchange_library_start(void)
{
    if (gsasl_init(&library) != GSASL_OK)
        return -1;
    gsasl_callback_set(library, callback);
    random_bytes(fake_key, sizeof(fake_key));
    return 0;
}

/* The configured spelling of a mechanism, upper case; "" when not allowed. */
static void find_mechanism(char name[32], struct span mechanism, struct span allowed)
{
    struct span item;

    name[0] = '\0';
    while (span_token(&allowed, ", \t", &item)) {
        if (span_ieq(item, mechanism) && item.n < 32) {
            for (size_t i = 0; i < item.n; i++)
                name[i] = ascii_upper(item.p[i]);
            name[item.n] = '\0';
            return;
        }
    }
}

enum exchange_result exchange_new(struct exchange **out, struct span mechanism, struct span allowed,
                                  const char *default_realm)
{
    char name[32];
    struct exchange *e;

    *out = NULL;
    find_mechanism(name, mechanism, allowed);
    if (name[0] == '\0')
        return EXCHANGE_BAD;
    e = NEW(struct exchange);
    if (e == NULL)
        return EXCHANGE_UNAVAILABLE;
    e->default_realm = default_realm;
    if (gsasl_server_start(library, name, &e->session) != GSASL_OK) {
        free(e);
        return EXCHANGE_BAD;
    }
    gsasl_session_hook_set(e->session, e);
    e->is_login = strcmp(name, "LOGIN") == 0;
    *out = e;
    return EXCHANGE_CONTINUE;
}

void exchange_free(struct exchange *e)
{
    if (e == NULL)
        return;
    gsasl_finish(e->session);
    str_fini(&e->user);
    str_fini(&e->account);
    free(e);
}

static enum exchange_result map_result(struct exchange *e, int rc)
{
    switch (rc) {
    case GSASL_OK:
        return EXCHANGE_DONE;
    case GSASL_NEEDS_MORE:
        return EXCHANGE_CONTINUE;
    case GSASL_AUTHENTICATION_ERROR:
        if (e->reason == NULL)
            e->reason = "password mismatch";
        return EXCHANGE_FAILED;
    case GSASL_MALLOC_ERROR:
    case GSASL_CRYPTO_ERROR:
    case GSASL_NO_CALLBACK:
        if (e->reason == NULL)
            e->reason = gsasl_strerror(rc);
        return e->is_denied ? EXCHANGE_FAILED : EXCHANGE_UNAVAILABLE;
    default:
        if (e->reason == NULL)
            e->reason = gsasl_strerror(rc);
        return EXCHANGE_BAD;
    }
}

/* LOGIN was never standardised; clients look for these prompts, and some send the name
 * with the command, which the library does not expect. */
static int step_login(struct exchange *e, const struct span *input, struct str *output)
{
    static const char *const prompts[] = {"Username:", "Password:"};
    char *data = NULL;
    size_t n = 0;
    int rc = GSASL_OK;

    if (e->prompts == 0) {
        rc = gsasl_step(e->session, NULL, 0, &data, &n);
        gsasl_free(data);
        data = NULL;
    }
    if (e->prompts > 0 || (rc == GSASL_NEEDS_MORE && input != NULL && input->n > 0)) {
        e->prompts += e->prompts == 0;
        rc = gsasl_step(e->session, input != NULL ? input->p : NULL, input != NULL ? input->n : 0,
                        &data, &n);
        gsasl_free(data);
    }
    if (rc == GSASL_NEEDS_MORE && e->prompts < COUNT_OF(prompts) &&
        str_append(output, span_cstr(prompts[e->prompts++])) < 0)
        rc = GSASL_MALLOC_ERROR;
    return rc;
}

static int step(struct exchange *e, const struct span *input, struct str *output)
{
    char *data = NULL;
    size_t n = 0;
    int rc;

    /* The library takes "said nothing" for "not asked yet"; RFC 4954 4: "=" is an answer. */
    if (input != NULL && input->n == 0)
        return GSASL_MECHANISM_PARSE_ERROR;
    rc = gsasl_step(e->session, input != NULL ? input->p : NULL, input != NULL ? input->n : 0,
                    &data, &n);

    if ((rc == GSASL_OK || rc == GSASL_NEEDS_MORE) && n > 0 &&
        str_append(output, span_make(data, n)) < 0)
        rc = GSASL_MALLOC_ERROR;
    gsasl_free(data);
    return rc;
}

enum exchange_result exchange_step(struct exchange *e, struct passwd_table *users,
                                   const struct span *input, struct str *output)
{
    int rc;

    if (input != NULL && input->n > RESPONSE_MAX) {
        e->reason = "response is too long";
        return EXCHANGE_BAD;
    }
    e->users = users;
    rc = e->is_login ? step_login(e, input, output) : step(e, input, output);
    e->users = NULL;
    return map_result(e, rc);
}

struct span exchange_user(const struct exchange *e)
{
    return str_span(&e->user);
}

struct span exchange_account(const struct exchange *e)
{
    return str_span(&e->account);
}

const char *exchange_reason(const struct exchange *e)
{
    return e->reason != NULL ? e->reason : "";
}
