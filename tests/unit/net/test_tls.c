/* TLS streams over socket pairs, with certificates made on the fly. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/net/support_run.h"

#include "base/error.h"
#include "net/stream_internal.h"
#include "net/tls_internal.h"

static const deadline_t never = DEADLINE_NONE;
static char directory[] = "/tmp/test-tls-XXXXXX";
static char pem[64], other_pem[64];

/* A certificate for name, after its key, in one file. */
static void make_issued_certificate(const char *path, const char *name, EVP_PKEY *key,
                                    const char *issuer, EVP_PKEY *issuer_key)
{
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x), *by = X509_NAME_new();
    char san[64];
    X509_EXTENSION *extension;
    FILE *f = fopen(path, "w");

    snprintf(san, sizeof(san), "DNS:%s,IP:127.0.0.1", name);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_NAME_add_entry_by_txt(by, "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0);
    X509_set_issuer_name(x, by);
    X509_NAME_free(by);
    X509_set_pubkey(x, key);
    extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    X509_free(x);
}

static void make_certificate(const char *path, const char *name, EVP_PKEY *key)
{
    make_issued_certificate(path, name, key, name, key);
    EVP_PKEY_free(key);
}

static struct tls_context *server_context(const char *path)
{
    struct tls_options options = {.chain_files = path};
    struct tls_context *ctx;
    struct str why = {0};

    if (tls_context_new_server(&ctx, &options, &why) < 0)
        fail_msg("%s", str_cstr(&why));
    return ctx;
}

static struct tls_context *client_context(enum tls_level level, const char *protocols)
{
    struct tls_options options = {.ca_file = pem, .level = level, .protocols = protocols};
    struct tls_context *ctx;
    struct str why = {0};

    if (tls_context_new_client(&ctx, &options, &why) < 0)
        fail_msg("%s", str_cstr(&why));
    return ctx;
}

/* A server that echoes lines until the end. */
struct server {
    int fd;
    struct tls_context *ctx;
    int handshake_rc, end_rc;
    bool is_abrupt; /* closes without close_notify */
    char summary[200], name[64];
    struct task_group group;
};

static void serve(void *arg)
{
    struct server *t = arg;
    struct stream *s;
    struct span line;

    assert_int_equal(stream_new(&s, t->fd, NULL), 0);
    t->handshake_rc = stream_start_tls_server(s, t->ctx, deadline_in(5000));
    if (t->handshake_rc == 0) {
        snprintf(t->summary, sizeof(t->summary), "%s", stream_tls(s)->summary);
        snprintf(t->name, sizeof(t->name), "%s", stream_tls(s)->server_name);
    }
    while ((t->end_rc = stream_read_line(s, 65536, &line, never)) == 0)
        stream_write(s, line, never);
    if (!t->is_abrupt)
        stream_shutdown(s, deadline_in(1000));
    stream_free(s);
}

static struct stream *start(struct server *t, struct tls_context *ctx)
{
    struct stream *s;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    *t = (struct server){.fd = pair[0], .ctx = ctx};
    task_group_init(&t->group);
    assert_int_equal(task_group_spawn(&t->group, "server", serve, t), 0);
    assert_int_equal(stream_new(&s, pair[1], NULL), 0);
    return s;
}

static void echo(struct stream *s, const char *text)
{
    struct span line;

    assert_int_equal(stream_write(s, span_cstr(text), never), 0);
    assert_int_equal(stream_read_line(s, 65536, &line, never), 0);
    assert_true(span_eq(line, span_cstr(text)));
}

