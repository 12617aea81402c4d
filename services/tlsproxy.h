/* tlsproxy.h: the inside of tlsproxy(8); its protocols are in net/tlsproxy.h. */
#ifndef SERVICES_TLSPROXY_H
#define SERVICES_TLSPROXY_H

#include "service/service.h"

/* Before the sandbox: certificates and keys. */
int tlsproxy_load(const struct conf *conf, struct str *why);
int tlsproxy_start(const struct conf *conf);
/* A client on a port with implicit TLS, or a login process. */
TASK_WAITS void tlsproxy_serve_client(struct service_client *client);
void tlsproxy_stop(void);

#endif
