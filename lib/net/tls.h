/*
 * tls.h: TLS contexts (OpenSSL 3) and what is known about a TLS session.
 *
 * A context is made before the sandbox, from files, and never changes: a new
 * certificate means a new process generation. Streams (stream.h) use it.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

struct tls_context;
struct ssl_st;
struct evp_pkey_st;

enum tls_level {
    TLS_LEVEL_NONE,
    TLS_LEVEL_MAY,     /* opportunistic: certificates are not asked to be good */
    TLS_LEVEL_ENCRYPT, /* mandatory, without verification */
    TLS_LEVEL_VERIFY,  /* mandatory, trusted chain and matching name */
};

/* "none", "may", "encrypt", "verify" and "secure" (as verify), as
 * smtp_tls_security_level says; ERR_SYNTAX, ERR_NOT_SUPPORTED for Postfix's other
 * levels. */
int tls_level_parse(struct span text, enum tls_level *level);

enum tls_client_certificate {
    TLS_CERTIFICATE_IGNORE,
    TLS_CERTIFICATE_ASK,
    TLS_CERTIFICATE_REQUIRE
};

/* Session ticket keys, shared between processes and rotated by their owner. Called
 * on worker threads: must be thread-safe. */
struct tls_ticket_key {
    uint8_t name[16];
    uint8_t hmac[32];
    uint8_t aes[32];
};
struct tls_ticket_source {
    /* The key to encrypt with; false: issue no ticket. */
    bool (*current)(void *arg, struct tls_ticket_key *key);
    /* The key of that name; false: unknown or expired. */
    bool (*find)(void *arg, const uint8_t name[16], struct tls_ticket_key *key);
    void *arg;
};

/* Strings are borrowed during the call; NULL and "" mean "not given". Lists are
 * separated by blanks or commas as in main.cf. */
struct tls_options {
    /* Certificates: PEM files which in their order make up a sequence of private keys,
     * each with its certificate and the chain of that behind it, at most one of each
     * kind (smtpd_tls_chain_files), or ... */
    const char *chain_files;
    /* ... a certificate file and a key file ("" : the key is in cert_file). */
    const char *cert_file, *key_file;
    const char *eccert_file, *eckey_file;
    /* Another process holds the keys (tls_signer.h): key files are not read, and
     * private keys in chain_files are passed over. */
    bool is_key_remote;
    const char *ca_file, *ca_path;
    bool use_system_ca; /* tls_append_default_CA */
    /* In the syntax of smtpd_tls_mandatory_protocols: ">=TLSv1.2", "!SSLv3, !TLSv1",
     * "TLSv1.2, TLSv1.3"; "" = all that OpenSSL offers. */
    const char *protocols;
    const char *cipher_list;                        /* OpenSSL syntax, for TLS 1.2 and older */
    const char *exclude_ciphers;                    /* appended to the list with "!" */
    const char *curves;                             /* tls_eecdh_auto_curves; "" = OpenSSL's */
    bool prefer_server_ciphers;                     /* tls_preempt_cipherlist */
    enum tls_level level;                           /* clients: what is verified */
    enum tls_client_certificate client_certificate; /* servers */
    unsigned verify_depth;                          /* 0: 9 */
    bool no_tickets;
    const struct tls_ticket_source *tickets; /* NULL: keys of this process; must outlive */
};

/* 0, or a negative code and a message that names the file or the bad word. */
int tls_context_new_server(struct tls_context **out, const struct tls_options *options,
                           struct str *why);
int tls_context_new_client(struct tls_context **out, const struct tls_options *options,
                           struct str *why);
/* Another certificate for clients that name one of these hosts by SNI ("mail.example"
 * or ".example" for all below); other is kept by ctx. Before the first handshake. */
int tls_context_add_name(struct tls_context *ctx, const char *host, struct tls_context *other);
/* Streams hold references of their own; NULL is allowed. */
void tls_context_free(struct tls_context *ctx);

enum tls_peer {
    TLS_PEER_ANONYMOUS, /* no certificate */
    TLS_PEER_UNTRUSTED,
    TLS_PEER_TRUSTED,  /* chain is good */
    TLS_PEER_VERIFIED, /* and the name matches */
};

/* What was agreed; fixed after the handshake. */
struct tls_facts {
    const char *protocol; /* "TLSv1.3"; constant */
    const char *cipher;   /* "TLS_AES_256_GCM_SHA384"; constant */
    int bits, algorithm_bits;
    enum tls_peer peer;
    bool is_resumed;
    char *server_name;  /* SNI, "" without */
    char *summary;      /* "TLSv1.3 with cipher ... server-digest SHA256", as Postfix logs */
    char *peer_subject; /* common name of the certificate, "" without */
    char *peer_issuer;
    char *verify_error;        /* why the peer is untrusted, "" when trusted */
    char peer_fingerprint[65]; /* SHA-256 of the certificate in hex, "" without */
};

/* Append Postfix's line, for example "Anonymous TLS connection established from
 * unknown[192.0.2.1]: TLSv1.3 with cipher ..."; peer is "from unknown[192.0.2.1]" or
 * "to mx.example[192.0.2.2]:25". */
int tls_print_established(struct str *out, const struct tls_facts *facts, struct span peer);
/* Append "TLSv1.3 with cipher X (256/256 bits)". */
int tls_print_cipher(struct str *out, const struct tls_facts *facts);

#endif
