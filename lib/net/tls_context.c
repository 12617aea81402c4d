/* TLS contexts. */
#include <errno.h>
#include <stdlib.h>
#include <openssl/err.h>

#include "base/error.h"
#include "base/fd.h"
#include "net/tls_internal.h"

/* What Postfix does, too: everything that OpenSSL builds in, strongest first. */
static const char default_cipher_list[] = "aNULL:-aNULL:HIGH:MEDIUM:@STRENGTH";

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

void tls_take_errors(struct str *out)
{
    unsigned long code = ERR_get_error();
    char text[256];

    if (code == 0)
        return;
    ERR_error_string_n(code, text, sizeof(text));
    str_append_cstr(out, text);
    ERR_clear_error();
}

struct tls_context *tls_context_hold(struct tls_context *ctx)
{
    ctx->refs++;
    return ctx;
}

void tls_context_free(struct tls_context *ctx)
{
    if (ctx == NULL || --ctx->refs > 0)
        return;
    while (ctx->names != NULL) {
        struct tls_name *name = ctx->names;

        ctx->names = name->next;
        tls_context_free(name->context);
        free(name);
    }
    SSL_CTX_free(ctx->ssl);
    free(ctx);
}

static int explain(struct str *why, const char *what, const char *value)
{
    str_printf(why, "%s \"%s\": ", what, value);
    tls_take_errors(why);
    return ERR_TLS;
}

static int set_protocols(SSL_CTX *ssl, const char *text, struct str *why)
{
    int lowest, highest, rc;
    uint64_t excluded;

    rc = tls_protocols_parse(span_cstr(text), &lowest, &highest, &excluded, why);
    if (rc < 0)
        return rc;
    SSL_CTX_set_min_proto_version(ssl, lowest);
    SSL_CTX_set_max_proto_version(ssl, highest);
    SSL_CTX_set_options(ssl, excluded);
    return 0;
}

static int set_ciphers(SSL_CTX *ssl, const struct tls_options *o, struct str *why)
{
    struct span rest = span_cstr(o->exclude_ciphers), word;
    struct str list = {0};
    int rc = 0;

    str_append_cstr(&list, is_given(o->cipher_list) ? o->cipher_list : default_cipher_list);
    while (span_token(&rest, " \t\r\n,:", &word))
        str_printf(&list, ":!%.*s", SPAN_ARG(word));
    if (str_error(&list) < 0)
        rc = str_error(&list);
    else if (SSL_CTX_set_cipher_list(ssl, str_cstr(&list)) != 1)
        rc = explain(why, "TLS cipher list", str_cstr(&list));
    str_fini(&list);
    return rc;
}

static int set_curves(SSL_CTX *ssl, const char *curves, struct str *why)
{
    struct span rest = span_cstr(curves), word;
    struct str list = {0};
    int rc = 0;

    while (span_token(&rest, " \t\r\n,:", &word))
        str_printf(&list, "%s%.*s", list.len > 0 ? ":" : "", SPAN_ARG(word));
    if (list.len > 0 && SSL_CTX_set1_groups_list(ssl, str_cstr(&list)) != 1)
        rc = explain(why, "TLS curves", str_cstr(&list));
    str_fini(&list);
    return rc;
}

static int set_trust(SSL_CTX *ssl, const struct tls_options *o, struct str *why)
{
    if (is_given(o->ca_file))
        file_note(o->ca_file);
    if (is_given(o->ca_file) && SSL_CTX_load_verify_file(ssl, o->ca_file) != 1)
        return explain(why, "CA file", o->ca_file);
    if (is_given(o->ca_path) && SSL_CTX_load_verify_dir(ssl, o->ca_path) != 1)
        return explain(why, "CA directory", o->ca_path);
    if (o->use_system_ca)
        SSL_CTX_set_default_verify_paths(ssl);
    SSL_CTX_set_verify_depth(ssl, o->verify_depth > 0 ? (int)o->verify_depth : 9);
    return 0;
}

/* Opportunistic: whatever the verdict is, go on; it is kept as the verify result. */
static int accept_any(int is_ok, X509_STORE_CTX *store)
{
    return 1;
}

