/* restrict_internal.h: compiled restriction lists, shared by the restrict files. */
#ifndef SMTPD_RESTRICT_INTERNAL_H
#define SMTPD_RESTRICT_INTERNAL_H

#include "base/array.h"
#include "conf/restrictions.h"
#include "map/map.h"
#include "smtpd/restrict.h"
#include "smtpd/session.h"

struct restriction;
typedef enum restrict_verdict restrict_fn(struct session *s, const struct restriction *r);

struct restrict_kind {
    const char *name;
    restrict_fn *run;
    enum restrict_argument argument;
};

struct restriction_list {
    ARRAY(struct restriction) items;
};

struct restriction {
    const struct restrict_kind *kind;
    struct map *table;
    int64_t number;
    const struct restriction_list *class; /* kind NULL: a restriction class */
};

struct restriction_class {
    struct span name;
    struct restriction_list list;
};

struct restrictions {
    const struct conf *conf;
    struct restriction_list stages[RESTRICT_STAGES];
    ARRAY(struct restriction_class *) classes;
    int access_reject_code, access_defer_code, reject_code, defer_code, relay_code;
    int unknown_local_code, unknown_alias_code, unknown_mailbox_code, unknown_relay_code;
    int multi_recipient_bounce_code, non_fqdn_code, invalid_helo_code, unknown_address_code;
    int unknown_client_code, plaintext_code;
    struct span null_key; /* smtpd_null_access_lookup_key */
    const char *delimiters;
    unsigned access_domain_flags;
    bool allow_untrusted_routing, reject_unlisted_recipient, reject_unlisted_sender;
    bool relay_before_recipient;
};

/* NULL: no such restriction. Old names are found as well. */
const struct restrict_kind *restrict_kind_find(struct span name);
/* All of them; NULL behind the last. */
const struct restrict_kind *restrict_kind_at(size_t index);

/* What is being looked at: how the reply calls it. */
struct restrict_subject {
    struct span name;  /* shown in <> */
    const char *class; /* "Client host", "Helo command", "Sender address", ... */
    const char *dsn;   /* detail for this kind of address in place of x.7.1, or NULL */
};
struct restrict_subject restrict_subject(const struct session *s, enum restrict_stage stage);

/* Set the reply to "CODE DSN text", log it, and return RESTRICT_REJECT; under
 * warn_if_reject only log, and return RESTRICT_DUNNO. */
enum restrict_verdict restrict_reject(struct session *s, int code, const char *dsn, const char *fmt,
                                      ...) PRINTF_LIKE(4, 5);
enum restrict_verdict restrict_misconfigured(struct session *s);
enum restrict_verdict restrict_table_failed(struct session *s);
/* Not now, if nothing else rejects: the first one stays. */
void restrict_defer_if_permit(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Run a compiled list; the text of an access table is one too. */
TASK_WAITS enum restrict_verdict restrict_run_list(struct session *s,
                                                   const struct restriction_list *list);

/* Does the recipient (the sender) exist in the tables of its class? */
TASK_WAITS enum restrict_verdict restrict_unlisted_recipient(struct session *s);
TASK_WAITS enum restrict_verdict restrict_unlisted_sender(struct session *s);

restrict_fn check_client_access, check_helo_access, check_sender_access, check_recipient_access;

#endif
