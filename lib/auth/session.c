#include "auth/session.h"

#include <errno.h>

#include "base/error.h"

enum { HAND_OVER_TRIES = 4 };

static int offer(struct ipc_client *service, const struct session_handover *h,
                 struct ipc_in **reply, deadline_t deadline)
{
    struct ipc_out m = {0};
    bool was_sent;
    int rc;

    ipc_begin(&m, "session");
    ipc_put_fd(&m, "client", h->fd);
    ipc_put(&m, "session", h->session);
    ipc_put(&m, "tag", h->tag);
    ipc_put(&m, "unread", h->unread);
    ipc_put(&m, "peer", h->peer);
    ipc_put(&m, "local", h->local);
    ipc_put(&m, "tls", h->tls);
    ipc_put_bool(&m, "secured", h->is_secured);
    rc = ipc_client_call(service, &m, reply, deadline);
    was_sent = m.fd_count == 0; /* a message that is queued gives its descriptor away */
    ipc_out_fini(&m);
    return rc < 0 && !was_sent ? ERR_TEMPORARY : rc;
}

int session_hand_over(struct ipc_client *service, const struct session_handover *h,
                      deadline_t deadline)
{
    struct ipc_in *reply = NULL;
    bool ok = false;
    struct span reason;
    int rc = ERR_TRUNCATED;

    /* A process that drains leaves requests unread. Had the lost one taken the client after
     * all, it would have redeemed the session id, and nobody else can. */
    for (int i = 0; rc == ERR_TRUNCATED && i < HAND_OVER_TRIES; i++)
        rc = offer(service, h, &reply, deadline);
    if (rc < 0)
        return rc == ERR_TRUNCATED ? ERR_TEMPORARY : rc;
    if (ipc_get_bool(reply, "ok", &ok) < 0 || !ok)
        rc = ipc_get(reply, "reason", &reason) < 0 ? ERR_TEMPORARY
             : span_eq(reason, SPAN_LIT("limit"))  ? ERR_LIMIT
             : span_eq(reason, SPAN_LIT("full"))   ? -EBUSY
                                                   : ERR_TEMPORARY;
    ipc_in_free(reply);
    return rc;
}

int session_decode(struct ipc_in *m, struct session_handover *h)
{
    *h = (struct session_handover){.fd = -1};
    if (!ipc_is(m, "session") || ipc_get(m, "session", &h->session) < 0 ||
        ipc_get(m, "tag", &h->tag) < 0 || ipc_get(m, "unread", &h->unread) < 0 ||
        ipc_get(m, "peer", &h->peer) < 0 || ipc_get(m, "local", &h->local) < 0 ||
        ipc_get(m, "tls", &h->tls) < 0 || ipc_get_bool(m, "secured", &h->is_secured) < 0)
        return ERR_PROTOCOL;
    if (ipc_take_fd(m, "client", &h->fd) < 0)
        return ERR_PROTOCOL;
    return 0;
}
