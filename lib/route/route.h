/*
 * route.h: what an address is and where it goes: Postfix's address classes,
 * trivial-rewrite(8) and virtual(5) as functions over tables.
 *
 * Addresses here are in internal form: the local part without quoting, "@" and
 * the domain; the last "@" separates them, the empty address is the null
 * sender. The tables stand in struct route, which is immutable after loading;
 * nothing else is kept between calls. Functions that look into tables may wait
 * (a table can be behind the broker or auth).
 */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/span.h"
#include "base/str.h"
#include "conf/conf.h"
#include "map/map.h"

struct route;

/* Read the parameters and open the tables (so: before the sandbox). On failure
 * *why says which parameter and why. conf must outlive the result. */
int route_load(struct route **out, const struct conf *conf, struct str *why);
void route_free(struct route *r);

/* --- classes --- */

/* ADDRESS_CLASS_README: the class of a domain decides the default transport and
 * which table lists its valid recipients. */
enum route_class {
    ROUTE_CLASS_LOCAL,           /* mydestination, inet_interfaces, proxy_interfaces */
    ROUTE_CLASS_VIRTUAL_ALIAS,   /* virtual_alias_domains */
    ROUTE_CLASS_VIRTUAL_MAILBOX, /* virtual_mailbox_domains */
    ROUTE_CLASS_RELAY,           /* relay_domains */
    ROUTE_CLASS_DEFAULT,         /* everything else */
};

/* "local", "virtual alias", ... */
const char *route_class_name(enum route_class class);

/* The class of a domain or [address literal]: 0 or ERR_TEMPORARY. */
TASK_WAITS int route_classify(const struct route *r, struct span domain, enum route_class *class);

/* True when the domain is one of ours for final delivery by class local; 1, 0 or
 * ERR_TEMPORARY. */
TASK_WAITS int route_is_local_domain(const struct route *r, struct span domain);

/* --- resolving --- */

struct route_result {
    enum route_class class;
    struct span transport; /* a master.cf name, or "error", "retry", "discard" */
    struct span next_hop;  /* what the transport makes of it; for error and retry: the
                              status and text, such as "5.1.1 User unknown in ..." */
    struct span recipient; /* the address to deliver to */
    bool is_routed;        /* the local part asks for further routing (user%other@here) */
    bool is_malformed;     /* the domain is not a valid host name or literal */
};

/* Where does this recipient go? Follows Postfix: local domains are stripped and
 * the rest looked at again, class default transports, relayhost, transport_maps,
 * relocated_maps. Strings come from the arena. 0, ERR_TEMPORARY (a table cannot
 * answer: defer), -ENOMEM, -ECANCELED. */
TASK_WAITS int route_resolve(const struct route *r, struct span recipient, struct arena *arena,
                             struct route_result *out);

/* --- rewriting --- */

enum route_context {
    ROUTE_CONTEXT_LOCAL,  /* append myorigin and mydomain as configured */
    ROUTE_CONTEXT_REMOTE, /* append remote_header_rewrite_domain, when set */
};

/* Bring an envelope or header address to standard form: strip a source route,
 * swap_bangpath, percent_hack, append_at_myorigin, append_dot_mydomain, trailing
 * dot. The null address stays null. Appended to out; 0 or str's error. */
int route_rewrite(const struct route *r, enum route_context context, struct span address,
                  struct str *out);
/* The same for an address whose local part (unquoted) and domain (empty: none) were told
 * apart, as headers have them: nothing in the local part is an operator. */
int route_complete(const struct route *r, enum route_context context, struct span local,
                   struct span domain, struct str *out);

/* --- virtual aliases --- */

struct route_expansion {
    ARRAY(struct span) recipients; /* strings from the arena; no duplicates */
};

/* virtual_alias_maps, again and again until nothing changes. An address without
 * an alias gives itself. 0; ERR_LIMIT (virtual_alias_expansion_limit,
 * virtual_alias_recursion_limit or virtual_alias_address_length_limit: defer with
 * 4.6.0) with a line for the log in *why; ERR_TEMPORARY; -ENOMEM. */
TASK_WAITS int route_expand(const struct route *r, struct span recipient, struct arena *arena,
                            struct route_expansion *out, struct str *why);
void route_expansion_free(struct route_expansion *e);

/* --- who exists --- */

enum route_existence {
    ROUTE_EXISTS,        /* listed, or its class lists nobody */
    ROUTE_UNKNOWN_LOCAL, /* not in local_recipient_maps */
    ROUTE_UNKNOWN_VIRTUAL_ALIAS,
    ROUTE_UNKNOWN_VIRTUAL_MAILBOX,
    ROUTE_UNKNOWN_RELAY,
    ROUTE_REFUSED,  /* routes to error: the text is result->next_hop */
    ROUTE_DEFERRED, /* routes to retry: */
};

/* Does the recipient exist? result is what route_resolve gave for it. 0 with
 * *existence, or ERR_TEMPORARY. */
TASK_WAITS int route_check_recipient(const struct route *r, const struct route_result *result,
                                     enum route_existence *existence);
/* " in local recipient table" and the like; empty when
 * show_user_unknown_table_name is no. */
const char *route_unknown_table(const struct route *r, enum route_existence existence);

/* --- parts that others need --- */

/* Look an address up as Postfix's mail_addr_find does: user+ext@domain,
 * user@domain, for local domains user+ext and user, and @domain. The value is
 * appended; *extension (may be NULL) gets the part that was left off, with its
 * delimiter. 0, ERR_NOT_FOUND, ERR_TEMPORARY. */
TASK_WAITS int route_find_address(const struct route *r, const struct map_list *maps,
                                  struct span address, struct str *value, struct span *extension);

/* Split "user+ext" at recipient_delimiter: returns the user part; *extension
 * begins with the delimiter, or is empty. Never splits postmaster,
 * mailer-daemon or double-bounce, nor owner-/-request when owner_request_special. */
struct span route_split_extension(const struct route *r, struct span local, struct span *extension);

/* The part before the last "@" and the part behind it (empty without one). */
struct span route_local_part(struct span address);
struct span route_domain(struct span address);

#endif
