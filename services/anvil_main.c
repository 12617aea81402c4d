/*
 * anvil_main.c: counts of connections per client and service, for limits that
 * hold over all processes. Protocol: service/anvil.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/array.h"
#include "base/error.h"
#include "base/log.h"
#include "service/anvil.h"
#include "service/service.h"
#include "services/anvil_table.h"

enum { CONNECTIONS_MAX = 1000000 }; /* of one process; above any limit of master's */

static struct anvil_table table;
static struct task_timer report_timer;
static int64_t report_ms;

/* What one process has connected: taken back when it ends. A host with
 * connections is never forgotten, so the pointers stay good. */
struct peer {
    ARRAY(struct anvil_host *) connected;
};

static void disconnect(struct peer *peer, struct anvil_host *host)
{
    for (size_t i = peer->connected.len; i-- > 0;) {
        if (peer->connected.items[i] == host) {
            peer->connected.items[i] = peer->connected.items[peer->connected.len - 1];
            peer->connected.len--;
            anvil_table_disconnect(&table, host);
            return;
        }
    }
}

static void connect_host(struct peer *peer, struct span key, struct anvil_counts *counts)
{
    struct anvil_host **slot, *host;

    *counts = (struct anvil_counts){0};
    if (peer->connected.len >= CONNECTIONS_MAX)
        return;
    host = anvil_table_connect(&table, key, clock_mono_ms(), clock_wall_s(), counts);
    slot = host != NULL ? array_push(&peer->connected) : NULL;
    if (slot != NULL)
        *slot = host;
    else if (host != NULL)
        anvil_table_disconnect(&table, host);
}

static int answer(struct ipc_conn *conn, struct peer *peer, const struct ipc_in *request)
{
    char text[ANVIL_KEY_MAX];
    size_t length;
    struct span key;
    struct anvil_counts counts;
    struct ipc_out reply = {0};
    int code = anvil_decode(request, text, &length);

    if (code < 0)
        return code;
    key = span_make(text, length);
    if (ipc_is(request, "disconnect")) {
        struct anvil_host *host = anvil_table_find(&table, key);

        if (host != NULL)
            disconnect(peer, host);
        return 0;
    }
    if (!ipc_is(request, "connect"))
        return ERR_PROTOCOL;
    connect_host(peer, key, &counts);
    ipc_begin_reply(&reply, request);
    ipc_put_u64(&reply, "connections", counts.connections);
    ipc_put_u64(&reply, "rate", counts.rate);
    code = ipc_send(conn, &reply, DEADLINE_NONE);
    ipc_out_fini(&reply);
    return code;
}

static void serve(struct service_client *client)
{
    struct peer peer = {0};
    struct ipc_conn *conn = NULL;
    struct ipc_in *request;
    int code =
        ipc_accept(&conn, client->fd, ANVIL_PROTOCOL, ANVIL_VERSION, deadline_in(IPC_HELLO_MS));

    while (code == 0) {
        code = ipc_receive(conn, &request, DEADLINE_NONE);
        if (code < 0)
            break;
        code = answer(conn, &peer, request);
        ipc_in_free(request);
    }
    if (code == ERR_SYNTAX || code == ERR_PROTOCOL)
        log_warn("malformed request from pid %ld", conn != NULL ? (long)ipc_peer_pid(conn) : 0L);
    ipc_close(conn);
    for (size_t i = 0; i < peer.connected.len; i++)
        anvil_table_disconnect(&table, peer.connected.items[i]);
    array_free(&peer.connected);
}

/* --- statistics, in Postfix's words --- */

static void report_peak(const char *what, const char *unit, struct anvil_peak *peak)
{
    time_t when = (time_t)peak->wall_s;
    struct tm tm;
    char text[32];

    if (peak->value == 0 || localtime_r(&when, &tm) == NULL)
        return;
    strftime(text, sizeof(text), "%b %e %H:%M:%S", &tm);
    log_info("statistics: max %s %u%s for (%s) at %s", what, peak->value, unit, peak->key, text);
    *peak = (struct anvil_peak){0};
}

static void report(void)
{
    char unit[24];

    snprintf(unit, sizeof(unit), "/%llds", (long long)(table.unit_ms / 1000));
    report_peak("connection rate", unit, &table.peak_rate);
    report_peak("connection count", "", &table.peak_connections);
}

static void report_due(struct task_timer *timer)
{
    report();
    task_timer_set(&report_timer, deadline_in(report_ms));
}

static int load(const struct conf *conf, struct str *why)
{
    tzset(); /* before chroot */
    return 0;
}

static int start(const struct conf *conf)
{
    anvil_table_init(&table, (size_t)conf_int(conf, "anvil_table_limit"),
                     conf_ms(conf, "anvil_rate_time_unit"));
    report_ms = conf_ms(conf, "anvil_status_update_time");
    report_timer.expired = report_due;
    task_timer_set(&report_timer, deadline_in(report_ms));
    return 0;
}

static void stop(void)
{
    task_timer_clear(&report_timer);
    report();
    anvil_table_fini(&table);
}

static const char *const askers[] = {"waypost_smtpd_user", "waypost_store_user", NULL};

static const struct service anvil_service = {
    .name = "anvil",
    .kind = SERVICE_SINGLE,
    .user_parameter = "waypost_smtpd_user",
    .askers = askers,
    .is_chrooted = true,
    .on_load = load,
    .on_start = start,
    .on_client = serve,
    .on_stop = stop,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &anvil_service);
}