TASK_TEST(handshake_facts_and_closing)
{
    struct tls_context *sctx = server_context(pem), *cctx = client_context(TLS_LEVEL_VERIFY, "");
    struct server t;
    struct stream *s = start(&t, sctx);
    struct span line;
    struct str text = {0};

    if (stream_start_tls_client(s, cctx, "mx.example.test", never) != 0)
        fail_msg("%s", stream_error_text(s));
    echo(s, "first\r\n");
    assert_int_equal(stream_tls(s)->peer, TLS_PEER_VERIFIED);
    assert_string_equal(stream_tls(s)->protocol, "TLSv1.3");
    assert_string_equal(stream_tls(s)->peer_subject, "mx.example.test");
    assert_int_equal(strlen(stream_tls(s)->peer_fingerprint), 64);
    assert_string_equal(t.name, "mx.example.test");
    assert_string_equal(t.summary, "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) "
                                   "key-exchange X25519 server-signature ECDSA (P-256) "
                                   "server-digest SHA256");
    tls_print_established(&text, stream_tls(s), SPAN_LIT("to mx[127.0.0.1]:25"));
    assert_true(span_starts(str_span(&text), SPAN_LIT("Verified TLS connection established to "
                                                      "mx[127.0.0.1]:25: TLSv1.3 with ")));
    str_fini(&text);
    assert_int_equal(stream_shutdown(s, never), 0);
    /* The server saw our close_notify and sends its own. */
    assert_int_equal(stream_read_line(s, 100, &line, never), ERR_EOF);
    task_group_wait(&t.group, never);
    assert_int_equal(t.end_rc, ERR_EOF);
    stream_free(s);
    tls_context_free(sctx);
    tls_context_free(cctx);
}

TASK_TEST(truncation_is_told_apart)
{
    struct tls_context *sctx = server_context(pem), *cctx = client_context(TLS_LEVEL_MAY, "");
    struct server t;
    struct stream *s = start(&t, sctx);

    assert_int_equal(stream_start_tls_client(s, cctx, "", never), 0);
    echo(s, "x\n");
    assert_string_equal(t.name, "");
    stream_free(s); /* without close_notify */
    task_group_wait(&t.group, never);
    assert_true(t.end_rc == ERR_TRUNCATED || t.end_rc == -ECONNRESET || t.end_rc == -EPIPE);
    tls_context_free(sctx);
    tls_context_free(cctx);
}

TASK_TEST(verification)
{
    static const struct {
        const char *certificate, *name;
        enum tls_level level;
        int rc;
        enum tls_peer peer;
    } rows[] = {
        {pem, "mx.example.test", TLS_LEVEL_MAY, 0, TLS_PEER_TRUSTED},
        {pem, "mx.example.test", TLS_LEVEL_VERIFY, 0, TLS_PEER_VERIFIED},
        {pem, "127.0.0.1", TLS_LEVEL_VERIFY, 0, TLS_PEER_VERIFIED},
        {pem, "127.0.0.2", TLS_LEVEL_VERIFY, ERR_TLS, 0},
        {pem, "other.example.test", TLS_LEVEL_VERIFY, ERR_TLS, 0},
        {pem, "", TLS_LEVEL_VERIFY, ERR_TLS, 0},
        {other_pem, "other.example.test", TLS_LEVEL_ENCRYPT, 0, TLS_PEER_UNTRUSTED},
        {other_pem, "other.example.test", TLS_LEVEL_VERIFY, ERR_TLS, 0},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tls_context *sctx = server_context(rows[i].certificate);
        struct tls_context *cctx = client_context(rows[i].level, "");
        struct server t;
        struct stream *s = start(&t, sctx);

        assert_int_equal(stream_start_tls_client(s, cctx, rows[i].name, never), rows[i].rc);
        if (rows[i].rc == 0)
            assert_int_equal(stream_tls(s)->peer, rows[i].peer);
        else
            assert_true(strlen(stream_error_text(s)) > 10);
        stream_free(s);
        task_group_wait(&t.group, never);
        tls_context_free(sctx);
        tls_context_free(cctx);
    }
}

TASK_TEST(names_choose_certificates)
{
    struct tls_context *sctx = server_context(pem), *other = server_context(other_pem);
    struct tls_context *cctx = client_context(TLS_LEVEL_MAY, "TLSv1.2");
    struct server t;
    struct stream *s;

    assert_int_equal(tls_context_add_name(sctx, ".example.test", other), 0);
    tls_context_free(other);
    s = start(&t, sctx);
    assert_int_equal(stream_start_tls_client(s, cctx, "deep.example.test", never), 0);
    assert_string_equal(stream_tls(s)->protocol, "TLSv1.2");
    assert_string_equal(stream_tls(s)->peer_subject, "other.example.test");
    stream_free(s);
    task_group_wait(&t.group, never);
    tls_context_free(sctx);
    tls_context_free(cctx);
}

