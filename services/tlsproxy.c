#include "services/tlsproxy.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/certificates.h"
#include "net/pump.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/tls_signer.h"
#include "net/tlsproxy.h"

enum {
    HAND_OVER_TIMEOUT_MS = 30000,
    HAND_OVER_TRIES = 4,
    DRAIN_MS = 5000,
    SIGNATURES_AT_ONCE = 64,
    REQUESTS_AT_ONCE = 4096,     /* of one process; further ones wait in its socket */
    SEND_BUFFER_OCTETS = 262144, /* of a client that does not read */
};

static struct {
    struct tls_context *context; /* NULL without a certificate */
    struct tls_keyring *keys;    /* smtpd's, for signing */
    struct ipc_client *logins;   /* where clients of an inet entry go */
    int64_t handshake_ms;
} shared;

/* Only the process that answers requests needs smtpd's keys. */
static int load_signing_keys(const struct conf *conf, struct str *why)
{
    struct tls_options options = {
        .chain_files = conf_string(conf, "smtpd_tls_chain_files"),
        .cert_file = conf_string(conf, "smtpd_tls_cert_file"),
        .key_file = conf_string(conf, "smtpd_tls_key_file"),
        .eccert_file = conf_string(conf, "smtpd_tls_eccert_file"),
        .eckey_file = conf_string(conf, "smtpd_tls_eckey_file"),
    };

    shared.keys = tls_keyring_new();
    return shared.keys != NULL ? tls_keyring_add(shared.keys, &options, why) : -ENOMEM;
}

int tlsproxy_load(const struct conf *conf, struct str *why)
{
    int rc = conf_string(conf, "tlsproxy_handover_service")[0] == '\0'
                 ? load_signing_keys(conf, why)
                 : 0;

    struct tls_options options = {
        .chain_files = conf_string(conf, "tlsproxy_tls_chain_files"),
        .cert_file = conf_string(conf, "tlsproxy_tls_cert_file"),
        .key_file = conf_string(conf, "tlsproxy_tls_key_file"),
        .eccert_file = conf_string(conf, "tlsproxy_tls_eccert_file"),
        .eckey_file = conf_string(conf, "tlsproxy_tls_eckey_file"),
        .protocols = conf_string(conf, "tlsproxy_tls_mandatory_protocols"),
        .exclude_ciphers = conf_string(conf, "tlsproxy_tls_exclude_ciphers"),
        .prefer_server_ciphers = conf_bool(conf, "tls_preempt_cipherlist"),
    };

    if (rc < 0 || !certificates_are_named(conf, "tlsproxy_tls"))
        return rc;
    return tls_context_new_server(&shared.context, &options, why);
}

int tlsproxy_start(const struct conf *conf)
{
    const char *service = conf_string(conf, "tlsproxy_handover_service");

    net_pump_start_library();
    shared.handshake_ms = conf_ms(conf, "login_timeout");
    if (service[0] == '\0')
        return 0;
    shared.logins = ipc_client_new(service, LOGIN_PROTOCOL, LOGIN_PROTOCOL_VERSION);
    return shared.logins != NULL ? 0 : -ENOMEM;
}

void tlsproxy_stop(void)
{
    net_pump_close_all();
}

static void on_pump_done(void *arg)
{
    service_client_release();
}

/* The handshake, and a pump behind it, which releases the client when it ends; *plain
 * is the end to hand over. Takes fd. On failure *why names the reason for the log. */
static int end_tls(int fd, int *plain, struct str *tls, struct str *why)
{
    struct stream *stream;
    int pair[2], size = SEND_BUFFER_OCTETS, rc;

    if (shared.context == NULL) {
        fd_close(&fd);
        str_set(why, SPAN_LIT("no certificate is configured"));
        return ERR_NOT_SUPPORTED;
    }
    rc = stream_new(&stream, fd, NULL);
    if (rc < 0)
        return rc;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    rc = stream_start_tls_server(stream, shared.context, deadline_in(shared.handshake_ms));
    if (rc < 0)
        str_set(why, span_cstr(stream_error_text(stream)));
    else
        rc = tls_print_cipher(tls, stream_tls(stream));
    if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        rc = -errno;
    if (rc < 0) {
        stream_free(stream);
        return rc;
    }
    rc = net_pump_new(stream, pair[0], on_pump_done, NULL);
    if (rc < 0) {
        fd_close(&pair[1]);
        return rc;
    }
    *plain = pair[1];
    return 0;
}

