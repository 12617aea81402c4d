/* listeners.c: the sockets of all services. They belong to master, so that a
 * reload or the end of a process refuses nobody. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master.h"
#include "net/listen.h"

enum {
    BIND_TRIES = 40, /* the processes of a master that was killed let go at once */
    BIND_PAUSE_US = 250 * 1000,
    RETRY_MS = 200,
};

/* Sockets that a program has beside its master.cf line's own. */
static const struct {
    const char *program, *socket;
    bool is_private;
} further_sockets[] = {
    {"qmgr", "showq", false},
    {"auth", "auth-ids", true},
};

/* Unix sockets on which foreign programs speak a byte stream protocol. */
static const char *const stream_programs[] = {"smtpd"};

static struct listener *find(const char *key)
{
    LIST_FOR(item, &master.listeners)
    {
        struct listener *l = LIST_ITEM(item, struct listener, link);

        if (strcmp(l->key, key) == 0)
            return l;
    }
    return NULL;
}

struct listener *listener_adopt(const char *key, const char *label, int fd)
{
    struct listener *l = NEW_OR_DIE(struct listener);

    l->key = mem_strdup_or_die(span_cstr(key));
    l->label = mem_strdup_or_die(span_cstr(label));
    l->fd = fd;
    list_append(&master.listeners, &l->link);
    return l;
}

static void listener_free(struct listener *l)
{
    list_remove(&l->link);
    fd_close(&l->fd);
    free(l->key);
    free(l->label);
    free(l);
}

/* Give the entry the socket with this key; open() makes it when it is new. */
static int use_listener(struct service_entry *entry, const char *key, const char *label, int fd)
{
    struct listener *l = find(key), **slot = array_push(&entry->listeners);

    if (slot == NULL)
        return -ENOMEM;
    if (l == NULL)
        l = listener_adopt(key, label, fd);
    l->is_wanted = true;
    *slot = l;
    if (entry->listeners.len > INHERIT_LISTENERS_MAX)
        return ERR_LIMIT;
    return 0;
}

/* --- internet --- */

static int listen_tcp(const struct net_address *address, int *fd)
{
    int code = net_listen_tcp(address, fd);

    for (int i = 0; code == -EADDRINUSE && i < BIND_TRIES && master.generation == 0; i++) {
        usleep(BIND_PAUSE_US);
        code = net_listen_tcp(address, fd);
    }
    return code;
}

static int open_address(struct service_entry *entry, const struct net_address *address,
                        struct str *why)
{
    struct str key = {0}, text = {0};
    int fd = -1, code = 0;

    net_address_print_port(&text, address);
    str_printf(&key, "inet:%s", str_cstr(&text));
    LIST_FOR(item, &master.entries)
    {
        const struct service_entry *other = LIST_ITEM(item, struct service_entry, link);

        for (size_t i = 0; other != entry && i < other->listeners.len; i++) {
            if (strcmp(other->listeners.items[i]->key, str_cstr(&key)) == 0 &&
                other->listeners.items[i]->is_wanted)
                code = ERR_EXISTS;
        }
    }
    if (code == 0 && find(str_cstr(&key)) == NULL)
        code = listen_tcp(address, &fd);
    if (code == 0)
        code = use_listener(entry, str_cstr(&key), entry->config->name, fd);
    if (code < 0)
        str_printf(why, "cannot listen on %s for service %s (master.cf line %u): %s",
                   str_cstr(&text), entry->config->name, entry->config->line, error_text(code));
    str_fini(&key);
    str_fini(&text);
    return code;
}

static bool has_protocol(const struct conf *conf, const char *word)
{
    struct span rest = span_cstr(conf_string(conf, "inet_protocols")), token;

    while (span_token(&rest, " ,\t\r\n", &token)) {
        if (span_ieq(token, span_cstr(word)) || span_ieq(token, SPAN_LIT("all")))
            return true;
    }
    return false;
}

