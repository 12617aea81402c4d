#include "ipc/sync.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "ipc/message.h"

enum { REPLY_MAX = 65536 };

static int open_socket(int *out, const char *name, unsigned timeout_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    int fd;

    if (strlen(name) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, name);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
        fd_close(&fd);
        return rc;
    }
    *out = fd;
    return 0;
}

static int send_message(int fd, const struct ipc_out *m)
{
    struct str packet = {0};
    int rc = ipc_encode(&packet, m);

    if (rc == 0 && send(fd, packet.data, packet.len, MSG_NOSIGNAL) < 0)
        rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
    str_fini_secret(&packet);
    return rc;
}

/* The next packet, which must be one message without descriptors. */
static int receive_message(int fd, struct ipc_in **out)
{
    char *packet = malloc(REPLY_MAX);
    struct ipc_frame frame;
    ssize_t n = packet != NULL ? recv(fd, packet, REPLY_MAX, 0) : -1;
    int rc = 0;

    if (packet == NULL)
        rc = -ENOMEM;
    else if (n <= 0)
        rc = n == 0 ? ERR_EOF : errno == EAGAIN ? -ETIMEDOUT : -errno;
    else if (ipc_decode(span_make(packet, (size_t)n), &frame) < 0 || frame.descriptors != 0)
        rc = ERR_PROTOCOL;
    else if ((*out = ipc_in_new(&frame, NULL)) == NULL)
        rc = -ENOMEM;
    free(packet);
    return rc;
}

static int say_hello(int fd, const char *protocol, uint32_t version)
{
    struct ipc_out m = {0};
    struct ipc_in *answer = NULL;
    struct span refusal, theirs = SPAN_NONE;
    int rc;

    ipc_begin(&m, "hello");
    ipc_put(&m, "protocol", span_cstr(protocol));
    ipc_put_u64(&m, "version", version);
    rc = send_message(fd, &m);
    ipc_out_fini(&m);
    if (rc == 0)
        rc = receive_message(fd, &answer);
    if (rc == 0 && ipc_get(answer, "refused", &refusal) == 0)
        rc = ERR_VERSION;
    if (rc == 0 && (!ipc_is(answer, "hello") || ipc_get(answer, "protocol", &theirs) < 0 ||
                    !span_eq(theirs, span_cstr(protocol))))
        rc = ERR_PROTOCOL;
    ipc_in_free(answer);
    return rc;
}

int ipc_sync_open(int *fd, const char *socket_name, const char *protocol, uint32_t version,
                  unsigned timeout_ms)
{
    int rc = open_socket(fd, socket_name, timeout_ms);

    if (rc < 0)
        return rc;
    rc = say_hello(*fd, protocol, version);
    if (rc < 0)
        fd_close(fd);
    return rc;
}

int ipc_sync_ask(int fd, struct ipc_out *request, struct ipc_in **reply)
{
    int rc;

    *reply = NULL;
    ipc_put_u64(request, "id", 1);
    rc = send_message(fd, request);
    if (rc == 0)
        rc = receive_message(fd, reply);
    if (rc == 0 && !ipc_is(*reply, "reply")) {
        ipc_in_free(*reply);
        *reply = NULL;
        rc = ERR_PROTOCOL;
    }
    return rc;
}

int ipc_sync_call(const char *socket_name, const char *protocol, uint32_t version,
                  struct ipc_out *request, struct ipc_in **reply, unsigned timeout_ms)
{
    int fd = -1, rc = ipc_sync_open(&fd, socket_name, protocol, version, timeout_ms);

    *reply = NULL;
    if (rc == 0)
        rc = ipc_sync_ask(fd, request, reply);
    fd_close(&fd);
    return rc;
}
