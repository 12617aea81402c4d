/* status.c: what master tells waypost(1). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "ipc/ipc.h"
#include "master/master.h"
#include "net/listen.h"
#include "service/control.h"

enum { REQUEST_MS = 30000, CLIENTS_MAX = 32 };

/* --- JSON ------------------------------------------------------------------------------------ */

/* RFC 8259 7. */
static void put_text(struct str *out, const char *text)
{
    str_append_char(out, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            str_printf(out, "\\%c", c);
        else if (c < 32)
            str_printf(out, "\\u%04x", c);
        else
            str_append_char(out, (char)c);
    }
    str_append_char(out, '"');
}

static void put_number(struct str *out, const char *name, uint64_t value)
{
    str_printf(out, ",\"%s\":%llu", name, (unsigned long long)value);
}

static void put_named(struct str *out, const char *name, const char *text)
{
    str_printf(out, ",\"%s\":", name);
    put_text(out, text);
}

/* Resident memory in KiB, from the kernel. */
static uint64_t resident_kib(pid_t pid)
{
    char path[64], text[128];
    unsigned long size = 0, resident = 0;
    int fd;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof(text) - 1);
    fd_close(&fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (sscanf(text, "%lu %lu", &size, &resident) != 2)
        return 0;
    return resident * (uint64_t)(sysconf(_SC_PAGESIZE) / 1024);
}

static const char *state_name(const struct child *child)
{
    switch (child->state) {
    case CHILD_STARTING:
        return "starting";
    case CHILD_READY:
        return "ready";
    default:
        return "draining";
    }
}

