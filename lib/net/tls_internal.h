/* tls_internal.h: what tls_*.c and stream_tls.c share; for lib/net itself. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/tls.h"

struct tls_name {
    struct tls_name *next;
    struct tls_context *context;
    char host[];
};

struct tls_context {
    SSL_CTX *ssl;
    unsigned refs; /* of the loop thread */
    bool is_server;
    enum tls_level level;
    struct tls_name *names;
    const struct tls_ticket_source *tickets;
    bool gives_tickets;
};

/* The descriptor under a session (tls_wire.c). */
struct tls_wire {
    int fd;
    char *ahead; /* [ahead_at..ahead_end): read, but not by OpenSSL yet; NULL: none */
    size_t ahead_at, ahead_end;
    bool is_lent;  /* to a worker: there is nothing to read but ahead */
    bool is_over;  /* the peer's side has ended */
    int error;     /* errno of reading ahead: the kernel tells it once */
    bool has_more; /* to write: what comes now need not leave at once */
};

struct tls_session {
    SSL *ssl;
    struct tls_wire wire;
    struct tls_context *context;
    struct tls_facts facts;
    bool is_close_sent;
    bool owes_ticket; /* of TLS 1.3, with the first octets to the client */
};

/* One reference more, for tls_context_free(); returns ctx. */
struct tls_context *tls_context_hold(struct tls_context *ctx);
/* "TLS library problem" as text: the oldest error of this thread's queue, which is
 * emptied. Appends; nothing when the queue is empty. */
void tls_take_errors(struct str *out);

/* Parse a protocol list: the lowest and highest version (0: none) and the SSL_OP_NO_
 * options for those excluded. ERR_SYNTAX with the word in why. */
int tls_protocols_parse(struct span text, int *lowest, int *highest, uint64_t *excluded,
                        struct str *why);

/* A private key with its certificate; borrowed during the call. */
struct tls_pair {
    EVP_PKEY *key; /* NULL: not asked for */
    X509 *certificate;
    STACK_OF(X509) * issuers; /* NULL: none */
    const char *key_file, *certificate_file;
};
typedef int tls_pair_fn(void *arg, const struct tls_pair *pair, struct str *why);
/* Read the files that smtpd_tls_chain_files lists and call use for each pair, until it
 * returns a negative code, which is returned. with_keys: decode the private keys, which
 * must then fit; else only their places count. On failure why names the file. */
int tls_chain_read(const char *files, bool with_keys, tls_pair_fn *use, void *arg, struct str *why);
int tls_load_certificates(SSL_CTX *ssl, const struct tls_options *options, struct str *why);
int tls_set_tickets(struct tls_context *ctx);

/* SHA-256 of a key's SubjectPublicKeyInfo (32 octets). 0 or ERR_TLS. */
int tls_key_fingerprint(EVP_PKEY *key, unsigned char out[32]);

/* Let ssl talk through fd; w must outlive ssl. -ENOMEM. */
int tls_wire_attach(struct tls_wire *w, SSL *ssl, int fd);
void tls_wire_fini(struct tls_wire *w);
/* For a handshake: until tls_wire_return(), OpenSSL reads no more than what the loop has
 * read ahead, before each step. */
void tls_wire_lend(struct tls_wire *w);
void tls_wire_read_ahead(struct tls_wire *w);
void tls_wire_return(struct tls_wire *w);
bool tls_wire_has_ahead(const struct tls_wire *w);

/* Collect the facts of a finished handshake. -ENOMEM. */
int tls_facts_collect(struct tls_facts *facts, SSL *ssl, bool is_server, bool is_name_checked);
void tls_facts_fini(struct tls_facts *facts);

#endif