/* --- implicit TLS --- */

static int offer(int plain, struct span peer, struct span local, struct span tls,
                 struct ipc_in **reply)
{
    struct ipc_out m = {0};
    int rc;

    ipc_begin(&m, "client");
    ipc_put_fd(&m, "client", plain);
    ipc_put(&m, "peer", peer);
    ipc_put(&m, "local", local);
    ipc_put(&m, "tls", tls);
    rc = ipc_client_call(shared.logins, &m, reply, deadline_in(HAND_OVER_TIMEOUT_MS));
    ipc_out_fini(&m);
    return rc;
}

static int hand_over(int plain, struct span peer, struct span local, struct span tls)
{
    struct ipc_in *reply = NULL;
    bool ok = false;
    int rc = ERR_TRUNCATED;

    /* A login process that ends has answered for every client it took. */
    for (int i = 0; rc == ERR_TRUNCATED && i < HAND_OVER_TRIES; i++)
        rc = offer(plain, peer, local, tls, &reply);
    if (rc == 0 && (ipc_get_bool(reply, "ok", &ok) < 0 || !ok))
        rc = ERR_LIMIT;
    ipc_in_free(reply);
    return rc;
}

static void serve_internet(struct service_client *client)
{
    struct str peer = {0}, local = {0}, tls = {0}, why = {0};
    int plain = -1, rc;

    net_address_print(&peer, client->peer);
    net_address_print(&local, client->local);
    task_set_note(str_span(&peer), SPAN_NONE);
    if (shared.logins == NULL) {
        str_set(&why, SPAN_LIT("tlsproxy_handover_service is not set"));
        fd_close(&client->fd);
        rc = ERR_NOT_SUPPORTED;
    } else {
        service_client_keep();
        rc = end_tls(client->fd, &plain, &tls, &why);
        if (rc < 0)
            service_client_release();
    }
    if (rc == 0)
        rc = hand_over(plain, str_span(&peer), str_span(&local), str_span(&tls));
    /* With no login process to take it, closing our end tells the pump to end. */
    fd_close(&plain);
    if (rc < 0)
        log_info("%s: TLS session for %s: %s", str_cstr(&peer), client->listener,
                 why.len > 0 ? str_cstr(&why) : error_text(rc));
    str_fini(&peer);
    str_fini(&local);
    str_fini(&tls);
    str_fini(&why);
}

/* --- requests: STARTTLS for login processes, signatures for smtpd --- */

static void answer_starttls(struct ipc_conn *conn, struct ipc_in *request)
{
    struct ipc_out reply = {0};
    struct str tls = {0}, why = {0};
    struct span peer = SPAN_NONE;
    int fd = -1, plain = -1, rc = ERR_PROTOCOL;

    (void)ipc_get(request, "peer", &peer);
    task_set_note(peer, SPAN_NONE);
    if (ipc_is(request, "starttls") && ipc_take_fd(request, "client", &fd) == 0)
        rc = service_client_admit();
    if (rc == 0) {
        rc = end_tls(fd, &plain, &tls, &why);
        if (rc < 0)
            service_client_release();
    } else {
        fd_close(&fd);
    }
    ipc_begin_reply(&reply, request);
    if (rc == 0) {
        ipc_put_fd(&reply, "plain", plain);
        ipc_put(&reply, "tls", str_span(&tls));
    } else {
        ipc_put(&reply, "reason", why.len > 0 ? str_span(&why) : span_cstr(error_text(rc)));
    }
    (void)ipc_send(conn, &reply, deadline_in(HAND_OVER_TIMEOUT_MS));
    ipc_out_fini(&reply);
    fd_close(&plain);
    str_fini(&tls);
    str_fini(&why);
}

struct sign_job {
    struct tls_sign_request request;
    struct str signature;
    int rc;
};

static void run_sign(void *arg)
{
    struct sign_job *job = arg;

    job->rc = tls_keyring_sign(shared.keys, &job->request, &job->signature);
}

static int sign(struct sign_job *job)
{
    int rc = 0;

    if (tls_keyring_is_quick(shared.keys, job->request.fingerprint))
        run_sign(job);
    else
        rc = task_offload(TASK_POOL_CPU, run_sign, job);
    return rc == 0 ? job->rc : rc;
}