static void put_process(struct str *out, const struct child *child)
{
    struct stats_page page;

    if (stats_read(child->page, &page) < 0)
        memset(&page, 0, sizeof(page));
    str_printf(out, "{\"pid\":%ld", (long)child->pid);
    put_named(out, "state", state_name(child));
    put_number(out, "clients", page.clients);
    put_number(out, "limit", child->kind == SERVICE_SINGLE ? 0 : child->granted);
    put_number(out, "work", page.work);
    put_number(out, "accepted", page.accepted);
    put_number(out, "refused", page.refused);
    put_number(out, "cpu_permille", child->busy_permille);
    put_number(out, "cpu_ms", child->cpu_ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
    put_number(out, "memory_kib", resident_kib(child->pid));
    put_number(out, "tasks", page.tasks);
    put_number(out, "longest_turn_us", page.longest_turn_us);
    put_number(out, "log_dropped", page.log_dropped);
    put_number(out, "accept_errors", page.accept_errors);
    put_number(out, "age_s", (uint64_t)(clock_mono_ms() - child->started_ms) / 1000);
    str_append_char(out, '}');
}

static void put_processes(struct str *out, const struct list *children)
{
    bool is_first = true;

    str_append_cstr(out, ",\"processes\":[");
    LIST_FOR(item, children)
    {
        if (!is_first)
            str_append_char(out, ',');
        is_first = false;
        put_process(out, LIST_ITEM(item, struct child, link));
    }
    str_append_char(out, ']');
}

/* The limit of a service that hurts most, in words; "" none. */
static const char *hurting(const struct service_entry *entry, uint64_t clients)
{
    if (entry->is_contained)
        return "crashes: one client per process";
    if (!contain_may_start(&entry->containment, clock_mono_ms()))
        return "start failures: service_throttle_time";
    if (entry->kind != SERVICE_SINGLE && clients * 10 >= (uint64_t)entry->total * 8)
        return entry->config->limit > 0 ? "maxproc" : "default_process_limit";
    LIST_FOR(item, &entry->children)
    {
        if (LIST_ITEM(item, struct child, link)->busy_permille >= 950)
            return "cpu";
    }
    return "";
}

static void put_entry(struct str *out, const struct service_entry *entry)
{
    uint64_t clients = 0;

    LIST_FOR(item, &entry->children)
    {
        const struct child *child = LIST_ITEM(item, struct child, link);
        struct stats_page page;

        if (stats_read(child->page, &page) == 0)
            clients += child->kind == SERVICE_AGENT ? page.work : page.clients;
    }
    str_append_cstr(out, "{\"name\":");
    put_text(out, entry->config->name);
    put_named(out, "type", entry->type);
    put_named(out, "program", entry->program);
    put_number(out, "clients", clients);
    put_number(out, "limit", entry->kind == SERVICE_SINGLE ? 0 : entry->total);
    put_named(out, "hurts", hurting(entry, clients));
    put_processes(out, &entry->children);
    str_append_char(out, '}');
}

int status_json(struct str *out)
{
    bool is_first = true;

    str_printf(out, "{\"pid\":%ld", (long)getpid());
    put_number(out, "generation", master.generation);
    put_number(out, "started", (uint64_t)master.started_wall_s);
    put_number(out, "cores", master.machine.cores);
    put_named(out, "config_directory", master.config_directory);
    str_append_cstr(out, ",\"services\":[");
    LIST_FOR(item, &master.entries)
    {
        if (!is_first)
            str_append_char(out, ',');
        is_first = false;
        put_entry(out, LIST_ITEM(item, struct service_entry, link));
    }
    str_append_cstr(out, "],\"retired\":{\"name\":\"earlier configurations\"");
    put_processes(out, &master.retired);
    str_append_cstr(out, "}}\n");
    return str_error(out);
}

/* --- requests ----------------------------------------------------------------------------------
 */

static size_t client_count;

static void answer(struct ipc_conn *conn, const struct ipc_in *request)
{
    struct ipc_out reply = {0};
    struct str text = {0};

    ipc_begin_reply(&reply, request);
    if (ipc_is(request, "status")) {
        struct span rest;

        if (status_json(&text) < 0)
            ipc_put(&reply, "error", SPAN_LIT("out of memory"));
        rest = span_take(str_span(&text), IPC_CONTENT_MAX);
        ipc_put_bool(&reply, "is_complete", rest.n == text.len);
        ipc_put_content(&reply, rest);
    } else if (ipc_is(request, "reload")) {
        if (generation_load(&text) < 0) {
            log_error("reload refused, the configuration before stays: %s", str_cstr(&text));
            ipc_put(&reply, "error", str_span(&text));
        } else {
            master_reloaded();
        }
    } else if (ipc_is(request, "stop")) {
        bool is_kill = false;

        ipc_get_bool(request, "now", &is_kill);
        master_stop(is_kill);
    } else {
        ipc_put(&reply, "error", SPAN_LIT("unknown request"));
    }
    ipc_send(conn, &reply, deadline_in(REQUEST_MS));
    ipc_out_fini(&reply);
    str_fini(&text);
}

/* Only an administrator: root, or whoever runs the suite. */
static void serve_client(void *arg)
{
    struct ipc_conn *conn = NULL;
    struct ipc_in *request;
    int code = ipc_accept(&conn, (int)(intptr_t)arg, CONTROL_PROTOCOL, CONTROL_VERSION,
                          deadline_in(REQUEST_MS));

    if (code == 0 && ipc_peer_uid(conn) != 0 && ipc_peer_uid(conn) != geteuid()) {
        log_warn("control: uid %d may not ask", (int)ipc_peer_uid(conn));
        code = ERR_DENIED;
    }
    while (code == 0) {
        code = ipc_receive(conn, &request, deadline_in(REQUEST_MS));
        if (code < 0)
            break;
        answer(conn, request);
        ipc_in_free(request);
    }
    ipc_close(conn);
    client_count--;
}

void status_serve(void *listener_fd)
{
    int listener = (int)(intptr_t)listener_fd, fd, code;
    struct task_fd watch;

    code = task_fd_init(&watch, listener);
    while (code >= 0) {
        code = net_accept(listener, &fd, NULL, NULL);
        if (code == 0) {
            if (client_count < CLIENTS_MAX &&
                task_spawn("control", serve_client, (void *)(intptr_t)fd) != NULL)
                client_count++;
            else
                fd_close(&fd);
        } else if (code == -EAGAIN) {
            code = task_fd_wait(&watch, TASK_READABLE, DEADLINE_NONE);
        } else {
            code = task_sleep(deadline_in(1000));
        }
    }
    task_fd_fini(&watch);
}
