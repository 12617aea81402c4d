/* recipient.c: does a recipient exist, as smtpd asks before it accepts one. */
#include "base/error.h"
#include "mail/address.h"
#include "route/internal.h"

struct span route_split_extension(const struct route *r, struct span local, struct span *extension)
{
    struct span user, rest;

    if (r->recipient_delimiter.n == 0 ||
        !address_split_extension(local, r->recipient_delimiter, r->owner_request_special, &user,
                                 &rest)) {
        *extension = SPAN_NONE;
        return local;
    }
    *extension = span_drop(local, user.n);
    return user;
}

const char *route_unknown_table(const struct route *r, enum route_existence existence)
{
    if (!r->show_unknown_table)
        return "";
    switch (existence) {
    case ROUTE_UNKNOWN_LOCAL:
        return " in local recipient table";
    case ROUTE_UNKNOWN_VIRTUAL_ALIAS:
        return " in virtual alias table";
    case ROUTE_UNKNOWN_VIRTUAL_MAILBOX:
        return " in virtual mailbox table";
    case ROUTE_UNKNOWN_RELAY:
        return " in relay recipient table";
    case ROUTE_EXISTS:
    case ROUTE_REFUSED:
    case ROUTE_DEFERRED:
        break;
    }
    return "";
}

/* 1: listed, 0: not, or a negative code. */
static int is_listed(const struct route *r, const struct map_list *maps, struct span address)
{
    struct str value;
    int rc;

    if (maps == NULL)
        return 0;
    str_init(&value, NULL);
    rc = route_find_address(r, maps, address, &value, NULL);
    str_fini(&value);
    return rc == 0 ? 1 : rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Addresses that must work whatever the tables say (RFC 5321 4.5.1). */
static bool is_always_local(const struct route *r, struct span recipient)
{
    struct span local = route_local_part(recipient);

    return span_ieq(local, SPAN_LIT("postmaster")) || span_ieq(local, SPAN_LIT("mailer-daemon")) ||
           span_ieq(local, r->double_bounce_sender);
}

int route_check_recipient(const struct route *r, const struct route_result *result,
                          enum route_existence *existence)
{
    const struct map_list *maps = NULL;
    enum route_existence unknown = ROUTE_EXISTS;
    int rc;

    *existence = ROUTE_EXISTS;
    rc = is_listed(r, r->virtual_alias_maps, result->recipient);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (span_eq(result->transport, SPAN_LIT("error"))) {
        *existence = result->class == ROUTE_CLASS_VIRTUAL_ALIAS ? ROUTE_UNKNOWN_VIRTUAL_ALIAS
                                                                : ROUTE_REFUSED;
        return 0;
    }
    if (span_eq(result->transport, SPAN_LIT("retry"))) {
        *existence = ROUTE_DEFERRED;
        return 0;
    }
    switch (result->class) {
    case ROUTE_CLASS_LOCAL:
        if (is_always_local(r, result->recipient))
            return 0;
        maps = r->local_recipient_maps;
        unknown = ROUTE_UNKNOWN_LOCAL;
        break;
    case ROUTE_CLASS_VIRTUAL_MAILBOX:
        maps = r->virtual_mailbox_maps;
        unknown = ROUTE_UNKNOWN_VIRTUAL_MAILBOX;
        break;
    case ROUTE_CLASS_RELAY:
        maps = r->relay_recipient_maps;
        unknown = ROUTE_UNKNOWN_RELAY;
        break;
    case ROUTE_CLASS_VIRTUAL_ALIAS:
    case ROUTE_CLASS_DEFAULT:
        return 0;
    }
    if (maps == NULL)
        return 0;
    rc = is_listed(r, maps, result->recipient);
    if (rc < 0)
        return rc;
    if (rc == 0)
        *existence = unknown;
    return 0;
}
