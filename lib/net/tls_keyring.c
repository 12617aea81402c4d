/* The holder's half of tls_signer.h. */
#include <errno.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/error.h"
#include "base/fd.h"
#include "net/tls_internal.h"
#include "net/tls_signer.h"

enum { KEYS_MAX = 256 };

struct ring_key {
    EVP_PKEY *key;
    unsigned char fingerprint[TLS_FINGERPRINT_OCTETS];
    bool is_quick;
};

struct tls_keyring {
    struct ring_key keys[KEYS_MAX];
    size_t count;
};

int tls_key_fingerprint(EVP_PKEY *key, unsigned char out[TLS_FINGERPRINT_OCTETS])
{
    unsigned char *der = NULL;
    size_t size = TLS_FINGERPRINT_OCTETS;
    int n = i2d_PUBKEY(key, &der);
    int ok = n > 0 && EVP_Q_digest(NULL, "SHA256", NULL, der, (size_t)n, out, &size) == 1;

    OPENSSL_free(der);
    return ok ? 0 : ERR_TLS;
}

struct tls_keyring *tls_keyring_new(void)
{
    return NEW(struct tls_keyring);
}

void tls_keyring_free(struct tls_keyring *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->count; i++)
        EVP_PKEY_free(r->keys[i].key);
    free(r);
}

static int open_file(FILE **out, const char *path, struct str *why)
{
    int rc;

    ERR_clear_error();
    file_note(path);
    *out = fopen(path, "re");
    if (*out != NULL)
        return 0;
    rc = -errno;
    str_printf(why, "%s: %s", path, error_text(rc));
    return rc;
}

static int explain(struct str *why, const char *what, const char *path)
{
    str_printf(why, "%s %s: ", what, path);
    tls_take_errors(why);
    return ERR_TLS;
}

/* Its user would find it out in every handshake. */
static int check_fit(EVP_PKEY *key, const char *cert, struct str *why)
{
    X509 *certificate;
    FILE *file;
    int rc = open_file(&file, cert, why);

    if (rc < 0)
        return rc;
    certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    if (certificate == NULL)
        rc = explain(why, "cannot load certificates from", cert);
    else if (X509_check_private_key(certificate, key) != 1)
        rc = explain(why, "the private key does not fit", cert);
    X509_free(certificate);
    return rc;
}

static int check_room(const struct tls_keyring *r, struct str *why)
{
    if (r->count < KEYS_MAX)
        return 0;
    str_printf(why, "more than %d private keys", KEYS_MAX);
    return ERR_LIMIT;
}

/* Of the NIST curves, OpenSSL has code of its own for P-256 only. */
static bool is_quick(EVP_PKEY *key)
{
    char group[32];

    return EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
           strcmp(group, SN_X9_62_prime256v1) == 0;
}

/* The slot behind the last one has its key and fingerprint. */
static void keep_slot(struct tls_keyring *r)
{
    struct ring_key *slot = &r->keys[r->count++];

    slot->is_quick = is_quick(slot->key);
}

static int add_pair(struct tls_keyring *r, const char *cert, const char *path, struct str *why)
{
    struct ring_key *slot = &r->keys[r->count];
    FILE *file;
    int rc = check_room(r, why);

    if (rc == 0)
        rc = open_file(&file, path, why);
    if (rc < 0)
        return rc;
    slot->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    if (slot->key == NULL || tls_key_fingerprint(slot->key, slot->fingerprint) < 0)
        rc = explain(why, "cannot load a private key from", path);
    else
        rc = check_fit(slot->key, cert, why);
    if (rc < 0) {
        EVP_PKEY_free(slot->key);
        return rc;
    }
    keep_slot(r);
    return 0;
}

static int add_chain_pair(void *arg, const struct tls_pair *pair, struct str *why)
{
    struct tls_keyring *r = arg;
    struct ring_key *slot = &r->keys[r->count];
    int rc = check_room(r, why);

    if (rc < 0)
        return rc;
    if (tls_key_fingerprint(pair->key, slot->fingerprint) < 0)
        return explain(why, "cannot use the private key in", pair->key_file);
    EVP_PKEY_up_ref(pair->key);
    slot->key = pair->key;
    keep_slot(r);
    return 0;
}

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0' && strcmp(text, "none") != 0;
}

