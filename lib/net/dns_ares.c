/*
 * The resolver on c-ares, which sends and receives; questions and answers are made
 * and read by dns_parse.c. Its sockets stand in an epoll set of our own, which one
 * task waits for; a timer drives its time-outs.
 */
#include <ares.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"
#include "net/resolver.h"

enum {
    EDNS_SIZE = 1232, /* fits every path unfragmented */
    EVENTS = 16,
    RCODE_FORMERR = 1,
    RCODE_NOTIMP = 4,
};

struct ares_resolver {
    struct resolver base;
    ares_channel channel;
    int epoll;
    struct task_fd poll;
    struct task *driver; /* NULL while none runs */
    bool is_closed;
    unsigned refs; /* the owner, the driver task, the queries */
    struct list queries;
    struct task_timer timer;
};

/* On the stack of the task that asks, while it waits. */
struct query {
    struct list link;
    struct ares_resolver *r;
    uint16_t id;
    struct task_cond answered;
    bool is_done, is_abandoned;
    int status;
    struct str packet;
};

/* c-ares opens, changes and closes its sockets; before a close both are 0. */
static void socket_state(void *arg, ares_socket_t fd, int is_readable, int is_writable)
{
    struct ares_resolver *r = arg;
    struct epoll_event event = {
        .events = (is_readable ? EPOLLIN : 0u) | (is_writable ? EPOLLOUT : 0u),
        .data.fd = fd,
    };

    if (!is_readable && !is_writable)
        epoll_ctl(r->epoll, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(r->epoll, EPOLL_CTL_MOD, fd, &event) < 0 && errno == ENOENT)
        epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void set_timer(struct ares_resolver *r)
{
    struct timeval limit;

    if (ares_timeout(r->channel, NULL, &limit) == NULL)
        task_timer_clear(&r->timer);
    else
        task_timer_set(&r->timer, deadline_in(limit.tv_sec * 1000 + limit.tv_usec / 1000 + 1));
}

static void timer_expired(struct task_timer *timer)
{
    struct ares_resolver *r = CONTAINER_OF(timer, struct ares_resolver, timer);

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(r);
}

static void process_events(struct ares_resolver *r)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(r->epoll, events, EVENTS, 0);

    for (int i = 0; i < n; i++) {
        bool is_broken = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;
        ares_socket_t fd = events[i].data.fd;

        ares_process_fd(r->channel,
                        is_broken || (events[i].events & EPOLLIN) ? fd : ARES_SOCKET_BAD,
                        events[i].events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
    }
    set_timer(r);
}

static void resolver_drop(struct ares_resolver *r)
{
    if (--r->refs > 0)
        return;
    task_timer_clear(&r->timer);
    ares_destroy(r->channel);
    fd_close(&r->epoll);
    free(r);
}

static void driver_main(void *arg)
{
    struct ares_resolver *r = arg;

    while (!r->is_closed && task_fd_wait(&r->poll, TASK_READABLE, DEADLINE_NONE) >= 0)
        process_events(r);
    task_fd_fini(&r->poll);
    r->driver = NULL;
    /* Nothing arrives any more: end what still waits. */
    ares_cancel(r->channel);
    task_timer_clear(&r->timer);
    resolver_drop(r);
}

static int start_driver(struct ares_resolver *r)
{
    int rc;

    if (r->driver != NULL)
        return 0;
    rc = task_fd_init(&r->poll, r->epoll);
    if (rc < 0)
        return rc;
    r->driver = task_spawn("dns", driver_main, r);
    if (r->driver != NULL) {
        r->refs++;
        return 0;
    }
    task_fd_fini(&r->poll);
    return -ENOMEM;
}

/* c-ares calls this once for each query, also when it is cancelled. */
static void answered(void *arg, int status, int timeouts, unsigned char *data, int n)
{
    struct query *q = arg;

    list_remove(&q->link);
    if (q->is_abandoned) {
        free(q);
        return;
    }
    q->status = status;
    q->is_done = true;
    if (data != NULL && n > 0)
        str_append(&q->packet, span_make(data, (size_t)n));
    task_cond_signal(&q->answered);
}

/* Not in flight: c-ares tells answers apart by it. */
static uint16_t new_id(struct ares_resolver *r)
{
    for (;;) {
        uint16_t id = (uint16_t)random_below(65536);
        bool is_free = true;

        LIST_FOR(item, &r->queries)
        is_free = is_free && LIST_ITEM(item, struct query, link)->id != id;
        if (is_free)
            return id;
    }
}

/* The query outlives a caller that stops waiting: c-ares 1.18 cannot cancel one. */
static int exchange(struct ares_resolver *r, const char *name, enum dns_type type, unsigned flags,
                    uint16_t edns_size, struct str *packet, int *status, deadline_t deadline)
{
    struct query *q = NEW(struct query);
    struct str wire = {0};
    int rc;

    if (q == NULL)
        return -ENOMEM;
    q->r = r;
    q->id = new_id(r);
    task_cond_init(&q->answered);
    rc = dns_build_query(&wire, q->id, name, type, flags, edns_size);
    if (rc < 0) {
        str_fini(&wire);
        free(q);
        return rc;
    }
    list_append(&r->queries, &q->link);
    ares_send(r->channel, (const unsigned char *)wire.data, (int)wire.len, answered, q);
    str_fini(&wire);
    set_timer(r);
    while (rc == 0 && !q->is_done)
        rc = task_cond_wait(&q->answered, deadline);
    if (!q->is_done) {
        q->is_abandoned = true;
        return rc;
    }
    *status = q->status;
    *packet = q->packet;
    free(q);
    return 0;
}

static int interpret(int status, struct span packet, const char *name, enum dns_type type,
                     struct dns_answer *answer)
{
    int rc;

    switch (status) {
    case ARES_SUCCESS:
        rc = dns_parse(packet, name, type, answer);
        if (rc == ERR_PROTOCOL) {
            arena_reset(&answer->arena);
            return dns_answer_fail(answer, DNS_TEMPORARY, "malformed name server reply");
        }
        return rc < 0 ? rc : dns_status_code(answer->status);
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        dns_answer_fail(answer, DNS_TEMPORARY, "look-up cancelled");
        return -ECANCELED;
    case ARES_ETIMEOUT:
        return dns_answer_fail(answer, DNS_TEMPORARY,
                               "Host or domain name not found. Name service "
                               "error: timeout");
    default:
        return dns_answer_fail(answer, DNS_TEMPORARY, ares_strerror(status));
    }
}

/* A server that does not know EDNS (RFC 6891 7) is asked again without. */
static bool is_edns_refused(int status, struct span packet)
{
    int rcode = packet.n > 3 ? packet.p[3] & 15 : 0;

    return status == ARES_EFORMERR ||
           (status == ARES_SUCCESS && (rcode == RCODE_FORMERR || rcode == RCODE_NOTIMP));
}

static int ares_resolver_query(struct resolver *base, const char *name, enum dns_type type,
                               unsigned flags, struct dns_answer *answer, deadline_t deadline)
{
    struct ares_resolver *r = (struct ares_resolver *)base;
    struct str packet = {0};
    int status = 0, rc;

    if (r->is_closed)
        return -ECANCELED;
    r->refs++;
    rc = start_driver(r);
    if (rc == 0)
        rc = exchange(r, name, type, flags, EDNS_SIZE, &packet, &status, deadline);
    if (rc == 0 && is_edns_refused(status, str_span(&packet)) && !r->is_closed) {
        str_fini(&packet);
        rc = exchange(r, name, type, flags, 0, &packet, &status, deadline);
    }
    if (rc == 0)
        rc = interpret(status, str_span(&packet), name, type, answer);
    str_fini(&packet);
    resolver_drop(r);
    return rc;
}

static void ares_resolver_free(struct resolver *base)
{
    struct ares_resolver *r = (struct ares_resolver *)base;

    r->is_closed = true;
    if (r->driver != NULL)
        task_cancel(r->driver);
    resolver_drop(r);
}

static const struct resolver_ops ares_ops = {ares_resolver_query, ares_resolver_free};

/* "host[:port]" items for ares_set_servers_ports_csv, each checked. */
static int set_servers(ares_channel channel, const char *text, struct str *why)
{
    struct span rest = span_cstr(text), item;
    struct str list = {0};
    int rc = 0;

    while (rc == 0 && span_token(&rest, " \t\r\n,", &item)) {
        struct net_address address;

        if (net_address_parse_port(item, &address) < 0) {
            rc = net_address_parse(item, &address);
            address.port = 53;
        }
        if (rc < 0)
            str_printf(why, "dns_servers: \"%.*s\" is not an address", SPAN_ARG(item));
        if (list.len > 0)
            str_append_char(&list, ',');
        net_address_print_port(&list, &address);
    }
    if (rc == 0 && list.len > 0 &&
        ares_set_servers_ports_csv(channel, str_cstr(&list)) != ARES_SUCCESS) {
        str_printf(why, "dns_servers: \"%s\" is not understood", text);
        rc = ERR_SYNTAX;
    }
    str_fini(&list);
    return rc;
}

int resolver_new(struct resolver **out, const struct resolver_options *options, struct str *why)
{
    struct ares_resolver *r = NEW(struct ares_resolver);
    struct ares_options ares = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
        .timeout = options->timeout_ms > 0 ? options->timeout_ms : 2000,
        .tries = options->tries > 0 ? options->tries : 3,
        .ednspsz = EDNS_SIZE,
        .sock_state_cb = socket_state,
        .sock_state_cb_data = r,
    };
    int rc;

    *out = NULL;
    if (r == NULL)
        return -ENOMEM;
    r->base.ops = &ares_ops;
    r->refs = 1;
    r->timer.expired = timer_expired;
    list_init(&r->queries);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r->epoll < 0) {
        rc = -errno;
        free(r);
        return rc;
    }
    ares_library_init(ARES_LIB_INIT_ALL);
    rc = ares_init_options(&r->channel, &ares,
                           ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
                               ARES_OPT_SOCK_STATE_CB);
    if (rc != ARES_SUCCESS) {
        str_printf(why, "DNS: %s", ares_strerror(rc));
        fd_close(&r->epoll);
        free(r);
        return ERR_TEMPORARY;
    }
    rc = set_servers(r->channel, options->servers == NULL ? "" : options->servers, why);
    if (rc < 0)
        resolver_drop(r);
    else
        *out = &r->base;
    return rc;
}
