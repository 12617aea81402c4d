/* What is known about a TLS session, in Postfix's words. */
#include <errno.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/encode.h"
#include "base/error.h"
#include "net/tls_internal.h"

/* "ECDSA (P-256)": OpenSSL's names of the NIST curves are not those people know. */
static void print_curve(struct str *out, const char *kind, EVP_PKEY *key)
{
    char group[64] = "";

    EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
    str_printf(out, "%s (%s)", kind,
               strcmp(group, "prime256v1") == 0  ? "P-256"
               : strcmp(group, "secp384r1") == 0 ? "P-384"
               : strcmp(group, "secp521r1") == 0 ? "P-521"
                                                 : group);
}

/* The name of a key's kind, with its curve or its size. */
static void print_key(struct str *out, EVP_PKEY *key, const char *rsa_name)
{
    int id = EVP_PKEY_get_base_id(key);

    switch (id) {
    case EVP_PKEY_EC:
        print_curve(out, "ECDSA", key);
        break;
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        str_printf(out, "%s (%d bits)", rsa_name, EVP_PKEY_get_bits(key));
        break;
    case EVP_PKEY_ED25519:
        str_append_cstr(out, "Ed25519");
        break;
    case EVP_PKEY_ED448:
        str_append_cstr(out, "Ed448");
        break;
    default:
        str_printf(out, "%s (%d bits)", OBJ_nid2sn(id), EVP_PKEY_get_bits(key));
    }
}

static void print_key_exchange(struct str *out, SSL *ssl, bool is_server)
{
    EVP_PKEY *key = NULL;

    if (is_server)
        SSL_get_tmp_key(ssl, &key);
    else
        SSL_get_peer_tmp_key(ssl, &key);
    if (key == NULL)
        return;
    str_append_cstr(out, " key-exchange ");
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_EC:
        print_curve(out, "ECDHE", key);
        break;
    case EVP_PKEY_DH:
        str_printf(out, "DHE (%d bits)", EVP_PKEY_get_bits(key));
        break;
    default:
        str_append_cstr(out, OBJ_nid2sn(EVP_PKEY_get_base_id(key)));
    }
    EVP_PKEY_free(key);
}

static void print_signature(struct str *out, SSL *ssl, const char *who, X509 *certificate,
                            bool is_own)
{
    int type = NID_undef, digest = NID_undef;
    const char *rsa_name;

    if (certificate == NULL)
        return;
    if (is_own) {
        SSL_get_signature_type_nid(ssl, &type);
        SSL_get_signature_nid(ssl, &digest);
    } else {
        SSL_get_peer_signature_type_nid(ssl, &type);
        SSL_get_peer_signature_nid(ssl, &digest);
    }
    /* Nothing was signed in a resumed session. */
    if (type == NID_undef)
        return;
    rsa_name = type == EVP_PKEY_RSA_PSS ? "RSA-PSS" : "RSA";
    str_printf(out, " %s-signature ", who);
    print_key(out, X509_get0_pubkey(certificate), rsa_name);
    if (digest != NID_undef && type != NID_ED25519 && type != NID_ED448)
        str_printf(out, " %s-digest %s", who, OBJ_nid2sn(digest));
}

static char *steal_or_null(struct str *text)
{
    char *copy = str_error(text) < 0 ? NULL : mem_strdup(str_span(text));

    str_fini(text);
    return copy;
}

static char *summarize(const struct tls_facts *facts, SSL *ssl, bool is_server, X509 *peer)
{
    struct str out = {0};
    X509 *own = SSL_get_certificate(ssl);

    tls_print_cipher(&out, facts);
    print_key_exchange(&out, ssl, is_server);
    print_signature(&out, ssl, "server", is_server ? own : peer, is_server);
    print_signature(&out, ssl, "client", is_server ? peer : own, !is_server);
    return steal_or_null(&out);
}

static char *common_name(X509_NAME *name)
{
    int at = name == NULL ? -1 : X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *text = NULL;
    char *copy;
    int n = -1;

    if (at >= 0)
        n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    copy = mem_strdup(span_make(text, n > 0 && n < 256 ? (size_t)n : 0));
    OPENSSL_free(text);
    return copy;
}

static void set_fingerprint(struct tls_facts *facts, X509 *peer)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct str hex = {0};

    if (X509_digest(peer, EVP_sha256(), digest, &n) == 1 &&
        hex_encode(&hex, span_make(digest, n)) == 0 && hex.len < sizeof(facts->peer_fingerprint))
        memcpy(facts->peer_fingerprint, str_cstr(&hex), hex.len + 1);
    str_fini(&hex);
}

static void set_peer(struct tls_facts *facts, SSL *ssl, X509 *peer, bool is_name_checked)
{
    long verdict = SSL_get_verify_result(ssl);

    facts->peer = TLS_PEER_ANONYMOUS;
    if (peer == NULL)
        verdict = X509_V_OK;
    else if (verdict != X509_V_OK)
        facts->peer = TLS_PEER_UNTRUSTED;
    else
        facts->peer = is_name_checked ? TLS_PEER_VERIFIED : TLS_PEER_TRUSTED;
    if (peer != NULL)
        set_fingerprint(facts, peer);
    facts->peer_subject = common_name(peer == NULL ? NULL : X509_get_subject_name(peer));
    facts->peer_issuer = common_name(peer == NULL ? NULL : X509_get_issuer_name(peer));
    facts->verify_error =
        mem_strdup(span_cstr(verdict == X509_V_OK ? "" : X509_verify_cert_error_string(verdict)));
}

int tls_facts_collect(struct tls_facts *facts, SSL *ssl, bool is_server, bool is_name_checked)
{
    X509 *peer = SSL_get0_peer_certificate(ssl);
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);

    facts->protocol = SSL_get_version(ssl);
    facts->cipher = SSL_CIPHER_get_name(cipher);
    facts->bits = SSL_CIPHER_get_bits(cipher, &facts->algorithm_bits);
    facts->is_resumed = SSL_session_reused(ssl) == 1;
    facts->server_name = mem_strdup(span_cstr(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)));
    set_peer(facts, ssl, peer, is_name_checked);
    facts->summary = summarize(facts, ssl, is_server, peer);
    if (facts->server_name == NULL || facts->summary == NULL || facts->peer_subject == NULL ||
        facts->peer_issuer == NULL || facts->verify_error == NULL)
        return -ENOMEM;
    return 0;
}

void tls_facts_fini(struct tls_facts *facts)
{
    free(facts->server_name);
    free(facts->summary);
    free(facts->peer_subject);
    free(facts->peer_issuer);
    free(facts->verify_error);
}

int tls_print_cipher(struct str *out, const struct tls_facts *facts)
{
    return str_printf(out, "%s with cipher %s (%d/%d bits)", facts->protocol, facts->cipher,
                      facts->bits, facts->algorithm_bits);
}

int tls_print_established(struct str *out, const struct tls_facts *facts, struct span peer)
{
    static const char *const words[] = {
        [TLS_PEER_ANONYMOUS] = "Anonymous",
        [TLS_PEER_UNTRUSTED] = "Untrusted",
        [TLS_PEER_TRUSTED] = "Trusted",
        [TLS_PEER_VERIFIED] = "Verified",
    };

    return str_printf(out, "%s TLS connection established %.*s: %s", words[facts->peer],
                      SPAN_ARG(peer), facts->summary);
}