/* Every address of a host name or literal, blocking: at start and reload only. */
static int open_host(struct service_entry *entry, const struct conf *conf, struct span host,
                     uint16_t port, struct str *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *all = NULL;
    char *name = mem_strdup_or_die(host);
    int code = getaddrinfo(name, NULL, &hints, &all), found = 0;

    if (code != 0) {
        str_printf(why, "service %s (master.cf line %u): host %s: %s", entry->config->name,
                   entry->config->line, name, gai_strerror(code));
        free(name);
        return ERR_NOT_FOUND;
    }
    for (struct addrinfo *a = all; a != NULL && code == 0; a = a->ai_next) {
        struct net_address address;

        if (net_address_from_sockaddr(a->ai_addr, &address) < 0 ||
            !has_protocol(conf, address.family == AF_INET6 ? "ipv6" : "ipv4"))
            continue;
        address.port = port;
        code = open_address(entry, &address, why);
        found++;
    }
    if (code == 0 && found == 0) {
        str_printf(why,
                   "service %s (master.cf line %u): host %s has no address that "
                   "inet_protocols allows",
                   entry->config->name, entry->config->line, name);
        code = ERR_NOT_FOUND;
    }
    freeaddrinfo(all);
    free(name);
    return code;
}

static int open_everywhere(struct service_entry *entry, const struct conf *conf, uint16_t port,
                           struct str *why)
{
    struct net_address any = {.port = port};
    int code = 0;

    if (has_protocol(conf, "ipv4")) {
        any.family = AF_INET;
        code = open_address(entry, &any, why);
    }
    if (code == 0 && has_protocol(conf, "ipv6")) {
        any.family = AF_INET6;
        code = open_address(entry, &any, why);
        /* A kernel without IPv6, with inet_protocols = all. */
        if (code == -EAFNOSUPPORT && entry->listeners.len > 0) {
            str_clear(why);
            code = 0;
        }
    }
    return code;
}

static int resolve_port(struct service_entry *entry, struct span service, uint16_t *port,
                        struct str *why)
{
    int code = net_port_parse(service, port);

    if (code < 0) {
        char *name = mem_strdup_or_die(service);
        const struct servent *known = getservbyname(name, "tcp");

        if (known != NULL) {
            *port = ntohs((uint16_t)known->s_port);
            code = 0;
        }
        free(name);
    }
    if (code < 0)
        str_printf(why, "service %s (master.cf line %u): unknown port", entry->config->name,
                   entry->config->line);
    return code;
}

static int open_inet(struct service_entry *entry, const struct conf *conf, struct str *why)
{
    struct net_endpoint where;
    struct span hosts, host;
    uint16_t port = 0;
    int code = net_endpoint_parse(span_cstr(entry->config->name), true, &where);

    if (code < 0 || where.is_unix) {
        str_printf(why, "service %s (master.cf line %u): not a port or host:port",
                   entry->config->name, entry->config->line);
        return ERR_SYNTAX;
    }
    code = resolve_port(entry, where.service.n > 0 ? where.service : where.host, &port, why);
    if (code < 0)
        return code;
    if (where.service.n > 0 && where.host.n > 0)
        return open_host(entry, conf, where.host, port, why);
    hosts = span_cstr(conf_string(conf, "inet_interfaces"));
    while (code == 0 && span_token(&hosts, " ,\t\r\n", &host)) {
        if (span_ieq(host, SPAN_LIT("all")))
            return open_everywhere(entry, conf, port, why);
        if (span_ieq(host, SPAN_LIT("loopback-only"))) {
            code = open_host(entry, conf, SPAN_LIT("localhost"), port, why);
            continue;
        }
        if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
            host = span_make(host.p + 1, host.n - 2);
        code = open_host(entry, conf, host, port, why);
    }
    return code;
}

/* --- Unix --- */

