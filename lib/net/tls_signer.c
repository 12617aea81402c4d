/*
 * The provider. OpenSSL asks it for keys of its own making only, so it implements
 * just what a TLS server's handshake needs: a key that shows its public half, and a
 * signature over a whole text. See provider-keymgmt(7), provider-signature(7).
 */
#include <stdlib.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/tls_internal.h"
#include "net/tls_signer.h"

#define PROVIDER_NAME "waypost"
#define PARAM_PUBLIC "waypost-public-key" /* DER of a SubjectPublicKeyInfo */

static tls_sign_fn *the_sign;
static void *the_sign_arg;
/* Loaded for the life of the process. */
static OSSL_PROVIDER *default_provider, *own_provider;

/* Of keys beyond, nobody is told in advance. */
enum { KNOWN_MAX = 16 };

static unsigned char known[KNOWN_MAX][TLS_FINGERPRINT_OCTETS];
static size_t known_count;

/* --- keys --- */

struct remote_key {
    EVP_PKEY *public; /* of OpenSSL's own provider */
    unsigned char fingerprint[TLS_FINGERPRINT_OCTETS];
};

static void *key_new(void *provider)
{
    return NEW(struct remote_key);
}

static void key_free(void *data)
{
    struct remote_key *key = data;

    if (key == NULL)
        return;
    EVP_PKEY_free(key->public);
    free(key);
}

static int key_import(void *data, int selection, const OSSL_PARAM params[])
{
    struct remote_key *key = data;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, PARAM_PUBLIC);
    const unsigned char *der;

    if (p == NULL || p->data_type != OSSL_PARAM_OCTET_STRING)
        return 0;
    der = p->data;
    key->public = d2i_PUBKEY_ex(NULL, &der, (long)p->data_size, NULL, "provider=default");
    return key->public != NULL && tls_key_fingerprint(key->public, key->fingerprint) == 0;
}

static const OSSL_PARAM *key_import_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_octet_string(PARAM_PUBLIC, NULL, 0),
        OSSL_PARAM_END,
    };

    return types;
}

/* The private half counts as there: it is, elsewhere. */
static int key_has(const void *data, int selection)
{
    const struct remote_key *key = data;

    return key != NULL && key->public != NULL;
}

static int key_match(const void *a, const void *b, int selection)
{
    const struct remote_key *x = a, *y = b;

    return x->public != NULL && y->public != NULL && EVP_PKEY_eq(x->public, y->public) == 1;
}

/* Only what is public: so OpenSSL signs here and not with a copy. */
static int key_export(void *data, int selection, OSSL_CALLBACK *callback, void *arg)
{
    struct remote_key *key = data;
    OSSL_PARAM *params = NULL;
    int ok;

    if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
        return 0;
    if (EVP_PKEY_todata(key->public, EVP_PKEY_PUBLIC_KEY, &params) != 1)
        return 0;
    ok = callback(params, arg);
    OSSL_PARAM_free(params);
    return ok;
}

static const OSSL_PARAM *key_export_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_END,
    };

    return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
    struct remote_key *key = data;

    /* What the public key does not know stays untouched, which is no failure. */
    (void)EVP_PKEY_get_params(key->public, params);
    return 1;
}

static const OSSL_PARAM *key_gettable_params(void *provider)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_END,
    };

    return types;
}

static const char *ec_operation_name(int operation)
{
    return "ECDSA";
}

static const char *rsa_operation_name(int operation)
{
    return "RSA";
}

#define KEY_FUNCTIONS(name_function)                                                  \
    {                                                                                 \
        {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))key_new},                             \
            {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))key_free},                       \
            {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))key_import},                   \
            {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))key_import_types},       \
            {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))key_export},                   \
            {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))key_export_types},       \
            {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))key_has},                         \
            {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))key_match},                     \
            {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))key_get_params},           \
            {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))key_gettable_params}, \
            {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))name_function},  \
        {                                                                             \
            0, NULL                                                                   \
        }                                                                             \
    }

static const OSSL_DISPATCH ec_key_functions[] = KEY_FUNCTIONS(ec_operation_name);
static const OSSL_DISPATCH rsa_key_functions[] = KEY_FUNCTIONS(rsa_operation_name);

/* --- signatures --- */

struct signing {
    struct remote_key *key;
    char digest[32];
    int padding;
};

static void *signing_new(void *provider, const char *properties)
{
    struct signing *s = NEW(struct signing);

    if (s != NULL)
        s->padding = RSA_PKCS1_PADDING;
    return s;
}

static void signing_free(void *data)
{
    free(data);
}

static int signing_set_params(void *data, const OSSL_PARAM params[])
{
    struct signing *s = data;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (p != NULL && p->data_type == OSSL_PARAM_UTF8_STRING)
        s->padding = strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0 ? RSA_PKCS1_PSS_PADDING
                                                                      : RSA_PKCS1_PADDING;
    else if (p != NULL && OSSL_PARAM_get_int(p, &s->padding) != 1)
        return 0;
    /* The salt is as long as the digest and MGF1 uses that digest: TLS has nothing
     * else (RFC 8446 4.2.3). */
    return s->padding == RSA_PKCS1_PADDING || s->padding == RSA_PKCS1_PSS_PADDING;
}

