/* Handshakes whose private key is behind the provider of tls_signer.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/tls_internal.h"
#include "net/tls_signer.h"

static struct tls_keyring *ring;
static size_t checked; /* keys */
static unsigned signatures;
static bool is_holder_gone;

static int sign(void *arg, const struct tls_sign_request *request, struct str *signature)
{
    signatures++;
    return is_holder_gone ? ERR_TEMPORARY : tls_keyring_sign(ring, request, signature);
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"mx.test", -1, -1,
                               0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

/* The certificate goes to one file, its key to another. */
static void write_pair(EVP_PKEY *key, char *cert_path, char *key_path)
{
    X509 *x = make_certificate(key);
    FILE *file = fdopen(mkstemp(cert_path), "w");

    PEM_write_X509(file, x);
    fclose(file);
    file = fdopen(mkstemp(key_path), "w");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(x);
}

/* 1: both sides are done. */
static int shake(SSL_CTX *server_ctx, int version)
{
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    BIO *a, *b;
    int done = 0;

    SSL_set_min_proto_version(client, version);
    SSL_set_max_proto_version(client, version);
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int i = 0; i < 10 && !done; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
        done = SSL_is_init_finished(client) && SSL_is_init_finished(server);
    }
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    return done;
}

static void check_key(EVP_PKEY *key)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    char cert[] = "/tmp/waypost-cert.XXXXXX", private[] = "/tmp/waypost-key.XXXXXX";
    struct tls_options options = {.cert_file = cert, .key_file = private};
    struct tls_context *ctx;
    struct str why = {0};

    assert_non_null(key);
    write_pair(key, cert, private);
    ring = tls_keyring_new();
    assert_int_equal(tls_keyring_add(ring, &options, &why), 0);
    assert_false(tls_keyring_has(ring, tls_signer_fingerprint(checked)));
    unlink(private); /* what has no file cannot be read by this context */
    options.is_key_remote = true;
    assert_int_equal(tls_context_new_server(&ctx, &options, &why), 0);
    assert_true(tls_keyring_has(ring, tls_signer_fingerprint(checked)));
    assert_false(tls_keyring_has(ring, tls_signer_fingerprint(checked + 1)));
    checked++;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        for (int round = 0; round < 20; round++) {
            unsigned before = signatures;
            assert_int_equal(shake(ctx->ssl, versions[i]), 1);
            assert_int_equal(signatures, before + 1);
        }
    }
    is_holder_gone = true;
    assert_int_equal(shake(ctx->ssl, TLS1_3_VERSION), 0);
    is_holder_gone = false;
    tls_context_free(ctx);
    tls_keyring_free(ring);
    unlink(cert);
    EVP_PKEY_free(key);
    str_fini(&why);
}

static void test_only_quick_signatures_need_no_worker(void **state)
{
    const struct {
        EVP_PKEY *key;
        bool is_quick;
    } rows[] = {
        {EVP_EC_gen("P-256"), true}, {EVP_EC_gen("P-384"), false}, {EVP_RSA_gen(2048), false}};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char cert[] = "/tmp/waypost-cert.XXXXXX", private[] = "/tmp/waypost-key.XXXXXX";
        struct tls_options options = {.cert_file = cert, .key_file = private};
        struct tls_keyring *keys = tls_keyring_new();
        unsigned char fingerprint[TLS_FINGERPRINT_OCTETS];
        struct str why = {0};

        write_pair(rows[i].key, cert, private);
        assert_int_equal(tls_keyring_add(keys, &options, &why), 0);
        assert_int_equal(tls_key_fingerprint(rows[i].key, fingerprint), 0);
        assert_int_equal(tls_keyring_is_quick(keys, span_make(fingerprint, sizeof(fingerprint))),
                         rows[i].is_quick);
        fingerprint[0] ^= 1;
        assert_false(tls_keyring_is_quick(keys, span_make(fingerprint, sizeof(fingerprint))));
        tls_keyring_free(keys);
        unlink(cert);
        unlink(private);
        EVP_PKEY_free(rows[i].key);
    }
}

static void test_handshakes_with_remote_keys(void **state)
{
    assert_int_equal(tls_signer_start(sign, NULL), 0);
    check_key(EVP_EC_gen("P-256"));
    check_key(EVP_EC_gen("P-384"));
    check_key(EVP_RSA_gen(2048));
    tls_signer_stop();
}

static void test_a_key_must_fit_its_certificate(void **state)
{
    char cert[] = "/tmp/waypost-cert.XXXXXX", private[] = "/tmp/waypost-key.XXXXXX";
    char other_cert[] = "/tmp/waypost-cert.XXXXXX", other_key[] = "/tmp/waypost-key.XXXXXX";
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    struct tls_options options = {.cert_file = cert, .key_file = other_key};
    struct tls_keyring *keys = tls_keyring_new();
    struct str why = {0};

    write_pair(key, cert, private);
    write_pair(other, other_cert, other_key);
    assert_int_equal(tls_keyring_add(keys, &options, &why), ERR_TLS);
    assert_non_null(strstr(str_cstr(&why), cert));
    options.key_file = private;
    assert_int_equal(tls_keyring_add(keys, &options, &why), 0);
    tls_keyring_free(keys);
    unlink(cert);
    unlink(private);
    unlink(other_cert);
    unlink(other_key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    str_fini(&why);
}

static void test_only_handshakes_are_signed(void **state)
{
    char text[200];
    struct span whole;

    memset(text, ' ', 64);
    memcpy(text + 64, "TLS 1.3, server CertificateVerify", 34);
    memset(text + 98, 'h', 32);
    whole = span_make(text, 130);
    assert_true(tls_is_handshake_text(whole));
    assert_false(tls_is_handshake_text(span_take(whole, 129)));
    assert_false(tls_is_handshake_text(span_take(whole, 98)));
    text[80] = 'c'; /* "TLS 1.3, client ..." is not a server's */
    assert_false(tls_is_handshake_text(whole));
    text[64] = 3;
    text[67] = 62;
    assert_true(tls_is_handshake_text(whole)); /* the shape of TLS 1.2's parameters */
    text[67] = 63;
    assert_false(tls_is_handshake_text(whole));
    assert_false(tls_is_handshake_text(SPAN_LIT("sign this please")));
    assert_false(tls_is_handshake_text(SPAN_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_quick_signatures_need_no_worker),
        cmocka_unit_test(test_a_key_must_fit_its_certificate),
        /* Unloads the providers that the others use. */
        cmocka_unit_test(test_handshakes_with_remote_keys),
        cmocka_unit_test(test_only_handshakes_are_signed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
