/* accept.c: the accept loop: limits, refused clients, a task per client. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/listen.h"
#include "service/control.h"
#include "service/log_channel.h"
#include "service/process.h"

enum {
    REFUSED_MAX = 64,
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 2000,
    TRIM_AFTER_MS = 5000, /* without a client that came or went */
    TRIM_CLIENTS = 256,   /* fewer are not worth it */
};

struct client {
    struct service_client public;
    struct net_address peer, local;
};

void accept_publish(void)
{
    struct task_stats stats;
    struct stats_page *page = process.page;

    task_get_stats(&stats);
    page->clients = process.client_count;
    page->limit = process.limit;
    page->turns = stats.turns;
    page->switches = stats.switches;
    page->jobs = stats.jobs;
    page->busy_us = stats.busy_us;
    page->longest_turn_us = stats.longest_turn_us;
    page->tasks = stats.tasks;
    page->log_dropped = log_channel_dropped();
}

void accept_refuse(struct span text)
{
    struct refused_client *slot, refused;
    struct span seconds;
    uint32_t n;

    if (!span_next(&text, ' ', &seconds) || span_to_u32(seconds, &n) < 0 ||
        net_address_parse(text, &refused.address) < 0)
        return;
    refused.until = deadline_in((int64_t)n * 1000);
    for (size_t i = process.refused.len; i-- > 0;) {
        slot = &process.refused.items[i];
        if (slot->until <= clock_mono_ms() || net_address_eq(&slot->address, &refused.address))
            array_remove(&process.refused, i);
    }
    if (process.refused.len == REFUSED_MAX)
        array_remove(&process.refused, 0);
    slot = array_push(&process.refused);
    if (slot != NULL)
        *slot = refused;
}

static bool is_refused(const struct net_address *peer)
{
    for (size_t i = 0; i < process.refused.len; i++) {
        const struct refused_client *refused = &process.refused.items[i];

        if (net_address_eq(&refused->address, peer) && refused->until > clock_mono_ms())
            return true;
    }
    return false;
}

void accept_set_limit(uint32_t limit)
{
    /* What is there stays: the answer tells master how many it really is. */
    if (process.service->kind == SERVICE_CLIENTS && limit < process.client_count)
        limit = (uint32_t)process.client_count;
    process.limit = limit;
    process.is_full_told = false;
    process.page->limit = limit;
    if (process.control_fd >= 0)
        control_send(process.control_fd, CONTROL_LIMITED, limit, NULL);
    task_cond_broadcast(&process.changed);
}

/* How many connections this process may have. An agent serves one queue manager
 * connection: others are for other processes. */
static uint64_t connection_limit(void)
{
    switch (process.service->kind) {
    case SERVICE_AGENT:
        return 1;
    case SERVICE_SINGLE:
        return UINT64_MAX;
    default:
        return process.limit;
    }
}

static uint64_t arrivals; /* since memory was given back */

/* What many clients used while they came is free, but not the kernel's: 1.2 KiB for each of
 * 3,000 idle IMAP sessions, also when they came one after the other. Busy processes never get
 * here, and few clients are not worth it: with a million small pieces it takes 50 ms. */
static void give_back(struct task_timer *timer)
{
    if (arrivals >= TRIM_CLIENTS)
        malloc_trim(0);
    arrivals = 0;
}

static struct task_timer trim = {.expired = give_back};

static void count_client(int change)
{
    process.client_count = (uint64_t)((int64_t)process.client_count + change);
    accept_publish();
    task_cond_broadcast(&process.changed);
    arrivals += change > 0;
    task_timer_set(&trim, deadline_in(TRIM_AFTER_MS));
}

static void client_main(void *arg)
{
    struct client *client = arg;
    bool is_carrier = process.service->are_clients_handed && client->public.peer == NULL;

    process.service->on_client(&client->public);
    free(client);
    if (!is_carrier)
        count_client(-1);
}

/* A client that was handed in. */
struct handed {
    task_fn *fn;
    void *arg;
};

static void handed_main(void *arg)
{
    struct handed handed = *(struct handed *)arg;

    free(arg);
    handed.fn(handed.arg);
    count_client(-1);
}

static void tell_full(void)
{
    if (process.is_full_told || process.client_count < connection_limit())
        return;
    process.is_full_told = true;
    process.page->full_times++;
    if (process.control_fd >= 0)
        control_send(process.control_fd, CONTROL_FULL, 0, NULL);
}

int service_client_spawn(const char *name, task_fn *fn, void *arg)
{
    struct handed *handed;

    if (process.client_count >= process.limit)
        return ERR_LIMIT;
    handed = NEW(struct handed);
    if (handed == NULL)
        return -ENOMEM;
    *handed = (struct handed){fn, arg};
    if (task_group_spawn(&process.clients, name, handed_main, handed) < 0) {
        free(handed);
        return -ENOMEM;
    }
    count_client(1);
    tell_full();
    return 0;
}

