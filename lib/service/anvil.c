#include "service/anvil.h"

#include <string.h>

#include "base/error.h"

enum { SERVICE_MAX = 128, CLIENT_MAX = 64 };

struct ipc_client *anvil_client_new(void)
{
    return ipc_client_new(ANVIL_SOCKET, ANVIL_PROTOCOL, ANVIL_VERSION);
}

static void begin(struct ipc_out *m, const char *kind, struct span service,
                  const struct net_address *client)
{
    struct str text = {0};

    net_address_print(&text, client);
    ipc_begin(m, kind);
    ipc_put(m, "service", service);
    ipc_put(m, "client", str_span(&text));
    str_fini(&text);
}

static int get_count(const struct ipc_in *reply, const char *name, uint32_t *value)
{
    uint64_t number;
    int code = ipc_get_u64(reply, name, &number);

    if (code == 0)
        *value = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return code;
}

int anvil_connect(struct ipc_client *anvil, struct span service, const struct net_address *client,
                  struct anvil_counts *counts, deadline_t deadline)
{
    struct ipc_out request = {0};
    struct ipc_in *reply = NULL;
    int code;

    *counts = (struct anvil_counts){0};
    begin(&request, "connect", service, client);
    code = ipc_client_call(anvil, &request, &reply, deadline);
    if (code == 0)
        code = get_count(reply, "connections", &counts->connections);
    if (code == 0)
        code = get_count(reply, "rate", &counts->rate);
    ipc_in_free(reply);
    ipc_out_fini(&request);
    return code;
}

void anvil_disconnect(struct ipc_client *anvil, struct span service,
                      const struct net_address *client)
{
    struct ipc_out m = {0};

    begin(&m, "disconnect", service, client);
    /* Not connected: anvil has ended, and its counts with it. */
    (void)ipc_client_post(anvil, &m);
    ipc_out_fini(&m);
}

static bool is_plain(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!ascii_is_print(text.p[i]))
            return false;
    }
    return text.n > 0;
}

int anvil_decode(const struct ipc_in *request, char *key, size_t *key_length)
{
    struct span service, client;

    if (ipc_get(request, "service", &service) < 0 || ipc_get(request, "client", &client) < 0 ||
        service.n > SERVICE_MAX || client.n > CLIENT_MAX || !is_plain(service) || !is_plain(client))
        return ERR_SYNTAX;
    memcpy(key, service.p, service.n);
    key[service.n] = ':';
    memcpy(key + service.n + 1, client.p, client.n);
    *key_length = service.n + 1 + client.n;
    return 0;
}
