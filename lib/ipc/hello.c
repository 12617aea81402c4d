/*
 * The hello: the client says which protocol and version it speaks, the server
 * answers with its own. A program understands its own version and the one before;
 * whoever meets a newer one refuses and names it.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "ipc/conn.h"

enum { BACKLOG_RETRY_MS = 10 };

static int send_hello(struct ipc_conn *c, const char *protocol, uint32_t version,
                      const char *refusal, deadline_t deadline)
{
    struct ipc_out m = {0};
    int rc;

    ipc_begin(&m, "hello");
    ipc_put(&m, "protocol", span_cstr(protocol));
    ipc_put_u64(&m, "version", version);
    if (refusal != NULL)
        ipc_put(&m, "refused", span_cstr(refusal));
    rc = ipc_send(c, &m, deadline);
    ipc_out_fini(&m);
    return rc;
}

/* The hello of the peer. */
static int check_hello(struct ipc_conn *c, const struct ipc_in *m, const char *protocol)
{
    struct span theirs = SPAN_NONE, refusal = SPAN_NONE;
    uint64_t number;

    if (!ipc_is(m, "hello") || ipc_get(m, "protocol", &theirs) < 0 ||
        ipc_get_u64(m, "version", &number) < 0 || number == 0 || number > UINT32_MAX) {
        log_warn("process %ld does not say hello in protocol %s", (long)c->peer_pid, protocol);
        return ERR_PROTOCOL;
    }
    if (!span_eq(theirs, span_cstr(protocol))) {
        log_warn("process %ld speaks protocol %.*s instead of %s", (long)c->peer_pid,
                 SPAN_ARG(theirs), protocol);
        return ERR_PROTOCOL;
    }
    c->peer_version = (uint32_t)number;
    if (ipc_get(m, "refused", &refusal) == 0) {
        log_warn("process %ld refuses this connection: %.*s", (long)c->peer_pid, SPAN_ARG(refusal));
        return ERR_VERSION;
    }
    return 0;
}

static int receive_hello(struct ipc_conn *c, const char *protocol, deadline_t deadline)
{
    struct ipc_in *m;
    int rc = ipc_receive(c, &m, deadline);

    if (rc == 0)
        rc = check_hello(c, m, protocol);
    ipc_in_free(m);
    return rc;
}

/* Server: the client's version is the own one or the one before. */
static int check_version(struct ipc_conn *c, const char *protocol, uint32_t version,
                         deadline_t deadline)
{
    struct str text = {0};
    int rc;

    if (c->peer_version == version || c->peer_version + 1 == version)
        return 0;
    str_printf(&text, "protocol %s version %u is not known here (%u is)", protocol,
               (unsigned)c->peer_version, (unsigned)version);
    log_warn("process %ld: %s", (long)c->peer_pid, str_cstr(&text));
    rc = send_hello(c, protocol, version, str_cstr(&text), deadline);
    if (rc == 0)
        ipc_flush(c, deadline);
    str_fini(&text);
    return ERR_VERSION;
}

int ipc_accept(struct ipc_conn **out, int fd, const char *protocol, uint32_t version,
               deadline_t deadline)
{
    struct ipc_conn *c;
    int rc = ipc_conn_new(&c, fd);

    *out = NULL;
    if (rc < 0)
        return rc;
    rc = receive_hello(c, protocol, deadline);
    if (rc == 0)
        rc = check_version(c, protocol, version, deadline);
    if (rc == 0)
        rc = send_hello(c, protocol, version, NULL, deadline);
    if (rc == 0)
        *out = c;
    else
        ipc_close(c);
    return rc;
}

int ipc_client(struct ipc_conn **out, int fd, const char *protocol, uint32_t version,
               deadline_t deadline)
{
    struct ipc_conn *c;
    int rc = ipc_conn_new(&c, fd);

    *out = NULL;
    if (rc < 0)
        return rc;
    rc = send_hello(c, protocol, version, NULL, deadline);
    if (rc == 0)
        rc = receive_hello(c, protocol, deadline);
    if (rc == 0 && c->peer_version > version + 1) {
        /* It understands the one before its own at most. */
        log_warn("process %ld speaks version %u of protocol %s, this program version %u",
                 (long)c->peer_pid, (unsigned)c->peer_version, protocol, (unsigned)version);
        rc = ERR_VERSION;
    }
    if (rc == 0)
        *out = c;
    else
        ipc_close(c);
    return rc;
}

/* Connect a SOCK_SEQPACKET socket; waits while the server's backlog is full. */
static int connect_socket(int *out, const char *name, deadline_t deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    int fd, rc = 0;

    *out = -1;
    if (n >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, name, n + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    while (rc == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == EAGAIN)
            rc = task_sleep(deadline_min(deadline, deadline_in(BACKLOG_RETRY_MS)));
        else if (errno != EINTR)
            rc = -errno;
        if (rc == 0 && clock_mono_ms() >= deadline)
            rc = -ETIMEDOUT;
    }
    if (rc < 0)
        fd_close(&fd);
    *out = fd;
    return rc;
}

int ipc_connect(struct ipc_conn **out, const char *socket_name, const char *protocol,
                uint32_t version, deadline_t deadline)
{
    int fd, rc;

    *out = NULL;
    rc = connect_socket(&fd, socket_name, deadline);
    return rc < 0 ? rc : ipc_client(out, fd, protocol, version, deadline);
}