static int open_unix(struct service_entry *entry, const struct conf *conf, const char *name,
                     bool is_private, struct str *why)
{
    struct str key = {0}, path = {0};
    int type = SOCK_SEQPACKET, fd = -1, code;
    gid_t group;

    for (size_t i = 0; i < COUNT_OF(stream_programs); i++) {
        if (strcmp(entry->program, stream_programs[i]) == 0)
            type = SOCK_STREAM;
    }
    str_printf(&key, "unix:%s", name);
    str_printf(&path, "run/%s", name);
    code = rundir_group(conf, &group, why);
    /* Who may connect: the suite's own processes by their group, or everybody. */
    if (code == 0 && find(str_cstr(&key)) == NULL)
        code =
            net_listen_unix(str_cstr(&path), type, is_private ? 0660 : 0666, (uid_t)-1, group, &fd);
    if (code == 0)
        code = use_listener(entry, str_cstr(&key), name, fd);
    if (code < 0 && why->len == 0)
        str_printf(why, "cannot listen on %s (master.cf line %u): %s", str_cstr(&path),
                   entry->config->line, error_text(code));
    str_fini(&key);
    str_fini(&path);
    return code;
}

int listeners_open(struct service_entry *entry, const struct conf *conf, struct str *why)
{
    int code;

    if (strcmp(entry->type, "inet") == 0)
        return open_inet(entry, conf, why);
    if (strchr(entry->config->name, '/') != NULL) {
        str_printf(why, "service %s (master.cf line %u): a socket's name has no slash",
                   entry->config->name, entry->config->line);
        return ERR_SYNTAX;
    }
    code = open_unix(entry, conf, entry->config->name, entry->config->is_private, why);
    for (size_t i = 0; i < COUNT_OF(further_sockets) && code == 0; i++) {
        if (strcmp(entry->program, further_sockets[i].program) == 0)
            code = open_unix(entry, conf, further_sockets[i].socket, further_sockets[i].is_private,
                             why);
    }
    return code;
}

/* --- waiting --- */

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

/* A client of implicit TLS says nothing before the handshake and would wait in vain until
 * its own time is up: better it hears at once that nobody is here. */
static void turn_away(const struct listener *l)
{
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    fd_close(&fd);
}

/* Spawns for a listener's service when somebody waits whom no process serves. */
static void watch_listener(void *arg)
{
    struct listener *l = arg;
    struct task_fd fd;
    int code = task_fd_init(&fd, l->fd);

    while (code >= 0) {
        struct service_entry *entry = l->user;

        if (entry != NULL && scale_is_away(entry)) {
            if (is_readable(l->fd))
                turn_away(l);
            else
                code = task_fd_wait(&fd, TASK_READABLE, deadline_in(RETRY_MS));
            code = code == -ETIMEDOUT ? 0 : code;
            continue;
        }
        if (entry == NULL || !scale_is_unserved(entry)) {
            code = task_cond_wait(&master.changed, DEADLINE_NONE);
            continue;
        }
        if (!is_readable(l->fd)) {
            code = task_fd_wait(&fd, TASK_READABLE, deadline_in(1000));
            if (code == -ETIMEDOUT)
                code = 0;
            continue;
        }
        entry->has_waiting = true;
        scale_entry(entry);
        if (scale_is_unserved(entry))
            code = task_sleep(deadline_in(RETRY_MS));
    }
    task_fd_fini(&fd);
    l->task = NULL;
    if (!l->is_wanted)
        listener_free(l);
}

int listeners_watch(void)
{
    LIST_FOR(item, &master.listeners)
    {
        struct listener *l = LIST_ITEM(item, struct listener, link);

        if (l->task != NULL || l->user == NULL)
            continue;
        l->task = task_spawn("listener", watch_listener, l);
        if (l->task == NULL)
            return -ENOMEM;
    }
    return 0;
}

void listeners_sweep(void)
{
    LIST_FOR_SAFE(item, &master.listeners)
    {
        struct listener *l = LIST_ITEM(item, struct listener, link);

        if (l->is_wanted)
            continue;
        l->user = NULL;
        if (strncmp(l->key, "unix:", 5) == 0) {
            struct str path = {0};

            str_printf(&path, "run/%s", l->key + 5);
            unlink(str_cstr(&path));
            str_fini(&path);
        }
        /* Its task frees it; a new listener may have the same key meanwhile. */
        if (l->task != NULL) {
            list_remove(&l->link);
            task_cancel(l->task);
        } else {
            listener_free(l);
        }
    }
}
