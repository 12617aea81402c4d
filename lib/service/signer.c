#include "service/signer.h"

#include "base/error.h"
#include "ipc/sync.h"
#include "net/tlsproxy.h"

enum { TIMEOUT_MS = 10000 };

/* On a worker, in the middle of a handshake. */
static int ask_tlsproxy(void *arg, const struct tls_sign_request *request, struct str *signature)
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
    rc = ipc_sync_call(TLSPROXY_SOCKET, TLSPROXY_PROTOCOL, TLSPROXY_PROTOCOL_VERSION, &m, &reply,
                       TIMEOUT_MS);
    ipc_out_fini(&m);
    if (rc == 0)
        rc = ipc_get(reply, "signature", &octets) == 0 ? str_append(signature, octets) : ERR_DENIED;
    ipc_in_free(reply);
    return rc;
}

int service_signer_start(void)
{
    return tls_signer_start(ask_tlsproxy, NULL);
}
