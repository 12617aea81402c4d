/*
 * message.h: a message of the queue: envelope, recipients, and content as a list
 * of extents. Everything is encoded by name (attr.h); names this program does
 * not know are kept and written again, so that an older qmgr loses nothing of a
 * newer smtpd. A name that begins with "!" must be understood.
 *
 * The structure owns nothing but its arena: texts are spans into it or into
 * whatever the caller keeps alive.
 */
#ifndef QUEUE_MESSAGE_H
#define QUEUE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/span.h"
#include "base/str.h"
#include "queue/id.h"

enum {
    QUEUE_FORMAT = 1,
    QUEUE_ENVELOPE_MAX = 4 << 20, /* octets of an encoded envelope */
    QUEUE_INLINE_MAX = 65536,     /* content above it has a file of its own */
    QUEUE_EXTENTS_MAX = 4096,
};

/* --- content --- */

/* What a delivery must know about octets before it sends them. */
enum queue_extent_flag {
    QUEUE_EXTENT_DOT = 1 << 0,  /* a line begins with "." */
    QUEUE_EXTENT_8BIT = 1 << 1, /* an octet above 127 */
    QUEUE_EXTENT_LONG = 1 << 2, /* a line above 998 octets without its CRLF */
    QUEUE_EXTENT_BARE = 1 << 3, /* CR or LF alone */
    QUEUE_EXTENT_NUL = 1 << 4,
    QUEUE_EXTENT_HEADER = 1 << 5, /* header octets (the blank line is not) */
    QUEUE_EXTENT_FLAGS = (1 << 6) - 1,
};

/* A piece of the stored octets. The content is the extents in their order;
 * stored octets that no extent names were cut out. */
struct queue_extent {
    uint64_t offset, length;
    uint32_t flags;
};

/* The content as a reader has it: extents over one run of stored octets, which
 * are inline or in a file. Wire form: CRLF, not dot-stuffed, ends with CRLF. */
struct queue_content {
    ARRAY(struct queue_extent) extents;
    struct span inline_octets; /* borrowed, when fd is -1 */
    int fd;                    /* or -1; owned by whoever made the structure */
};

void queue_content_init(struct queue_content *c); /* empty, fd -1 */
/* Frees the extents; the descriptor is closed. */
void queue_content_fini(struct queue_content *c);
uint64_t queue_content_size(const struct queue_content *c);
/* All extents' flags together. */
uint32_t queue_content_flags(const struct queue_content *c);
/* Copy up to n octets from offset on (counted over the extents): count, 0 at the
 * end, ERR_CORRUPT when the store is shorter than the extents say. Blocks on the
 * disk when there is a file: on files of agents, that is in the page cache as a rule; tasks may
 * offload it. */
ssize_t queue_content_read(const struct queue_content *c, uint64_t offset, void *buf, size_t n);
/* Append octets offset..offset+n to out; see queue_content_read. */
int queue_content_copy(const struct queue_content *c, uint64_t offset, uint64_t n, struct str *out);
/* The content cut between its header and its blank line: size of the header. */
uint64_t queue_content_header_size(const struct queue_content *c);

/* The flags of a piece of text; state carries the line position between pieces
 * (zeroed at the start of a message). */
struct queue_scan {
    size_t column; /* octets of the current line so far */
    bool after_cr;
    bool is_header_done; /* the blank line was seen */
};
uint32_t queue_scan(struct queue_scan *state, struct span piece);

/* --- recipients --- */

/* RFC 3461 4.1; 0 means that none was given. */
enum queue_notify {
    QUEUE_NOTIFY_NEVER = 1 << 0,
    QUEUE_NOTIFY_SUCCESS = 1 << 1,
    QUEUE_NOTIFY_FAILURE = 1 << 2,
    QUEUE_NOTIFY_DELAY = 1 << 3,
};

enum queue_recipient_state {
    QUEUE_RECIPIENT_PENDING,
    QUEUE_RECIPIENT_DONE,     /* delivered, relayed, expanded or dropped */
    QUEUE_RECIPIENT_FAILED,   /* failed for good, the sender is not yet told */
    QUEUE_RECIPIENT_NOTIFIED, /* failed, and whoever must be told was told */
};

