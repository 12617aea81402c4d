#include "service/signer.h"

#include <errno.h>
#include <pthread.h>

#include "base/error.h"
#include "base/fd.h"
#include "ipc/sync.h"
#include "net/tlsproxy.h"
#include "task/task.h"

enum {
    TIMEOUT_MS = 10000,
    HOLD_TRIES = 8,
    HOLD_PAUSE_MS = 100,
    IDLE_MAX = 64, /* as many as there can be workers */
};

/*
 * Connections to the tlsproxy that has the keys of this process' generation, one for each
 * handshake that waits for a signature at the same time. They are kept, because sockets
 * lead to the newest tlsproxy, which after a change of the certificate has other keys.
 */
static struct {
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t given_back;
    int idle[IDLE_MAX];
    size_t idle_count, lent_count;
    bool is_wanted;
} held = {.lock = PTHREAD_MUTEX_INITIALIZER, .given_back = PTHREAD_COND_INITIALIZER};

static int open_connection(int *fd)
{
    struct ipc_out m = {0};
    struct ipc_in *reply = NULL;
    struct span key;
    bool ok = false;
    int rc = ipc_sync_open(fd, TLSPROXY_SOCKET, TLSPROXY_PROTOCOL, TLSPROXY_PROTOCOL_VERSION,
                           TIMEOUT_MS);

    if (rc < 0)
        return rc;
    ipc_begin(&m, "hold");
    for (size_t i = 0; (key = tls_signer_fingerprint(i)).n > 0; i++)
        ipc_put(&m, "key", key);
    rc = ipc_sync_ask(*fd, &m, &reply);
    if (rc == 0 && (ipc_get_bool(reply, "ok", &ok) < 0 || !ok))
        rc = ERR_NOT_FOUND;
    if (rc < 0)
        fd_close(fd);
    ipc_in_free(reply);
    ipc_out_fini(&m);
    return rc;
}

/* A connection to the newest tlsproxy, in the caller's hands; ERR_NOT_FOUND: that one does
 * not have the keys. */
static int borrow_new(int *fd)
{
    int rc = open_connection(fd);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&held.lock);
    held.lent_count++;
    pthread_mutex_unlock(&held.lock);
    return 0;
}

/* The one used last, so that no more stay busy than are needed. When none is idle:
 * may_wait for one that is lent. False: there is none to be had. */
static bool borrow_idle(int *fd, bool may_wait)
{
    bool is_there;

    pthread_mutex_lock(&held.lock);
    while (may_wait && held.idle_count == 0 && held.lent_count > 0)
        pthread_cond_wait(&held.given_back, &held.lock);
    is_there = held.idle_count > 0;
    if (is_there) {
        *fd = held.idle[--held.idle_count];
        held.lent_count++;
    }
    pthread_mutex_unlock(&held.lock);
    return is_there;
}

/* What broke is of no use to the next one. */
static void give_back(int fd, bool is_good)
{
    pthread_mutex_lock(&held.lock);
    held.lent_count--;
    if (is_good && held.idle_count < IDLE_MAX)
        held.idle[held.idle_count++] = fd;
    else
        fd_close(&fd);
    pthread_cond_broadcast(&held.given_back);
    pthread_mutex_unlock(&held.lock);
}

/* Gives fd back. True when that is all there is to try, and *rc what came of it: an answer, or
 * none in time. False: the connection broke. */
static bool try_sign(int fd, const struct tls_sign_request *request, struct str *signature, int *rc)
{
    struct ipc_out m = {0};
    struct ipc_in *reply = NULL;
    struct span octets;
    bool is_answered;

    ipc_begin(&m, "sign");
    ipc_put(&m, "key", request->fingerprint);
    ipc_put(&m, "scheme", request->scheme);
    ipc_put(&m, "digest", request->digest);
    ipc_put(&m, "data", request->data);
    *rc = ipc_sync_ask(fd, &m, &reply);
    is_answered = *rc == 0;
    if (is_answered)
        *rc =
            ipc_get(reply, "signature", &octets) == 0 ? str_append(signature, octets) : ERR_DENIED;
    ipc_out_fini(&m);
    ipc_in_free(reply);
    give_back(fd, is_answered);
    return is_answered || *rc == -ETIMEDOUT;
}

/* On a worker, in the middle of a handshake. */
static int ask_tlsproxy(void *arg, const struct tls_sign_request *request, struct str *signature)
{
    int fd = -1, rc;

    /* Those that break are closed: the tlsproxy that they led to has ended. */
    while (borrow_idle(&fd, false)) {
        if (try_sign(fd, request, signature, &rc))
            return rc;
    }
    rc = borrow_new(&fd);
    if (rc == 0 && try_sign(fd, request, signature, &rc))
        return rc;
    /* The newest tlsproxy may have other keys than the one that others still use. */
    if (rc != -ETIMEDOUT && borrow_idle(&fd, true))
        (void)try_sign(fd, request, signature, &rc);
    return rc;
}

int service_signer_start(void)
{
    held.is_wanted = true;
    return tls_signer_start(ask_tlsproxy, NULL);
}

static void run_hold(void *arg)
{
    int fd, *rc = arg;

    *rc = borrow_idle(&fd, true) ? 0 : borrow_new(&fd);
    if (*rc == 0)
        give_back(fd, true);
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