TASK_TEST(bulk_and_large_records)
{
    struct tls_context *sctx = server_context(pem), *cctx = client_context(TLS_LEVEL_MAY, "");
    struct server t;
    struct stream *s = start(&t, sctx);
    static char line[60002];

    assert_int_equal(stream_start_tls_client(s, cctx, "", never), 0);
    memset(line, 'x', 60000);
    line[60000] = '\n';
    for (int i = 0; i < 20; i++)
        echo(s, line);
    stream_shutdown(s, never);
    stream_free(s);
    task_group_wait(&t.group, never);
    assert_int_equal(t.end_rc, ERR_EOF);
    tls_context_free(sctx);
    tls_context_free(cctx);
}

TASK_TEST(plain_text_instead_of_a_handshake)
{
    struct tls_context *sctx = server_context(pem);
    struct server t;
    struct stream *s = start(&t, sctx);

    stream_write(s, SPAN_LIT("EHLO pipelined\r\nRCPT TO:<a@b>\r\n"), never);
    stream_flush(s, never);
    task_group_wait(&t.group, never);
    assert_int_equal(t.handshake_rc, ERR_TLS);
    stream_free(s);
    tls_context_free(sctx);
}

/* One job of the server for each flight that needs public keys: its own first one, and the
 * client's when that brings a certificate. The client's two are both such. */
TASK_TEST(the_end_of_a_handshake_needs_no_worker)
{
    static const struct {
        enum tls_client_certificate client_certificate;
        unsigned jobs;
    } rows[] = {{TLS_CERTIFICATE_IGNORE, 3}, {TLS_CERTIFICATE_ASK, 4}};
    struct tls_context *cctx = client_context(TLS_LEVEL_MAY, "");

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tls_options options = {.chain_files = pem,
                                      .client_certificate = rows[i].client_certificate};
        struct tls_context *sctx;
        struct task_stats before, after;
        struct server t;
        struct str why = {0};
        struct stream *s;

        assert_int_equal(tls_context_new_server(&sctx, &options, &why), 0);
        s = start(&t, sctx);
        task_get_stats(&before);
        assert_int_equal(stream_start_tls_client(s, cctx, "", never), 0);
        echo(s, "x\n");
        task_get_stats(&after);
        assert_int_equal(after.jobs - before.jobs, rows[i].jobs);
        stream_shutdown(s, never);
        stream_free(s);
        task_group_wait(&t.group, never);
        tls_context_free(sctx);
    }
    tls_context_free(cctx);
}

TASK_TEST(a_hello_may_be_large)
{
    struct tls_context *sctx = server_context(pem), *cctx = client_context(TLS_LEVEL_MAY, "");
    static unsigned char protocols[10000]; /* "a" 5,000 times: more than is read at once */
    struct server t;
    struct stream *s = start(&t, sctx);

    for (size_t i = 0; i < sizeof(protocols); i += 2) {
        protocols[i] = 1;
        protocols[i + 1] = 'a';
    }
    assert_int_equal(SSL_CTX_set_alpn_protos(cctx->ssl, protocols, sizeof(protocols)), 0);
    assert_int_equal(stream_start_tls_client(s, cctx, "", never), 0);
    echo(s, "x\n");
    stream_shutdown(s, never);
    stream_free(s);
    task_group_wait(&t.group, never);
    assert_int_equal(t.end_rc, ERR_EOF);
    tls_context_free(sctx);
    tls_context_free(cctx);
}

/* A client of OpenSSL alone, so that a test can say what comes in one piece. */
static void pass_on(struct stream *s, BIO *bio)
{
    char *data;
    long n = BIO_get_mem_data(bio, &data);

    assert_int_equal(stream_write(s, span_make(data, (size_t)n), never), 0);
    assert_int_equal(stream_flush(s, never), 0);
    (void)BIO_reset(bio);
}

static void take_in(struct stream *s, BIO *bio)
{
    struct span data;

    assert_int_equal(stream_peek(s, 1, &data, never), 0);
    BIO_write(bio, data.p, (int)data.n);
    stream_consume(s, data.n);
}

