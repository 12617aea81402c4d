/* smtpd_tls_chain_files: sequences of keys and certificates over several files. */
#include <errno.h>
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

enum { KIND_RSA, KIND_EC, KIND_OTHER, KIND_ISSUER, KINDS };

static char directory[] = "/tmp/waypost-chain.XXXXXX";
static EVP_PKEY *keys[KINDS];
static X509 *certificates[KINDS];
static struct tls_keyring *ring;

static X509 *make_certificate(EVP_PKEY *key, const char *name)
{
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

/* What a file holds, a letter for each object: keys "r" (RSA), "e" and "o" (EC), their
 * certificates "R", "E", "O", an issuer "I"; "x" and "y" an encrypted key, "p" parameters, "b"
 * broken base64, "t" text. */
static void write_object(FILE *f, char what)
{
    static const char letters[] = "reoi";
    const char *at = strchr(letters, what | 0x20);

    if (at != NULL && *at != what)
        PEM_write_X509(f, certificates[at - letters]);
    else if (at != NULL)
        PEM_write_PrivateKey(f, keys[at - letters], NULL, NULL, 0, NULL, NULL);
    else if (what == 'x')
        PEM_write_PrivateKey(f, keys[KIND_EC], EVP_aes_128_cbc(), (unsigned char *)"pass", 4, NULL,
                             NULL);
    else if (what == 'y')
        fputs("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
              "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nBggqhkjOPQMBBw==\n"
              "-----END EC PRIVATE KEY-----\n",
              f);
    else if (what == 'p')
        fputs("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", f);
    else if (what == 'b')
        fputs("-----BEGIN CERTIFICATE-----\nBggqhkj\n-----END CERTIFICATE-----\n", f);
    else
        fputs("mail.example.test, renewed in May\n", f);
}

/* "re,R": two files; their names, as the parameter lists them. */
static void write_files(const char *text, struct str *names)
{
    struct span rest = span_cstr(text), content;

    str_clear(names);
    for (char name = 'a'; span_next(&rest, ',', &content); name++) {
        char path[64];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%c.pem", directory, name);
        f = fopen(path, "w");
        for (size_t i = 0; i < content.n; i++)
            write_object(f, content.p[i]);
        fclose(f);
        str_printf(names, "%s%s", names->len > 0 ? ", " : "", path);
    }
}

/* The kind of the certificate that a client gets which knows these signatures only, and
 * how many certificates come with it; 0: no handshake. */
static int shake(SSL_CTX *server_ctx, int version, const char *algorithms, int *count)
{
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    BIO *a, *b;
    int kind = 0;

    SSL_set_min_proto_version(client, version);
    SSL_set_max_proto_version(client, version);
    SSL_set1_sigalgs_list(client, algorithms);
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    if (SSL_is_init_finished(client) && SSL_is_init_finished(server)) {
        kind = EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_get0_peer_certificate(client)));
        *count = sk_X509_num(SSL_get_peer_cert_chain(client));
    }
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    return kind;
}

static void check_pairs(const char *text, int rsa, int ec, bool is_key_remote)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct str names = {0}, why = {0};
    struct tls_options options = {.is_key_remote = is_key_remote};
    struct tls_context *ctx;

    write_files(text, &names);
    options.chain_files = str_cstr(&names);
    ring = tls_keyring_new();
    assert_int_equal(tls_keyring_add(ring, &options, &why), 0);
    if (tls_context_new_server(&ctx, &options, &why) < 0)
        fail_msg("%s: %s", text, str_cstr(&why));
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        int count = 0;

        assert_int_equal(shake(ctx->ssl, versions[i], "rsa_pss_rsae_sha256", &count),
                         rsa > 0 ? EVP_PKEY_RSA : 0);
        assert_int_equal(count, rsa);
        count = 0;
        assert_int_equal(shake(ctx->ssl, versions[i], "ecdsa_secp256r1_sha256", &count),
                         ec > 0 ? EVP_PKEY_EC : 0);
        assert_int_equal(count, ec);
    }
    tls_context_free(ctx);
    tls_keyring_free(ring);
    str_fini(&names);
    str_fini(&why);
}

/* What is read, and how many certificates a client gets with either kind of key. */
static const struct {
    const char *files;
    int rsa, ec;
} good[] = {
    {"rR", 1, 0},  {"eE", 0, 1},       {"rReE", 1, 1},   {"eEIrRII", 3, 2}, {"rR,eE", 1, 1},
    {"r,R", 1, 0}, {"r,RI,e,E", 2, 1}, {"rRe,EI", 1, 2}, {"r,R,I", 2, 0},   {"trtRt,t", 1, 0},
};

