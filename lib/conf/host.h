/* host.h: what the host and the process are: names, addresses, and the defaults
 * that come from them. Reads what the kernel knows; names in inet_interfaces are
 * resolved, so call before the sandbox. */
#ifndef CONF_HOST_H
#define CONF_HOST_H

#include <stddef.h>
#include <sys/socket.h>

#include "base/str.h"

struct conf;

/* An address this host answers to, and its network mask. */
struct host_address {
    struct sockaddr_storage address, mask;
};

/* The addresses that inet_interfaces and inet_protocols select, in the kernel's
 * order, without repetitions; free(*list). 0 or a negative code with a reason. */
int host_addresses(const struct conf *c, struct host_address **list, size_t *count,
                   struct str *why);

/* Defaults: each appends the text of one; 0 or a negative code. */
int host_name(struct conf *c, struct str *out, struct str *why);
int host_domain(struct conf *c, struct str *out, struct str *why);
/* The networks this host is on, by mynetworks_style, as Postfix writes them. */
int host_networks(struct conf *c, struct str *out, struct str *why);
int host_process_id(struct conf *c, struct str *out, struct str *why);
int host_process_name(struct conf *c, struct str *out, struct str *why);

#endif