TASK_TEST(what_comes_with_the_last_flight_gets_through)
{
    struct tls_context *sctx = server_context(pem), *cctx = client_context(TLS_LEVEL_MAY, "");
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL *ssl = SSL_new(cctx->ssl);
    static char line[30000], back[sizeof(line)];
    size_t got = 0;
    struct server t;
    struct stream *s = start(&t, sctx);

    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    SSL_set_bio(ssl, in, out);
    SSL_clear_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_set_connect_state(ssl);
    while (SSL_do_handshake(ssl) != 1) {
        pass_on(s, out);
        take_in(s, in);
    }
    /* The client's Finished and a line that is longer than what is read at once. */
    assert_int_equal(SSL_write(ssl, line, sizeof(line)), sizeof(line));
    pass_on(s, out);
    while (got < sizeof(line)) {
        int n = SSL_read(ssl, back + got, (int)(sizeof(back) - got));
        if (n > 0)
            got += (size_t)n;
        else
            take_in(s, in);
    }
    assert_memory_equal(back, line, sizeof(line));
    SSL_free(ssl);
    stream_free(s);
    task_group_wait(&t.group, never);
    tls_context_free(sctx);
    tls_context_free(cctx);
}

/* One whose issuer only the CA file knows is sent with it, as Postfix does. */
TASK_TEST(a_chain_is_completed_from_the_ca_file)
{
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    char ca[80], leaf[80];
    struct tls_options options = {.cert_file = leaf, .ca_file = ca};
    struct tls_context *sctx, *cctx = client_context(TLS_LEVEL_MAY, "");
    struct server t;
    struct str why = {0};
    struct stream *s;

    snprintf(ca, sizeof(ca), "%s/ca", directory);
    snprintf(leaf, sizeof(leaf), "%s/leaf", directory);
    make_issued_certificate(ca, "ca.test", ca_key, "ca.test", ca_key);
    make_issued_certificate(leaf, "leaf.test", key, "ca.test", ca_key);
    assert_int_equal(tls_context_new_server(&sctx, &options, &why), 0);
    s = start(&t, sctx);
    assert_int_equal(stream_start_tls_client(s, cctx, "", never), 0);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(s->tls->ssl)), 2);
    assert_string_equal(stream_tls(s)->peer_issuer, "ca.test");
    stream_free(s);
    task_group_wait(&t.group, never);
    tls_context_free(sctx);
    tls_context_free(cctx);
    unlink(ca);
    unlink(leaf);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
}

static SSL_SESSION *ticket;

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    assert_null(ticket);
    ticket = session;
    return 1;
}

TASK_TEST(a_ticket_comes_with_the_first_reply)
{
    struct tls_context *sctx = server_context(pem), *cctx = client_context(TLS_LEVEL_MAY, "");
    bool is_resumed = false;

    SSL_CTX_set_session_cache_mode(cctx->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(cctx->ssl, keep_ticket);
    for (int i = 0; i < 2; i++) {
        BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
        SSL *ssl = SSL_new(cctx->ssl);
        struct server t;
        struct stream *s = start(&t, sctx);
        struct span early;
        char line[3];

        SSL_set_bio(ssl, in, out);
        SSL_set_connect_state(ssl);
        if (ticket != NULL) {
            assert_int_equal(SSL_set_session(ssl, ticket), 1);
            SSL_SESSION_free(ticket);
            ticket = NULL;
        }
        while (SSL_do_handshake(ssl) != 1) {
            pass_on(s, out);
            take_in(s, in);
        }
        pass_on(s, out);
        assert_int_equal(stream_peek(s, 1, &early, deadline_in(20)), -ETIMEDOUT);
        assert_int_equal(SSL_write(ssl, "x\n", 2), 2);
        pass_on(s, out);
        while (SSL_read(ssl, line, sizeof(line)) != 2)
            take_in(s, in);
        assert_non_null(ticket);
        is_resumed = SSL_session_reused(ssl) == 1;
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN); /* or the session counts as bad */
        SSL_free(ssl);
        stream_free(s);
        task_group_wait(&t.group, never);
    }
    assert_true(is_resumed);
    SSL_SESSION_free(ticket);
    tls_context_free(sctx);
    tls_context_free(cctx);
}

