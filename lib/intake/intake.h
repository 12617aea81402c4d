/*
 * intake.h: one pass over a message while it comes in, whoever it comes from
 * (smtpd, pickup, bounce): what Postfix's cleanup(8) does to content.
 *
 *     intake_begin(&in, &options, &facts, sink, arg);
 *     intake_prepend(&in, trace headers);
 *     while (octets arrive) intake_feed(&in, octets);
 *     intake_finish(&in);
 *     if (in.verdict == INTAKE_ACCEPT) commit
 *
 * The header is looked at line by line as it passes, the body is handed through
 * untouched; nothing is held but one line, or a field whose addresses are completed
 * (rewrite.h). Canonical maps and masquerading do not exist.
 */
#ifndef INTAKE_INTAKE_H
#define INTAKE_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"
#include "conf/conf.h"
#include "route/route.h"
#include "task/task.h"

/* Immutable, one per process; strings borrowed from the conf. */
struct intake_options {
    struct span myhostname, mail_name;
    struct span drop_headers;    /* message_drop_headers */
    struct span undisclosed;     /* undisclosed_recipients_header */
    uint64_t message_size_limit; /* of what is fed and of what goes out; 0: none */
    uint64_t header_size_limit;  /* octets of one field; the rest is dropped */
    unsigned hopcount_limit;
    unsigned token_limit;      /* header_address_token_limit */
    const struct route *route; /* completes header addresses; NULL: they stay */
    bool rewrites_remote;      /* remote_header_rewrite_domain is set */
    bool always_add_missing;   /* always_add_missing_headers */
    char log_tag[128];         /* "postfix/cleanup" */
};

/* Read the parameters named above; once, at start. Texts are conf's, route is borrowed. */
void intake_options_load(struct intake_options *options, const struct conf *conf,
                         const struct route *route);

/* About the message at hand; spans outlive the pass. */
struct intake_facts {
    struct span queue_id;  /* text form */
    struct span sender;    /* envelope sender, RFC 5321 form without brackets */
    struct span full_name; /* of the sender, for a From: that is missing; empty: none known */
    int64_t arrival_s;
    bool is_local; /* local_header_rewrite_clients matches: complete the header */
};

enum intake_verdict {
    INTAKE_ACCEPT,
    INTAKE_TOO_BIG,       /* 552 5.3.4 Error: message file too big */
    INTAKE_TOO_MANY_HOPS, /* 554 5.4.0 Error: too many hops */
};

/* Where the content goes; 0 or a negative code, which sticks. */
typedef int intake_sink_fn(void *arg, struct span octets);

enum { INTAKE_LINE_MAX = 8192, INTAKE_MESSAGE_ID_MAX = 998, INTAKE_NAME_MAX = 400 };

/* Put octets in front of octet `at` of what the sink took so far. */
typedef int intake_insert_fn(void *arg, uint64_t at, struct span octets);

struct intake {
    const struct intake_options *options;
    struct intake_facts facts;
    intake_sink_fn *sink;
    intake_insert_fn *insert;
    void *sink_arg;
    enum intake_verdict verdict;
    int error;             /* of the sink */
    uint64_t size;         /* octets fed, the trace headers not counted */
    struct str message_id; /* as in the header; empty when there is none */
    /* private */
    enum { INTAKE_HEADER, INTAKE_LONG_LINE, INTAKE_BODY } state;
    struct str line;
    struct str held;   /* the address field at hand */
    uint64_t top;      /* octets of the fields in front of the message */
    uint64_t size_out; /* octets behind those, with what was completed and added */
    uint64_t field_size;
    unsigned hops;
    uint32_t seen;
    bool is_first, is_dropped, is_held, in_message_id, is_resent, after_cr;
};

/* The budget is the session's; what is held draws on it. insert takes fields
 * that were missing, once the header has ended; they go on top, so that what the
 * client sent stays one piece as it was. */
void intake_begin(struct intake *in, const struct intake_options *options,
                  const struct intake_facts *facts, intake_sink_fn *sink, intake_insert_fn *insert,
                  void *arg, struct budget *budget);
/* A header field of ours in front of the message: Received and the like. */
TASK_WAITS int intake_prepend(struct intake *in, struct span field);
/* Content in pieces of any size; lines end with CRLF. After a verdict other than
 * ACCEPT, or an error, the rest is thrown away: go on feeding, then answer. */
TASK_WAITS int intake_feed(struct intake *in, struct span octets);
/* The end of the message. 0 or the sink's error. */
TASK_WAITS int intake_finish(struct intake *in);
void intake_fini(struct intake *in);

/* "552 5.3.4 Error: message file too big" and the like; NULL for ACCEPT. */
const char *intake_verdict_reply(enum intake_verdict verdict);

/* --- Received: (RFC 5321 4.4) --- */

struct intake_trace {
    struct span helo;           /* empty: the client gave none, its name is shown */
    struct span client_name;    /* "unknown" without one */
    struct span client_address; /* "192.0.2.1", "IPv6:2001:db8::1" */
    struct span tls;            /* summary "TLSv1.3 with cipher ... (256/256 bits) key-..."; empty:
                                 * plain, or smtpd_tls_received_header = no */
    struct span tls_client;     /* "(No client certificate requested)" and the like */
    struct span login;          /* smtpd_sasl_authenticated_header; empty: not shown */
    struct span protocol;       /* "ESMTPSA" */
    struct span recipient;      /* the only recipient, RFC 5321 form; empty: several */
};

/* Append the field as Postfix writes it. zone: minutes east of UTC, with its name. */
int intake_print_received(struct str *out, const struct intake_options *options,
                          const struct intake_facts *facts, const struct intake_trace *trace);
/* "Sat, 21 Nov 2026 09:28:03 +0000 (UTC)" in the local time zone. */
int intake_print_date(struct str *out, int64_t seconds);

#endif
