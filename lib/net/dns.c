/* The interface of resolvers. */
#include "net/dns.h"

#include <errno.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/resolver.h"

int dns_status_code(enum dns_status status)
{
    switch (status) {
    case DNS_FOUND:
        return 0;
    case DNS_NXDOMAIN:
    case DNS_NODATA:
        return ERR_NOT_FOUND;
    case DNS_TEMPORARY:
        return ERR_TEMPORARY;
    case DNS_BAD_NAME:
        return ERR_SYNTAX;
    }
    return ERR_TEMPORARY;
}

int dns_answer_fail(struct dns_answer *answer, enum dns_status status, const char *reason)
{
    dns_answer_fini(answer);
    answer->status = status;
    answer->reason = reason;
    answer->canonical = "";
    return dns_status_code(status);
}

int dns_query(struct resolver *resolver, const char *name, enum dns_type type, unsigned flags,
              struct dns_answer *answer, deadline_t deadline)
{
    struct str wire = {0};
    int rc = dns_build_query(&wire, 0, name, type, flags, 0);

    str_fini(&wire);
    *answer = (struct dns_answer){0};
    if (rc == ERR_SYNTAX)
        return dns_answer_fail(answer, DNS_BAD_NAME, "malformed domain name");
    dns_answer_fail(answer, DNS_TEMPORARY, "look-up not finished");
    if (rc == 0)
        rc = resolver->ops->query(resolver, name, type, flags, answer, deadline);
    if (rc == -ETIMEDOUT)
        dns_answer_fail(answer, DNS_TEMPORARY, "look-up timed out");
    return rc;
}

void resolver_free(struct resolver *resolver)
{
    if (resolver != NULL)
        resolver->ops->free(resolver);
}