int tls_keyring_add(struct tls_keyring *r, const struct tls_options *o, struct str *why)
{
    int rc = 0;

    if (is_given(o->chain_files))
        return tls_chain_read(o->chain_files, true, add_chain_pair, r, why);
    if (is_given(o->cert_file))
        rc = add_pair(r, o->cert_file, is_given(o->key_file) ? o->key_file : o->cert_file, why);
    if (rc == 0 && is_given(o->eccert_file))
        rc = add_pair(r, o->eccert_file, is_given(o->eckey_file) ? o->eckey_file : o->eccert_file,
                      why);
    return rc;
}

bool tls_is_handshake_text(struct span data)
{
    static const char label[] = "TLS 1.3, server CertificateVerify"; /* and its NUL */
    const unsigned char *p = (const unsigned char *)data.p;
    size_t spaces = 0;

    while (spaces < data.n && spaces < 64 && data.p[spaces] == ' ')
        spaces++;
    if (spaces == 64 && data.n > 64 + sizeof(label) &&
        memcmp(data.p + 64, label, sizeof(label)) == 0) {
        size_t hash = data.n - 64 - sizeof(label);
        return hash == 32 || hash == 48 || hash == 64;
    }
    /* Two randoms of 32 octets, curve type 3, a curve, and a point with its length. */
    return data.n > 68 && p[64] == 3 && data.n == 68 + (size_t)p[67];
}

static const struct ring_key *find_key(const struct tls_keyring *r, struct span fingerprint)
{
    for (size_t i = 0; i < r->count; i++) {
        if (span_eq(fingerprint, span_make(r->keys[i].fingerprint, TLS_FINGERPRINT_OCTETS)))
            return &r->keys[i];
    }
    return NULL;
}

bool tls_keyring_has(const struct tls_keyring *r, struct span fingerprint)
{
    return find_key(r, fingerprint) != NULL;
}

bool tls_keyring_is_quick(const struct tls_keyring *r, struct span fingerprint)
{
    const struct ring_key *key = find_key(r, fingerprint);

    return key != NULL && key->is_quick;
}

/* What TLS 1.2 and 1.3 sign with; not MD5, for which texts can be made to fit. */
static bool is_known_digest(struct span name)
{
    static const char *const digests[] = {"SHA1",     "SHA224",   "SHA256",   "SHA384",  "SHA512",
                                          "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512"};

    for (size_t i = 0; i < COUNT_OF(digests); i++) {
        if (span_ieq(name, span_cstr(digests[i])))
            return true;
    }
    return false;
}

static int set_padding(EVP_PKEY_CTX *ctx, struct span scheme)
{
    if (span_eq(scheme, SPAN_LIT("ecdsa")))
        return 0;
    if (span_eq(scheme, SPAN_LIT("rsa-pkcs1")))
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 ? 0 : ERR_TLS;
    if (!span_eq(scheme, SPAN_LIT("rsa-pss")))
        return ERR_NOT_SUPPORTED;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                   EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1
               ? 0
               : ERR_TLS;
}

int tls_keyring_sign(struct tls_keyring *r, const struct tls_sign_request *request,
                     struct str *signature)
{
    const struct ring_key *slot = find_key(r, request->fingerprint);
    EVP_MD_CTX *md;
    EVP_PKEY_CTX *ctx;
    char digest[32];
    size_t n = 0;
    int rc = 0;

    if (slot == NULL)
        return ERR_NOT_FOUND;
    if (!tls_is_handshake_text(request->data) || !is_known_digest(request->digest) ||
        request->digest.n >= sizeof(digest))
        return ERR_DENIED;
    memcpy(digest, request->digest.p, request->digest.n);
    digest[request->digest.n] = '\0';
    ERR_clear_error();
    md = EVP_MD_CTX_new();
    if (md == NULL)
        return -ENOMEM;
    if (EVP_DigestSignInit_ex(md, &ctx, digest, NULL, NULL, slot->key, NULL) != 1)
        rc = ERR_TLS;
    if (rc == 0)
        rc = set_padding(ctx, request->scheme);
    if (rc == 0 &&
        EVP_DigestSign(md, NULL, &n, (const unsigned char *)request->data.p, request->data.n) != 1)
        rc = ERR_TLS;
    if (rc == 0)
        rc = str_reserve(signature, n);
    if (rc == 0 && EVP_DigestSign(md, (unsigned char *)signature->data + signature->len, &n,
                                  (const unsigned char *)request->data.p, request->data.n) != 1)
        rc = ERR_TLS;
    if (rc == 0) {
        signature->len += n;
        signature->data[signature->len] = '\0';
    }
    EVP_MD_CTX_free(md);
    return rc;
}
