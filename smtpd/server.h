/*
 * server.h: what all sessions of a process share: parameters, tables, clients of
 * other services. Made before the sandbox, immutable afterwards.
 */
#ifndef SMTPD_SERVER_H
#define SMTPD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/auth.h"
#include "conf/conf.h"
#include "conf/host.h"
#include "intake/intake.h"
#include "ipc/ipc.h"
#include "map/map.h"
#include "net/dns.h"
#include "net/tls.h"
#include "queue/queue.h"
#include "route/route.h"
#include "smtpd/restrict.h"

/* The way into the queue: lib/queue's client in production, a fake in tests. */
struct server_queue {
    TASK_WAITS uint64_t (*space)(void *arg); /* octets free where the queue is */
    TASK_WAITS int (*take_id)(void *arg, struct queue_id *id);
    TASK_WAITS int (*begin)(void *arg, struct budget *budget, void **upload);
    TASK_WAITS int (*append)(void *upload, struct span octets);
    TASK_WAITS int (*insert)(void *upload, uint64_t at, struct span octets);
    TASK_WAITS void (*abort)(void *upload);
    /* Takes the upload in every case. */
    TASK_WAITS int (*commit)(void *arg, struct queue_message *m, void *upload);
    void *arg;
};

/* Counting clients by address: anvil in production. A count of 0 means unknown. */
struct server_anvil {
    TASK_WAITS int (*connect)(void *arg, const char *service, const struct net_address *client,
                              uint64_t *count);
    void (*disconnect)(void *arg, const char *service, const struct net_address *client);
    void *arg;
};

enum bare_newline { BARE_NEWLINE_ALLOW, BARE_NEWLINE_NORMALIZE, BARE_NEWLINE_REJECT };

struct server {
    const struct conf *conf;
    const char *listener; /* master.cf service name */
    struct route *route;
    struct intake_options intake;
    struct restrictions *restrictions;
    struct tls_context *tls;   /* NULL: no TLS */
    struct resolver *resolver; /* NULL: names are not looked up */
    struct hosts *hosts;
    struct server_queue queue;
    struct server_anvil anvil;
    struct auth_client *auth;

    struct map_match *mynetworks, *bare_newline_exclusions, *limit_exceptions;
    struct map_match *sasl_exceptions, *rewrite_clients;
    bool rewrite_inet_interfaces, rewrite_mynetworks,
        rewrite_sasl; /* of
                         local_header_rewrite_clients */
    struct host_address *own_addresses;
    size_t own_address_count;

    /* parameters, by their names */
    struct span myhostname, mail_name;
    const char *banner;
    int64_t timeout_ms, starttls_timeout_ms, error_sleep_ms;
    unsigned soft_error_limit, hard_error_limit, junk_command_limit;
    unsigned recipient_limit, recipient_overshoot_limit, connection_count_limit;
    unsigned response_limit; /* smtpd_sasl_response_limit */
    int64_t min_data_rate;
    size_t line_length_limit;
    uint64_t message_size_limit;
    uint64_t queue_minfree;
    size_t session_budget;
    int bare_newline_code;
    enum bare_newline bare_newline;
    bool per_request_deadline, delay_reject, helo_required, strict_envelopes;
    bool vrfy_disabled, soft_bounce, peername_lookup, port_logging;
    bool tls_wrapper, tls_required, tls_auth_only, tls_received_header, tls_asks_certificate;
    bool auth_plain, auth_plain_tls; /* passwords in the clear, without and under TLS */
    bool auth_enabled, auth_broken_clients, auth_header, blank_stray, forbid_pipelining;
    unsigned tls_log_level;
    unsigned discarded_keywords; /* smtpd_discard_ehlo_keywords, bits of ehlo_keyword */
    const char *auth_mechanisms, *noop_commands, *forbidden_commands;
};

/* Read parameters and tables; clients of other services are added by the caller.
 * On failure *why says what is wrong. */
int server_load(struct server *server, const struct conf *conf, const char *listener,
                struct str *why);
void server_unload(struct server *server);
/* The production queue (qmgr) and anvil. */
void server_use_qmgr(struct server *server, struct queue_client *client);
void server_use_anvil(struct server *server, struct ipc_client *client);

/* EHLO keywords that smtpd_discard_ehlo_keywords can take away. */
enum ehlo_keyword {
    EHLO_PIPELINING = 1 << 0,
    EHLO_SIZE = 1 << 1,
    EHLO_VRFY = 1 << 2,
    EHLO_STARTTLS = 1 << 3,
    EHLO_AUTH = 1 << 4,
    EHLO_ENHANCEDSTATUSCODES = 1 << 5,
    EHLO_8BITMIME = 1 << 6,
    EHLO_CHUNKING = 1 << 7,
    EHLO_SILENT_DISCARD = 1 << 8,
};

#endif
