/*
 * The files of smtpd_tls_chain_files, as postconf(5) has them: read one after the other
 * they are one sequence of PEM objects, in which each private key stands before its
 * certificate and the issuers of that.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/error.h"
#include "base/fd.h"
#include "net/tls_internal.h"

struct reader {
    bool with_keys;
    tls_pair_fn *use;
    void *arg;
    struct str *why;
    const char *file;             /* being read */
    bool has_key;                 /* the pair has begun */
    struct str key_file, file_of; /* what pair's names point to */
    struct tls_pair pair;
    size_t count; /* of pairs that were used */
};

static int explain(struct reader *r, const char *file, const char *what)
{
    str_printf(r->why, "%s: %s", file, what);
    if (ERR_peek_error() != 0)
        str_append_cstr(r->why, ": ");
    tls_take_errors(r->why);
    return ERR_TLS;
}

static void forget_pair(struct reader *r)
{
    EVP_PKEY_free(r->pair.key);
    X509_free(r->pair.certificate);
    sk_X509_pop_free(r->pair.issuers, X509_free);
    memset(&r->pair, 0, sizeof(r->pair));
    r->has_key = false;
}

/* A key or the end follows. */
static int finish_pair(struct reader *r)
{
    int rc;

    if (!r->has_key)
        return 0;
    r->pair.key_file = str_cstr(&r->key_file);
    r->pair.certificate_file = str_cstr(&r->file_of);
    if (r->pair.certificate == NULL)
        return explain(r, r->pair.key_file, "a private key with no certificate after it");
    if (r->with_keys && X509_check_private_key(r->pair.certificate, r->pair.key) != 1) {
        str_printf(r->why, "the private key in %s does not fit the certificate after it, in %s",
                   r->pair.key_file, r->pair.certificate_file);
        ERR_clear_error();
        return ERR_TLS;
    }
    rc = r->use(r->arg, &r->pair, r->why);
    r->count += rc == 0;
    forget_pair(r);
    return rc;
}

static int take_key(struct reader *r, const char *name, const char *header,
                    const unsigned char *der, long n)
{
    int rc = finish_pair(r);

    if (rc < 0)
        return rc;
    /* Nobody is there to be asked for the password. */
    if (*header != '\0' || strcmp(name, PEM_STRING_PKCS8) == 0)
        return explain(r, r->file, "the private key is encrypted");
    if (r->with_keys) {
        r->pair.key = d2i_AutoPrivateKey(NULL, &der, n);
        if (r->pair.key == NULL)
            return explain(r, r->file, "cannot load a private key");
    }
    r->has_key = true;
    return str_set(&r->key_file, span_cstr(r->file));
}

static int take_certificate(struct reader *r, const unsigned char *der, long n)
{
    X509 *certificate;

    if (!r->has_key)
        return explain(r, r->file, "a certificate with no private key before it");
    certificate = d2i_X509(NULL, &der, n);
    if (certificate == NULL)
        return explain(r, r->file, "cannot load a certificate");
    if (r->pair.certificate == NULL) {
        r->pair.certificate = certificate;
        return str_set(&r->file_of, span_cstr(r->file));
    }
    if (r->pair.issuers == NULL)
        r->pair.issuers = sk_X509_new_null();
    if (r->pair.issuers == NULL || sk_X509_push(r->pair.issuers, certificate) <= 0) {
        X509_free(certificate);
        return -ENOMEM;
    }
    return 0;
}

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static int take_object(struct reader *r, const char *name, const char *header,
                       const unsigned char *der, long n)
{
    static const char *const certificates[] = {PEM_STRING_X509, PEM_STRING_X509_OLD};
    static const char *const keys[] = {PEM_STRING_PKCS8INF, PEM_STRING_PKCS8, PEM_STRING_RSA,
                                       PEM_STRING_ECPRIVATEKEY, PEM_STRING_DSA};

    if (is_among(name, certificates, COUNT_OF(certificates)))
        return take_certificate(r, der, n);
    if (is_among(name, keys, COUNT_OF(keys)))
        return take_key(r, name, header, der, n);
    str_printf(r->why, "%s: neither a private key nor a certificate: %s", r->file, name);
    return ERR_TLS;
}

static int read_objects(struct reader *r, BIO *in)
{
    int rc = 0;

    while (rc == 0) {
        char *name = NULL, *header = NULL;
        unsigned char *der = NULL;
        long n = 0;

        ERR_clear_error();
        /* "Secure" wipes what was a key. */
        if (PEM_read_bio_ex(in, &name, &header, &der, &n,
                            PEM_FLAG_SECURE | PEM_FLAG_EAY_COMPATIBLE) != 1) {
            if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
                rc = explain(r, r->file, "not in PEM format");
            break;
        }
        rc = take_object(r, name, header, der, n);
        OPENSSL_secure_free(name);
        OPENSSL_secure_free(header);
        OPENSSL_secure_clear_free(der, (size_t)n);
    }
    ERR_clear_error();
    return rc;
}

static int read_one(struct reader *r)
{
    char buffer[4096];
    FILE *file;
    BIO *in;
    int rc;

    file_note(r->file);
    file = fopen(r->file, "re");
    if (file == NULL) {
        rc = -errno;
        str_printf(r->why, "%s: %s", r->file, error_text(rc));
        return rc;
    }
    setvbuf(file, buffer, _IOFBF, sizeof(buffer));
    in = BIO_new_fp(file, BIO_NOCLOSE);
    rc = in != NULL ? read_objects(r, in) : -ENOMEM;
    BIO_free(in);
    fclose(file);
    explicit_bzero(buffer, sizeof(buffer));
    return rc;
}

int tls_chain_read(const char *files, bool with_keys, tls_pair_fn *use, void *arg, struct str *why)
{
    struct reader r = {.with_keys = with_keys, .use = use, .arg = arg, .why = why};
    struct span rest = span_cstr(files), word;
    struct str file = {0};
    int rc = 0;

    while (rc == 0 && span_token(&rest, " \t\r\n,", &word)) {
        rc = str_set(&file, word);
        r.file = str_cstr(&file);
        if (rc == 0)
            rc = read_one(&r);
    }
    if (rc == 0)
        rc = finish_pair(&r);
    if (rc == 0 && r.count == 0)
        rc = explain(&r, files, "no private key with a certificate");
    forget_pair(&r);
    str_fini(&r.key_file);
    str_fini(&r.file_of);
    str_fini(&file);
    return rc;
}