static void set_verification(SSL_CTX *ssl, const struct tls_options *o, bool is_server)
{
    if (!is_server)
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, o->level == TLS_LEVEL_VERIFY ? NULL : accept_any);
    else if (o->client_certificate == TLS_CERTIFICATE_REQUIRE)
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    else if (o->client_certificate == TLS_CERTIFICATE_ASK)
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, accept_any);
}

static void set_common(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    /* Tickets need no cache, and OpenSSL's own would be one per process. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_dh_auto(ssl, 1);
}

/* Runs inside the handshake, on a worker: reads what never changes. */
static int choose_by_name(SSL *ssl, int *alert, void *arg)
{
    struct tls_context *ctx = arg;
    struct span asked = span_cstr(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

    for (struct tls_name *n = ctx->names; asked.n > 0 && n != NULL; n = n->next) {
        struct span host = span_cstr(n->host);

        if (host.p[0] == '.' ? span_iends(asked, host) && asked.n > host.n
                             : span_ieq(asked, host)) {
            SSL_set_SSL_CTX(ssl, n->context->ssl);
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

static int set_server(struct tls_context *ctx, const struct tls_options *o, struct str *why)
{
    static const unsigned char session_context[] = "waypost";
    int rc = tls_load_certificates(ctx->ssl, o, why);

    if (rc < 0)
        return rc;
    if (o->prefer_server_ciphers)
        SSL_CTX_set_options(ctx->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Resumption with client certificates needs a context id. */
    SSL_CTX_set_session_id_context(ctx->ssl, session_context, sizeof(session_context) - 1);
    /* Of TLS 1.3; stream_tls.c says when. */
    SSL_CTX_set_num_tickets(ctx->ssl, 0);
    ctx->gives_tickets = !o->no_tickets;
    if (o->no_tickets)
        SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_tlsext_servername_callback(ctx->ssl, choose_by_name);
    SSL_CTX_set_tlsext_servername_arg(ctx->ssl, ctx);
    ctx->tickets = o->tickets;
    return ctx->tickets == NULL ? 0 : tls_set_tickets(ctx);
}

static int context_new(struct tls_context **out, bool is_server, const struct tls_options *o,
                       struct str *why)
{
    struct tls_context *ctx = NEW(struct tls_context);
    int rc = -ENOMEM;

    *out = NULL;
    ERR_clear_error();
    if (ctx == NULL)
        return rc;
    ctx->refs = 1;
    ctx->is_server = is_server;
    ctx->level = o->level;
    ctx->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (ctx->ssl != NULL) {
        set_common(ctx->ssl);
        set_verification(ctx->ssl, o, is_server);
        rc = set_protocols(ctx->ssl, o->protocols, why);
    }
    if (rc == 0)
        rc = set_ciphers(ctx->ssl, o, why);
    if (rc == 0)
        rc = set_curves(ctx->ssl, o->curves, why);
    if (rc == 0)
        rc = set_trust(ctx->ssl, o, why);
    if (rc == 0 && is_server)
        rc = set_server(ctx, o, why);
    else if (rc == 0)
        rc = tls_load_certificates(ctx->ssl, o, why);
    ERR_clear_error();
    if (rc == 0)
        *out = ctx;
    else
        tls_context_free(ctx);
    return rc;
}

int tls_context_new_server(struct tls_context **out, const struct tls_options *options,
                           struct str *why)
{
    return context_new(out, true, options, why);
}

int tls_context_new_client(struct tls_context **out, const struct tls_options *options,
                           struct str *why)
{
    return context_new(out, false, options, why);
}

int tls_context_add_name(struct tls_context *ctx, const char *host, struct tls_context *other)
{
    size_t n = strlen(host) + 1;
    struct tls_name *name = mem_new(sizeof(*name) + n);

    if (name == NULL)
        return -ENOMEM;
    memcpy(name->host, host, n);
    name->context = tls_context_hold(other);
    name->next = ctx->names;
    ctx->names = name;
    return 0;
}
