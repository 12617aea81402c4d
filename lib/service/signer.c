#include "service/signer.h"

#include <errno.h>
#include <pthread.h>

#include "base/error.h"
#include "base/fd.h"
#include "ipc/sync.h"
#include "net/tlsproxy.h"
#include "task/task.h"

enum { TIMEOUT_MS = 10000, HOLD_TRIES = 8, HOLD_PAUSE_MS = 100 };

/* The connection to the tlsproxy that has the keys of this process' generation. Sockets
 * lead to the newest one, which after a change of the certificate has others. */
static struct {
    pthread_mutex_t lock;
    int fd; /* -1: none */
    bool is_wanted;
} held = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static int open_held(void)
{
    struct ipc_out m = {0};
    struct ipc_in *reply = NULL;
    struct span key;
    bool ok = false;
    int rc = ipc_sync_open(&held.fd, TLSPROXY_SOCKET, TLSPROXY_PROTOCOL, TLSPROXY_PROTOCOL_VERSION,
                           TIMEOUT_MS);

    if (rc < 0)
        return rc;
    ipc_begin(&m, "hold");
    for (size_t i = 0; (key = tls_signer_fingerprint(i)).n > 0; i++)
        ipc_put(&m, "key", key);
    rc = ipc_sync_ask(held.fd, &m, &reply);
    if (rc == 0 && (ipc_get_bool(reply, "ok", &ok) < 0 || !ok))
        rc = ERR_DENIED;
    if (rc < 0)
        fd_close(&held.fd);
    ipc_in_free(reply);
    ipc_out_fini(&m);
    return rc;
}

static int sign(int fd, const struct tls_sign_request *request, struct str *signature)
{
    struct ipc_out m = {0};
    struct ipc_in *reply = NULL;
    struct span octets;
    int rc;

    ipc_begin(&m, "sign");
    ipc_put(&m, "key", request->fingerprint);
    ipc_put(&m, "scheme", request->scheme);
    ipc_put(&m, "digest", request->digest);
    ipc_put(&m, "data", request->data);
    rc = ipc_sync_ask(fd, &m, &reply);
    ipc_out_fini(&m);
    if (rc == 0)
        rc = ipc_get(reply, "signature", &octets) == 0 ? str_append(signature, octets) : ERR_DENIED;
    ipc_in_free(reply);
    return rc;
}

/* With the lock. */
static int sign_held(const struct tls_sign_request *request, struct str *signature)
{
    int rc = held.fd < 0 ? open_held() : 0;

    if (rc == 0)
        rc = sign(held.fd, request, signature);
    if (rc < 0)
        fd_close(&held.fd);
    return rc;
}

static int sign_apart(const struct tls_sign_request *request, struct str *signature)
{
    int fd = -1, rc = ipc_sync_open(&fd, TLSPROXY_SOCKET, TLSPROXY_PROTOCOL,
                                    TLSPROXY_PROTOCOL_VERSION, TIMEOUT_MS);

    if (rc == 0)
        rc = sign(fd, request, signature);
    fd_close(&fd);
    return rc;
}

/* On a worker, in the middle of a handshake. While another one uses the connection that
 * is held, one of its own will mostly do; if not, the other has to be waited for. A
 * tlsproxy that does not answer is not asked again. */
static int ask_tlsproxy(void *arg, const struct tls_sign_request *request, struct str *signature)
{
    int rc = -EAGAIN;

    if (pthread_mutex_trylock(&held.lock) == 0) {
        rc = sign_held(request, signature);
        pthread_mutex_unlock(&held.lock);
    }
    if (rc < 0 && rc != -ETIMEDOUT)
        rc = sign_apart(request, signature);
    if (rc < 0 && rc != -ETIMEDOUT) {
        pthread_mutex_lock(&held.lock);
        rc = sign_held(request, signature);
        pthread_mutex_unlock(&held.lock);
    }
    return rc;
}

int service_signer_start(void)
{
    held.is_wanted = true;
    return tls_signer_start(ask_tlsproxy, NULL);
}

static void run_hold(void *arg)
{
    int *rc = arg;

    pthread_mutex_lock(&held.lock);
    *rc = held.fd < 0 ? open_held() : 0;
    pthread_mutex_unlock(&held.lock);
}

/* At a reload the tlsproxy before may still answer, or none yet. */
static void hold(void *arg)
{
    int rc = -EAGAIN;

    for (int i = 0; i < HOLD_TRIES && rc < 0; i++) {
        if (i > 0 && task_sleep(deadline_in((int64_t)HOLD_PAUSE_MS << i)) < 0)
            return;
        if (task_offload(TASK_POOL_CPU, run_hold, &rc) < 0)
            return;
    }
}

int service_signer_hold(void)
{
    if (!held.is_wanted)
        return 0;
    return task_spawn("hold keys", hold, NULL) != NULL ? 0 : -ENOMEM;
}
