/* Certificates, private keys and ticket keys. */
#include <errno.h>
#include <stdlib.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"
#include "net/tls_internal.h"
#include "net/tls_signer.h"

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0' && strcmp(text, "none") != 0;
}

static int explain(struct str *why, const char *what, const char *path)
{
    str_printf(why, "%s %s: ", what, path);
    tls_take_errors(why);
    return ERR_TLS;
}

/* Who issued the current certificate, from the CA file or directory, when its own file does
 * not say. OpenSSL would look it up in each handshake (1 % of one), where a CA directory is
 * out of reach. */
static void complete_chain(SSL_CTX *ssl)
{
    STACK_OF(X509) *issuers = NULL;

    SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN);
    if (SSL_CTX_get0_chain_certs(ssl, &issuers) == 1 && sk_X509_num(issuers) > 0)
        return;
    (void)SSL_CTX_build_cert_chain(ssl, SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR |
                                            SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
    ERR_clear_error();
}

/* A certificate with its chain, and its key. */
static int load_pair(SSL_CTX *ssl, const char *cert, const char *key, bool is_key_remote,
                     struct str *why)
{
    ERR_clear_error();
    file_note(cert);
    if (SSL_CTX_use_certificate_chain_file(ssl, cert) != 1)
        return explain(why, "cannot load certificates from", cert);
    if (is_key_remote) {
        EVP_PKEY *remote = tls_signer_key(SSL_CTX_get0_certificate(ssl));
        int ok = remote != NULL && SSL_CTX_use_PrivateKey(ssl, remote) == 1;
        EVP_PKEY_free(remote);
        complete_chain(ssl);
        return ok ? 0 : explain(why, "no remote private key for", cert);
    }
    file_note(key);
    if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        return explain(why, "cannot load a private key from", key);
    if (SSL_CTX_check_private_key(ssl) != 1)
        return explain(why, "the private key does not fit", cert);
    complete_chain(ssl);
    return 0;
}

struct loading {
    SSL_CTX *ssl;
    bool is_key_remote;
};

/* One of the pairs of a chain file: one for each kind of key. */
static int use_pair(void *arg, const struct tls_pair *pair, struct str *why)
{
    const struct loading *l = arg;
    EVP_PKEY *key = l->is_key_remote ? tls_signer_key(pair->certificate) : NULL;
    int ok;

    ERR_clear_error();
    if (l->is_key_remote && key == NULL)
        return explain(why, "no remote private key for", pair->certificate_file);
    ok = SSL_CTX_use_cert_and_key(l->ssl, pair->certificate, key != NULL ? key : pair->key,
                                  pair->issuers, 0) == 1;
    EVP_PKEY_free(key);
    if (ok) {
        complete_chain(l->ssl);
        return 0;
    }
    if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_NOT_REPLACING_CERTIFICATE)
        return explain(why, "cannot use the certificate in", pair->certificate_file);
    ERR_clear_error();
    str_printf(why, "%s: a second certificate of the same kind (RSA, ECDSA)",
               pair->certificate_file);
    return ERR_TLS;
}

int tls_load_certificates(SSL_CTX *ssl, const struct tls_options *o, struct str *why)
{
    int rc = 0;

    if (is_given(o->chain_files)) {
        struct loading l = {.ssl = ssl, .is_key_remote = o->is_key_remote};
        return tls_chain_read(o->chain_files, !o->is_key_remote, use_pair, &l, why);
    }
    if (is_given(o->cert_file))
        rc = load_pair(ssl, o->cert_file, is_given(o->key_file) ? o->key_file : o->cert_file,
                       o->is_key_remote, why);
    if (rc == 0 && is_given(o->eccert_file))
        rc =
            load_pair(ssl, o->eccert_file, is_given(o->eckey_file) ? o->eckey_file : o->eccert_file,
                      o->is_key_remote, why);
    return rc;
}

/* --- tickets --- */

static int use_key(const struct tls_ticket_key *key, const unsigned char *iv,
                   EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_new)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->hmac, sizeof(key->hmac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };

    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, is_new) != 1 ||
        EVP_MAC_CTX_set_params(mac, params) != 1)
        return -1;
    return 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int is_new)
{
    struct tls_context *ctx = SSL_get_app_data(ssl);
    const struct tls_ticket_source *source = ctx->tickets;
    struct tls_ticket_key key, current;
    int rc;

    if (is_new) {
        if (!source->current(source->arg, &key))
            return 0;
        memcpy(name, key.name, sizeof(key.name));
        random_bytes(iv, 16);
        rc = use_key(&key, iv, cipher, mac, 1);
    } else {
        if (!source->find(source->arg, name, &key))
            return 0;
        rc = use_key(&key, iv, cipher, mac, 0);
        /* 2: good, but give the client a ticket under the current key. */
        if (rc == 1 && source->current(source->arg, &current) &&
            memcmp(current.name, key.name, sizeof(key.name)) != 0)
            rc = 2;
        explicit_bzero(&current, sizeof(current));
    }
    explicit_bzero(&key, sizeof(key));
    return rc;
}

int tls_set_tickets(struct tls_context *ctx)
{
    if (SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx->ssl, ticket_key) != 1)
        return ERR_TLS;
    return 0;
}