struct queue_recipient {
    uint32_t index;        /* position in the message: identifies it for results */
    struct span address;   /* where it goes: "local@domain" without brackets */
    struct span original;  /* what the client gave, or empty when the same */
    struct span orcpt;     /* ORCPT= as "type;xtext-decoded", or empty */
    uint32_t notify;       /* enum queue_notify bits */
    struct span transport; /* set by a FILTER or access action, else empty */
    struct span next_hop;
    struct span unknown; /* encoded attributes this program does not know */
    /* Below: filled in by qmgr, not part of the commit. */
    enum queue_recipient_state state;
    uint32_t attempt;                     /* the last attempt that ended in a result */
    struct span dsn, reason, remote_host; /* of the last result */
};

/* --- the message --- */

enum queue_return { QUEUE_RETURN_UNSET, QUEUE_RETURN_FULL, QUEUE_RETURN_HEADERS };
enum queue_body_type {
    QUEUE_BODY_UNSET,
    QUEUE_BODY_7BIT,
    QUEUE_BODY_8BITMIME,
    QUEUE_BODY_BINARYMIME
};

enum queue_message_flag {
    QUEUE_MESSAGE_SMTPUTF8 = 1 << 0,      /* RFC 6531 */
    QUEUE_MESSAGE_REQUIRETLS = 1 << 1,    /* RFC 8689; encoded as "!requiretls" */
    QUEUE_MESSAGE_HOLD = 1 << 2,          /* enters the queue on hold */
    QUEUE_MESSAGE_BOUNCE = 1 << 3,        /* made by bounce: a failure makes a double bounce */
    QUEUE_MESSAGE_DOUBLE_BOUNCE = 1 << 4, /* a failure is logged and dropped */
    QUEUE_MESSAGE_INTERNAL = 1 << 5,      /* notices to postmaster and the like */
    QUEUE_MESSAGE_PROBE = 1 << 6,         /* address verification: no content is sent */
};

struct queue_message {
    struct arena arena; /* what decoding copied */
    struct queue_id id;
    int64_t arrival_us;        /* wall clock: the first MAIL of it, or the drop in maildrop */
    struct span sender;        /* empty: the null sender */
    enum queue_return ret;     /* RFC 3461 4.3 */
    struct span envid;         /* decoded xtext, RFC 3461 4.4 */
    enum queue_body_type body; /* RFC 6152, 3030 */
    uint32_t flags;
    int64_t by_seconds; /* BY= of RFC 2852, with by_mode 'R', 'N' or 0: none */
    char by_mode;
    bool by_trace;
    int64_t hold_until_s;                          /* RFC 4865; 0: none */
    int32_t priority;                              /* MT-PRIORITY, RFC 6710: -9 to 9 */
    struct span login, login_method, login_sender; /* SASL */
    struct span client_name, client_address, client_port, client_helo, client_protocol;
    struct span client_tls;          /* "TLSv1.3 with cipher ...", or empty */
    struct span listener;            /* master.cf entry that took it */
    struct span rewrite_context;     /* "local" or "remote" */
    struct span transport, next_hop; /* for all recipients: content_filter, FILTER */
    struct span trace_id, tenant;
    struct span message_id; /* for logs */
    struct span unknown;    /* encoded attributes this program does not know */
    ARRAY(struct queue_recipient) recipients;
    ARRAY(struct queue_extent) extents;
    uint64_t file;      /* number of the content's file, or 0: inline */
    uint64_t size;      /* octets of the content */
    struct span commit; /* random id of the commit: 16 octets */
};

void queue_message_init(struct queue_message *m, struct budget *budget);
void queue_message_fini(struct queue_message *m);
/* A new recipient with the next index; address is copied. NULL: no memory. */
struct queue_recipient *queue_message_add(struct queue_message *m, struct span address);
/* Append the encoding. 0, -ENOMEM, ERR_TOO_LONG over QUEUE_ENVELOPE_MAX. */
int queue_message_encode(const struct queue_message *m, struct str *out);
/* The message without its recipients; then each recipient. */
int queue_message_encode_envelope(const struct queue_message *m, struct str *out);
int queue_recipient_encode(const struct queue_recipient *r, struct str *out);
/* Decode into a fresh m; texts are copied into its arena. ERR_SYNTAX, ERR_VERSION
 * (a newer format, or an unknown name with "!"), ERR_LIMIT, -ENOMEM. */
int queue_message_decode(struct queue_message *m, struct span encoded);
/* Only what a scheduler needs to know at once: recipients are not looked at. */
int queue_message_decode_envelope(struct queue_message *m, struct span encoded);

/* "SUCCESS,FAILURE" and back; 0 on a syntax error. */
uint32_t queue_notify_parse(struct span text);
const char *queue_notify_text(uint32_t notify, char text[40]);

#endif