static void answer_sign(struct ipc_conn *conn, const struct ipc_in *request)
{
    struct sign_job job = {.rc = ERR_PROTOCOL};
    struct ipc_out reply = {0};
    int rc = ERR_PROTOCOL;

    if (shared.keys != NULL && ipc_get(request, "key", &job.request.fingerprint) == 0 &&
        ipc_get(request, "scheme", &job.request.scheme) == 0 &&
        ipc_get(request, "digest", &job.request.digest) == 0 &&
        ipc_get(request, "data", &job.request.data) == 0)
        rc = sign(&job);
    if (rc < 0)
        log_warn("process %ld: a signature was refused: %s", (long)ipc_peer_pid(conn),
                 error_text(rc));
    ipc_begin_reply(&reply, request);
    if (rc == 0)
        ipc_put(&reply, "signature", str_span(&job.signature));
    else
        ipc_put(&reply, "reason", span_cstr(error_text(rc)));
    (void)ipc_send(conn, &reply, deadline_in(HAND_OVER_TIMEOUT_MS));
    ipc_out_fini(&reply);
    str_fini(&job.signature);
}

static int answer(struct ipc_server *server, struct ipc_in *request)
{
    if (ipc_is(request, "sign"))
        answer_sign(server->conn, request);
    else
        answer_starttls(server->conn, request);
    return 0;
}

/* --- who asks over a connection --- */

/* Who ends TLS with keys of this process: it counts as a client, so that a reload does
 * not take the keys away from it. */
static void serve_holder(void *arg)
{
    struct ipc_conn *conn = arg;
    struct ipc_server server;

    ipc_server_init(&server, conn, "signature", SIGNATURES_AT_ONCE, answer);
    (void)ipc_server_run(&server);
    task_group_end(&server.answers);
    ipc_close(conn);
}

static int check_keys(const struct ipc_in *request)
{
    struct ipc_walk walk = {0};
    size_t count = 0;

    while (ipc_walk(request, &walk)) {
        if (!span_eq(walk.name, SPAN_LIT("key")))
            continue;
        if (shared.keys == NULL || !tls_keyring_has(shared.keys, walk.value))
            return ERR_NOT_FOUND;
        count++;
    }
    return count > 0 ? 0 : ERR_PROTOCOL;
}

/* Takes conn. */
static void begin_holding(struct ipc_conn *conn, struct ipc_in *request)
{
    struct ipc_out reply = {0};
    int rc = check_keys(request);

    if (rc == 0)
        rc = service_client_spawn("holder", serve_holder, conn);
    ipc_begin_reply(&reply, request);
    if (rc == 0)
        ipc_put_bool(&reply, "ok", true);
    else
        ipc_put(&reply, "reason", span_cstr(error_text(rc)));
    /* Without a wait, in which the new task could end the connection. */
    (void)ipc_post(conn, &reply);
    ipc_out_fini(&reply);
    ipc_in_free(request);
    if (rc < 0)
        ipc_close(conn);
}

static void serve_requests(struct ipc_conn *conn, struct ipc_in *first)
{
    struct ipc_server server;

    ipc_server_init(&server, conn, "tls request", REQUESTS_AT_ONCE, answer);
    if (ipc_server_take(&server, first) == 0)
        (void)ipc_server_run(&server);
    /* A reload ends this connection; handshakes that are under way get a little time. */
    if (task_is_cancelled()) {
        bool shield = task_shield(true);
        task_group_wait(&server.answers, deadline_in(DRAIN_MS));
        task_shield(shield);
    }
    task_group_end(&server.answers);
    /* What is not answered was not begun, and may be asked of another process. */
    ipc_close_flushed(conn);
}

static void serve_local(int fd)
{
    struct ipc_conn *conn;
    struct ipc_in *first;

    if (ipc_accept(&conn, fd, TLSPROXY_PROTOCOL, TLSPROXY_PROTOCOL_VERSION,
                   deadline_in(IPC_HELLO_MS)) < 0)
        return;
    if (ipc_receive(conn, &first, DEADLINE_NONE) < 0)
        ipc_close(conn);
    else if (ipc_is(first, "hold"))
        begin_holding(conn, first);
    else
        serve_requests(conn, first);
}

void tlsproxy_serve_client(struct service_client *client)
{
    if (client->peer != NULL)
        serve_internet(client);
    else
        serve_local(client->fd);
}
