#include "smtp/nexthop.h"

#include "base/error.h"
#include "net/address.h"

int nexthop_parse(struct span text, struct nexthop *out)
{
    struct span rest;
    ptrdiff_t end;

    *out = (struct nexthop){0};
    text = span_trim(text);
    if (span_starts(text, SPAN_LIT("["))) {
        end = span_find(text, ']');
        if (end < 0)
            return ERR_SYNTAX;
        out->is_host = true;
        out->name = span_drop(span_take(text, (size_t)end), 1);
        if (span_istarts(out->name, SPAN_LIT("ipv6:")))
            out->name = span_drop(out->name, 5);
        rest = span_drop(text, (size_t)end + 1);
    } else {
        end = span_find(text, ':');
        out->name = end < 0 ? text : span_take(text, (size_t)end);
        rest = span_drop(text, out->name.n);
    }
    if (out->name.n == 0)
        return ERR_SYNTAX;
    if (rest.n == 0)
        return 0;
    return rest.p[0] == ':' ? net_port_parse(span_drop(rest, 1), &out->port) : ERR_SYNTAX;
}