/* A server's half must not depend on how its peer's octets come. */
TASK_TEST(a_client_may_send_one_octet_at_a_time)
{
    static const char *const protocols[] = {"TLSv1.3", "TLSv1.2"};

    for (size_t i = 0; i < COUNT_OF(protocols); i++) {
        struct tls_context *sctx = server_context(pem);
        struct tls_context *cctx = client_context(TLS_LEVEL_MAY, protocols[i]);
        BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
        SSL *ssl = SSL_new(cctx->ssl);
        struct server t;
        struct stream *s = start(&t, sctx);
        bool is_over = false;
        char octet;

        SSL_set_bio(ssl, in, out);
        SSL_set_connect_state(ssl);
        while (!is_over) {
            is_over = SSL_do_handshake(ssl) == 1;
            if (is_over)
                assert_int_equal(SSL_write(ssl, "x\n", 2), 2);
            while (BIO_read(out, &octet, 1) == 1) {
                assert_int_equal(stream_write(s, span_make(&octet, 1), never), 0);
                assert_int_equal(stream_flush(s, never), 0);
                assert_int_equal(task_sleep(deadline_in(1)), 0);
            }
            take_in(s, in);
        }
        assert_string_equal(SSL_get_version(ssl), protocols[i]);
        assert_int_equal(t.handshake_rc, 0);
        SSL_free(ssl);
        stream_free(s);
        task_group_wait(&t.group, never);
        tls_context_free(sctx);
        tls_context_free(cctx);
    }
}

TASK_TEST(a_reset_in_a_handshake_is_named)
{
    struct tls_context *sctx = server_context(pem);
    struct server t;
    struct stream *s = start(&t, sctx);

    /* What the client has not read when it closes makes a reset of it. */
    assert_int_equal(write(t.fd, "x", 1), 1);
    stream_free(s);
    task_group_wait(&t.group, never);
    assert_int_equal(t.handshake_rc, -ECONNRESET);
    tls_context_free(sctx);
}

static void protocol_lists(void **state)
{
    static const struct {
        const char *text;
        int rc, lowest, highest;
        uint64_t excluded;
    } rows[] = {
        {"", 0, 0, 0, 0},
        {">=TLSv1", 0, TLS1_VERSION, 0, 0},
        {">=TLSv1.2, <=TLSv1.3", 0, TLS1_2_VERSION, TLS1_3_VERSION, 0},
        {"!SSLv2, !SSLv3", 0, 0, 0, SSL_OP_NO_SSLv3},
        {"TLSv1.2 TLSv1.3", 0, 0, 0, SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1},
        {"!SSLv4", ERR_SYNTAX, 0, 0, 0},
        {">=", ERR_SYNTAX, 0, 0, 0},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str why = {0};
        int lowest, highest;
        uint64_t excluded;

        assert_int_equal(
            tls_protocols_parse(span_cstr(rows[i].text), &lowest, &highest, &excluded, &why),
            rows[i].rc);
        if (rows[i].rc == 0) {
            assert_int_equal(lowest, rows[i].lowest);
            assert_int_equal(highest, rows[i].highest);
            assert_true(excluded == rows[i].excluded);
        }
        str_fini(&why);
    }
}

static void bad_files_are_named(void **state)
{
    struct tls_options options = {.chain_files = "/nonexistent/cert.pem"};
    struct tls_context *ctx;
    struct str why = {0};

    assert_int_equal(tls_context_new_server(&ctx, &options, &why), -ENOENT);
    assert_non_null(strstr(str_cstr(&why), "/nonexistent/cert.pem"));
    str_fini(&why);
}

static int set_up(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(pem, sizeof(pem), "%s/a.pem", directory);
    snprintf(other_pem, sizeof(other_pem), "%s/b.pem", directory);
    make_certificate(pem, "mx.example.test", EVP_EC_gen("P-256"));
    make_certificate(other_pem, "other.example.test", EVP_RSA_gen(2048));
    return 0;
}

static int tear_down(void **state)
{
    unlink(pem);
    unlink(other_pem);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_facts_and_closing),
        cmocka_unit_test(truncation_is_told_apart),
        cmocka_unit_test(verification),
        cmocka_unit_test(names_choose_certificates),
        cmocka_unit_test(bulk_and_large_records),
        cmocka_unit_test(the_end_of_a_handshake_needs_no_worker),
        cmocka_unit_test(a_hello_may_be_large),
        cmocka_unit_test(what_comes_with_the_last_flight_gets_through),
        cmocka_unit_test(a_chain_is_completed_from_the_ca_file),
        cmocka_unit_test(a_ticket_comes_with_the_first_reply),
        cmocka_unit_test(a_client_may_send_one_octet_at_a_time),
        cmocka_unit_test(a_reset_in_a_handshake_is_named),
        cmocka_unit_test(plain_text_instead_of_a_handshake),
        cmocka_unit_test(protocol_lists),
        cmocka_unit_test(bad_files_are_named),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