int service_client_admit(void)
{
    if (process.client_count >= process.limit)
        return ERR_LIMIT;
    service_client_keep();
    return 0;
}

void service_client_keep(void)
{
    count_client(1);
    tell_full();
}

void service_client_release(void)
{
    count_client(-1);
}

static int start_client(int fd, const char *listener, const struct net_address *peer,
                        const struct net_address *local)
{
    struct client *client = NEW(struct client);
    bool is_unix = peer->family == AF_UNSPEC;
    bool is_handed = is_unix && process.service->are_clients_handed;

    if (client == NULL)
        return -ENOMEM;
    client->peer = *peer;
    client->local = *local;
    client->public = (struct service_client){
        .fd = fd,
        .listener = listener,
        .conf = process.conf,
        .peer = is_unix ? NULL : &client->peer,
        .local = is_unix ? NULL : &client->local,
    };
    if (task_group_spawn(is_handed ? &process.carriers : &process.clients, "client", client_main,
                         client) < 0) {
        free(client);
        return -ENOMEM;
    }
    process.page->accepted++;
    if (!is_handed)
        count_client(1);
    tell_full();
    return 0;
}

/* May the process at the other end of a Unix socket ask this service? */
static bool is_stranger(int fd, const char *listener)
{
    const char *open_socket = process.service->open_socket;
    struct ucred peer;
    socklen_t n = sizeof(peer);

    if (!process.askers.is_checked || (open_socket != NULL && strcmp(listener, open_socket) == 0))
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
        askers_may_connect(&process.askers, peer.uid))
        return false;
    log_warn("%s: process %ld of user %ld has no business here: connection closed", listener,
             (long)peer.pid, (long)peer.uid);
    return true;
}

/* One accept: 1 when there may be more, 0 when there is none now, or why to pause. */
static int accept_one(int listener, const char *name)
{
    struct net_address peer = {0}, local = {0};
    int fd, code = net_accept(listener, &fd, &peer, &local);

    if (code < 0)
        return code == -EAGAIN ? 0 : code;
    if (peer.family != AF_UNSPEC && is_refused(&peer)) {
        struct str text = {0};

        net_address_print(&text, &peer);
        log_warn("connection from %s refused: a session of this client ended a process of "
                 "service %s",
                 str_cstr(&text), process.inherit.entry);
        str_fini(&text);
        process.page->refused++;
        fd_close(&fd);
        return 1;
    }
    if (peer.family == AF_UNSPEC && is_stranger(fd, name)) {
        process.page->refused++;
        fd_close(&fd);
        return 1;
    }
    code = start_client(fd, name, &peer, &local);
    if (code < 0) {
        fd_close(&fd);
        return code;
    }
    return 1;
}

/* Until there is room for one more. False when the process drains. */
static bool wait_for_room(void)
{
    while (!process.is_draining && process.client_count >= connection_limit()) {
        tell_full();
        if (task_cond_wait(&process.changed, DEADLINE_NONE) < 0)
            return false;
    }
    process.is_full_told = false;
    return !process.is_draining;
}

void accept_run(void *listener_index)
{
    int listener = process.listeners[(uintptr_t)listener_index];
    const char *name = process.inherit.listeners[(uintptr_t)listener_index];
    struct task_fd fd;
    int64_t backoff_ms = 0;
    int code = task_fd_init(&fd, listener);

    if (code < 0) {
        log_error("cannot watch listener %d: %s", listener, error_text(code));
        return;
    }
    while (wait_for_room()) {
        code = accept_one(listener, name);
        if (code == 0) {
            if (task_fd_wait(&fd, TASK_READABLE, DEADLINE_NONE) < 0)
                break;
            backoff_ms = 0;
        } else if (code > 0) {
            if (task_breathe() < 0)
                break;
        } else {
            /* No descriptors or memory: the backlog waits, sessions that end make
             * room. Said once per shortage, not per try. */
            process.page->accept_errors++;
            if (backoff_ms == 0)
                log_warn("cannot accept a connection: %s; %llu clients connected", error_text(code),
                         (unsigned long long)process.client_count);
            backoff_ms = backoff_ms == 0 ? BACKOFF_MIN_MS : backoff_ms * 2;
            if (backoff_ms > BACKOFF_MAX_MS)
                backoff_ms = BACKOFF_MAX_MS;
            if (task_sleep(deadline_in(backoff_ms)) < 0)
                break;
        }
    }
    task_fd_fini(&fd);
}
