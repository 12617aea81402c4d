/* status.c: what master tells waypost(1). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "ipc/ipc.h"
#include "master/master.h"
#include "master/usage.h"
#include "net/listen.h"
#include "service/control.h"

enum { REQUEST_MS = 30000, CLIENTS_MAX = 32 };

/* --- JSON --- */

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
    put_number(out, "memory_kib", usage_resident_kib(child->pid));
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

static uint64_t entry_clients(const struct service_entry *entry)
{
    uint64_t clients = 0;

    LIST_FOR(item, &entry->children)
    {
        const struct child *child = LIST_ITEM(item, struct child, link);
        struct stats_page page;

        if (stats_read(child->page, &page) == 0)
            clients += child->kind == SERVICE_AGENT ? page.work : page.clients;
    }
    return clients;
}

static void put_entry(struct str *out, const struct service_entry *entry)
{
    uint64_t clients = entry_clients(entry);

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

static int status_json(struct str *out)
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

/* --- for people --- */

static void put_row(struct str *out, const struct child *child, const char *name, const char *limit,
                    const char *hurts)
{
    struct stats_page page;

    if (stats_read(child->page, &page) < 0)
        memset(&page, 0, sizeof(page));
    str_printf(out, "%-24s %-12s %7ld %-8s %7llu %7s %5u.%u %8llu  %s\n", name, child->program,
               (long)child->pid, state_name(child),
               (unsigned long long)(child->kind == SERVICE_AGENT ? page.work : page.clients), limit,
               child->busy_permille / 10, child->busy_permille % 10,
               (unsigned long long)usage_resident_kib(child->pid), hurts);
}

static void put_rows(struct str *out, const struct service_entry *entry)
{
    uint64_t clients = entry_clients(entry);
    const char *hurts = hurting(entry, clients);
    char limit[16] = "-";
    bool is_first = true;

    if (entry->kind != SERVICE_SINGLE)
        snprintf(limit, sizeof(limit), "%u", entry->total);
    if (list_is_empty(&entry->children))
        str_printf(out, "%-24s %-12s %7s %-8s %7s %7s %7s %8s  %s\n", entry->config->name,
                   entry->program, "-", "on call", "-", limit, "-", "-", hurts);
    LIST_FOR(item, &entry->children)
    {
        put_row(out, LIST_ITEM(item, struct child, link), is_first ? entry->config->name : "",
                is_first ? limit : "", is_first ? hurts : "");
        is_first = false;
    }
}

static int status_text(struct str *out)
{
    str_printf(out, "the mail system is running: PID: %ld, configuration %s, generation %u\n\n",
               (long)getpid(), master.config_directory, master.generation);
    str_printf(out, "%-24s %-12s %7s %-8s %7s %7s %7s %8s  %s\n", "service", "program", "pid",
               "state", "clients", "limit", "cpu %", "KiB", "limit that hurts");
    LIST_FOR(item, &master.entries)
    put_rows(out, LIST_ITEM(item, struct service_entry, link));
    LIST_FOR(item, &master.retired)
    {
        const struct child *child = LIST_ITEM(item, struct child, link);

        put_row(out, child, child->name, "-", "of an earlier configuration");
    }
    return str_error(out);
}

/* --- requests --- */

static size_t client_count;

/* As a file: a thousand processes do not fit into a message. */
static int put_report(struct ipc_out *reply, const struct ipc_in *request)
{
    struct str text = {0};
    struct span format = SPAN_NONE;
    int fd = memfd_create("status", MFD_CLOEXEC), code = fd < 0 ? -errno : 0;

    ipc_get(request, "format", &format);
    if (code == 0)
        code = span_eq(format, SPAN_LIT("json")) ? status_json(&text) : status_text(&text);
    if (code == 0)
        code = fd_pwrite_all(fd, text.data, text.len, 0);
    if (code == 0)
        ipc_put_fd(reply, "report", fd);
    fd_close(&fd);
    str_fini(&text);
    return code;
}

static void answer(struct ipc_conn *conn, const struct ipc_in *request)
{
    struct ipc_out reply = {0};
    struct str text = {0};
    int code;

    ipc_begin_reply(&reply, request);
    if (ipc_is(request, "status")) {
        code = put_report(&reply, request);
        if (code < 0)
            ipc_put(&reply, "error", span_cstr(error_text(code)));
    } else if (ipc_is(request, "reload")) {
        if (master_renew(&text) < 0)
            ipc_put(&reply, "error", str_span(&text));
    } else if (ipc_is(request, "stop")) {
        bool is_kill = false;

        (void)ipc_get_bool(request, "now", &is_kill); /* missing: no */
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
