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
#include "net/stream.h"
#include "net/tls_internal.h"

static const deadline_t never = DEADLINE_NONE;
static char directory[] = "/tmp/test-tls-XXXXXX";
static char pem[64], other_pem[64];

/* A self-signed certificate (its own CA) for name, after its key, in one file. */
static void make_certificate(const char *path, const char *name, EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);
    char san[64];
    X509_EXTENSION *extension;
    FILE *f = fopen(path, "w");

    snprintf(san, sizeof(san), "DNS:%s,IP:127.0.0.1", name);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    X509_set_pubkey(x, key);
    extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    X509_free(x);
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
        cmocka_unit_test(plain_text_instead_of_a_handshake),
        cmocka_unit_test(protocol_lists),
        cmocka_unit_test(bad_files_are_named),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