static const OSSL_PARAM *signing_settable_params(void *data, void *provider)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };

    return types;
}

static int signing_begin(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
    struct signing *s = data;

    s->key = key;
    snprintf(s->digest, sizeof(s->digest), "%s", digest != NULL ? digest : "SHA256");
    return signing_set_params(s, params);
}

static const char *scheme_of(const struct signing *s)
{
    if (EVP_PKEY_is_a(s->key->public, "EC"))
        return "ecdsa";
    return s->padding == RSA_PKCS1_PSS_PADDING ? "rsa-pss" : "rsa-pkcs1";
}

static int signing_sign(void *data, unsigned char *out, size_t *out_n, size_t out_max,
                        const unsigned char *text, size_t n)
{
    struct signing *s = data;
    struct str signature = {0};
    struct tls_sign_request request = {
        .fingerprint = span_make(s->key->fingerprint, TLS_FINGERPRINT_OCTETS),
        .scheme = span_cstr(scheme_of(s)),
        .digest = span_cstr(s->digest),
        .data = span_make(text, n),
    };
    int rc;

    if (out == NULL) {
        *out_n = (size_t)EVP_PKEY_get_size(s->key->public);
        return 1;
    }
    rc = the_sign(the_sign_arg, &request, &signature);
    if (rc == 0 && signature.len > out_max)
        rc = ERR_TOO_LONG;
    if (rc == 0) {
        memcpy(out, signature.data, signature.len);
        *out_n = signature.len;
    } else {
        log_error("the private key's holder did not sign: %s", error_text(rc));
    }
    str_fini(&signature);
    return rc == 0;
}

static const OSSL_DISPATCH signing_functions[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))signing_new},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))signing_free},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))signing_begin},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))signing_sign},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))signing_set_params},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))signing_settable_params},
    {0, NULL},
};

/* --- the provider --- */

static const OSSL_ALGORITHM key_algorithms[] = {
    {"RSA:rsaEncryption", "provider=" PROVIDER_NAME, rsa_key_functions, NULL},
    {"EC:id-ecPublicKey", "provider=" PROVIDER_NAME, ec_key_functions, NULL},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM signature_algorithms[] = {
    {"RSA:rsaEncryption", "provider=" PROVIDER_NAME, signing_functions, NULL},
    {"ECDSA", "provider=" PROVIDER_NAME, signing_functions, NULL},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
    *no_cache = 0;
    if (operation == OSSL_OP_KEYMGMT)
        return key_algorithms;
    return operation == OSSL_OP_SIGNATURE ? signature_algorithms : NULL;
}

static const OSSL_DISPATCH provider_functions[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
    {0, NULL},
};

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                         const OSSL_DISPATCH **out, void **context)
{
    *out = provider_functions;
    *context = (void *)handle;
    return 1;
}

int tls_signer_start(tls_sign_fn *sign, void *arg)
{
    the_sign = sign;
    the_sign_arg = arg;
    if (own_provider != NULL)
        return 0;
    /* Loading any provider ends the automatic loading of the default one. */
    default_provider = OSSL_PROVIDER_load(NULL, "default");
    if (default_provider != NULL &&
        OSSL_PROVIDER_add_builtin(NULL, PROVIDER_NAME, provider_init) == 1)
        own_provider = OSSL_PROVIDER_load(NULL, PROVIDER_NAME);
    return own_provider != NULL ? 0 : ERR_TLS;
}

void tls_signer_stop(void)
{
    OSSL_PROVIDER_unload(own_provider);
    OSSL_PROVIDER_unload(default_provider);
    own_provider = default_provider = NULL;
}

struct span tls_signer_fingerprint(size_t i)
{
    return i < known_count ? span_make(known[i], TLS_FINGERPRINT_OCTETS) : SPAN_NONE;
}

EVP_PKEY *tls_signer_key(X509 *certificate)
{
    EVP_PKEY *public = X509_get0_pubkey(certificate), *key = NULL;
    unsigned char *der = NULL;
    int n = public != NULL ? i2d_PUBKEY(public, &der) : -1;
    EVP_PKEY_CTX *ctx;
    OSSL_PARAM params[2] = {OSSL_PARAM_END, OSSL_PARAM_END};

    if (n <= 0)
        return NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, EVP_PKEY_is_a(public, "EC") ? "EC" : "RSA",
                                     "provider=" PROVIDER_NAME);
    params[0] = OSSL_PARAM_construct_octet_string(PARAM_PUBLIC, der, (size_t)n);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
        key = NULL;
    if (key != NULL && known_count < KNOWN_MAX &&
        tls_key_fingerprint(public, known[known_count]) == 0)
        known_count++;
    EVP_PKEY_CTX_free(ctx);
    OPENSSL_free(der);
    return key;
}