static void test_pairs_in_their_order(void **state)
{
    for (size_t i = 0; i < COUNT_OF(good); i++)
        check_pairs(good[i].files, good[i].rsa, good[i].ec, false);
}

static int sign(void *arg, const struct tls_sign_request *request, struct str *signature)
{
    return tls_keyring_sign(ring, request, signature);
}

static void test_pairs_whose_keys_are_elsewhere(void **state)
{
    assert_int_equal(tls_signer_start(sign, NULL), 0);
    for (size_t i = 0; i < COUNT_OF(good); i++)
        check_pairs(good[i].files, good[i].rsa, good[i].ec, true);
    tls_signer_stop();
}

static void test_what_is_no_sequence_is_refused_with_its_file(void **state)
{
    static const struct {
        const char *files, *named, *reason;
        bool is_for_context_only;
    } rows[] = {
        {"Rr", "a.pem", "a certificate with no private key before it", false},
        {"R,r", "a.pem", "a certificate with no private key before it", false},
        {"rR,e", "b.pem", "a private key with no certificate after it", false},
        {"reE", "a.pem", "a private key with no certificate after it", false},
        {"r,e,E", "a.pem", "a private key with no certificate after it", false},
        {"rR,eO", "b.pem", "does not fit the certificate after it", false},
        {"e,rR,O", "a.pem", "a private key with no certificate after it", false},
        {"rR,x,E", "b.pem", "the private key is encrypted", false},
        {"rR,y,E", "b.pem", "the private key is encrypted", false},
        {"rR,peE", "b.pem", "neither a private key nor a certificate: EC PARAMETERS", false},
        {"r,b", "b.pem", "not in PEM format", false},
        {"t", "a.pem", "no private key with a certificate", false},
        {"eE,oO", "b.pem", "a second certificate of the same kind", true},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str names = {0}, why = {0};
        struct tls_options options = {0};
        struct tls_context *ctx;
        struct tls_keyring *r = tls_keyring_new();

        write_files(rows[i].files, &names);
        options.chain_files = str_cstr(&names);
        assert_true(tls_context_new_server(&ctx, &options, &why) < 0);
        assert_non_null(strstr(str_cstr(&why), rows[i].named));
        assert_non_null(strstr(str_cstr(&why), rows[i].reason));
        assert_int_equal(tls_keyring_add(r, &options, &why) < 0, !rows[i].is_for_context_only);
        tls_keyring_free(r);
        str_fini(&names);
        str_fini(&why);
    }
}

static void test_a_file_that_is_missing_is_named(void **state)
{
    struct str names = {0}, why = {0};
    struct tls_options options = {0};
    struct tls_context *ctx;

    write_files("rR", &names);
    str_append_cstr(&names, " /nonexistent/ec.pem");
    options.chain_files = str_cstr(&names);
    assert_int_equal(tls_context_new_client(&ctx, &options, &why), -ENOENT);
    assert_non_null(strstr(str_cstr(&why), "/nonexistent/ec.pem"));
    str_fini(&names);
    str_fini(&why);
}

static void test_a_client_may_have_an_ec_certificate_only(void **state)
{
    struct tls_options options = {.eccert_file = "/nonexistent/ec.pem"};
    struct tls_context *ctx;
    struct str why = {0};

    assert_int_equal(tls_context_new_client(&ctx, &options, &why), ERR_TLS);
    assert_non_null(strstr(str_cstr(&why), "/nonexistent/ec.pem"));
    str_fini(&why);
}

static int set_up(void **state)
{
    static const char *const names[] = {"rsa.test", "ec.test", "other.test", "issuer.test"};

    for (int i = 0; i < KINDS; i++) {
        keys[i] = i == KIND_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
        certificates[i] = make_certificate(keys[i], names[i]);
    }
    return mkdtemp(directory) == NULL;
}

static int tear_down(void **state)
{
    for (int i = 0; i < KINDS; i++) {
        EVP_PKEY_free(keys[i]);
        X509_free(certificates[i]);
    }
    for (char name = 'a'; name <= 'd'; name++) {
        char path[64];

        snprintf(path, sizeof(path), "%s/%c.pem", directory, name);
        unlink(path);
    }
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_in_their_order),
        cmocka_unit_test(test_what_is_no_sequence_is_refused_with_its_file),
        cmocka_unit_test(test_a_file_that_is_missing_is_named),
        cmocka_unit_test(test_a_client_may_have_an_ec_certificate_only),
        /* Unloads the providers that the others use. */
        cmocka_unit_test(test_pairs_whose_keys_are_elsewhere),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
