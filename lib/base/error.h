/*
 * error.h: one error space for the whole suite.
 *
 * A function that can fail because of the world returns an int: 0 (or a count)
 * on success, a negative code otherwise. Codes are -errno, or one of the codes
 * below. Other libraries' codes are mapped at the edge where they are called.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

enum error_code {
    ERR_EOF = -1001,       /* the peer ended the stream in an orderly way */
    ERR_TOO_LONG = -1002,  /* a line, name or value is over its limit */
    ERR_SYNTAX = -1003,    /* foreign input does not parse */
    ERR_PROTOCOL = -1004,  /* a peer broke the protocol */
    ERR_CORRUPT = -1005,   /* stored data fails its checks */
    ERR_VERSION = -1006,   /* a newer format or protocol than this program knows */
    ERR_NOT_FOUND = -1007, /* the key, message or mailbox is not there */
    ERR_EXISTS = -1008,    /* it is there already */
    ERR_LIMIT = -1009,     /* a configured limit is reached */
    ERR_TEMPORARY = -1010, /* try again later: look-up source or service is not available */
    ERR_TLS = -1011,       /* handshake, verification or record failure */
    ERR_DENIED = -1012,    /* the peer may not ask this */
    ERR_READ_ONLY = -1013, /* a sync failed: nothing more is accepted here */
    ERR_CLOSED = -1014,    /* channel or service is shutting down */
    ERR_TRUNCATED = -1015, /* the stream ended without an orderly close */
    ERR_NOT_SUPPORTED = -1016,
};

/* A short text for any code of the space. The text is constant or, for an
 * unknown errno, thread-local. */
const char *error_text(int code);

#endif
