/*
 * tls_signer.h: private keys that another process holds. A provider for OpenSSL 3
 * gives this process keys of which it has the public half only; what is to be signed
 * goes to a function that asks tlsproxy. A broken-into process can so impersonate
 * this server only while it is held.
 *
 * The other half, tls_keyring, is the holder's: it signs nothing but what a TLS
 * server signs in a handshake.
 */
#ifndef NET_TLS_SIGNER_H
#define NET_TLS_SIGNER_H

#include "base/span.h"
#include "base/str.h"
#include "net/tls.h"

struct x509_st;

enum { TLS_FINGERPRINT_OCTETS = 32 }; /* SHA-256 of the SubjectPublicKeyInfo */

struct tls_sign_request {
    struct span fingerprint; /* of the key */
    struct span scheme;      /* "rsa-pss", "rsa-pkcs1" or "ecdsa" */
    struct span digest;      /* "SHA256", ... */
    struct span data;        /* the whole text to be signed */
};

/* Get a signature, appended to *signature. Runs on worker threads and may block.
 * 0 or a negative code. */
typedef int tls_sign_fn(void *arg, const struct tls_sign_request *request, struct str *signature);

/* Once per process, before the sandbox and before the first context with
 * tls_options.is_key_remote. 0 or ERR_TLS. */
int tls_signer_start(tls_sign_fn *sign, void *arg);
/* After the last context; a process that ends anyway need not. */
void tls_signer_stop(void);
/* A key that stands for the private half of certificate's key. NULL on failure (see
 * OpenSSL's error queue). */
struct evp_pkey_st *tls_signer_key(struct x509_st *certificate);
/* Of the keys that tls_signer_key() has made, the i-th; empty: there are no more. */
struct span tls_signer_fingerprint(size_t i);

/* --- the holder --- */

struct tls_keyring;

/* Empty; NULL: no memory. */
struct tls_keyring *tls_keyring_new(void);
void tls_keyring_free(struct tls_keyring *r);
/* Read the private keys that these options name (files; is_key_remote is not looked
 * at), which must fit their certificates. */
int tls_keyring_add(struct tls_keyring *r, const struct tls_options *options, struct str *why);
bool tls_keyring_has(const struct tls_keyring *r, struct span fingerprint);
/* Whether a signature takes no longer than handing it to a worker and back: tens of
 * microseconds (P-256), where RSA takes a millisecond. */
bool tls_keyring_is_quick(const struct tls_keyring *r, struct span fingerprint);
/* Sign; on a worker unless it is quick. ERR_NOT_FOUND: no such key; ERR_DENIED: that is no TLS
 * server's handshake; ERR_NOT_SUPPORTED. Thread-safe. */
int tls_keyring_sign(struct tls_keyring *r, const struct tls_sign_request *request,
                     struct str *signature);
/* Whether a TLS server signs this in a handshake: TLS 1.3's CertificateVerify (RFC
 * 8446 4.4.3), or by its shape TLS 1.2's ServerKeyExchange with a named curve (RFC
 * 8422 5.4). */
bool tls_is_handshake_text(struct span data);

#endif
