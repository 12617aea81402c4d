/* load.c: parameters and tables of routing, from a struct conf. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "route/internal.h"

/* Is name one of the words of a list parameter? */
static bool list_has(const struct conf *conf, const char *parameter, const char *name)
{
    struct span rest = span_cstr(conf_string(conf, parameter)), word;

    while (span_token(&rest, ", \t\r\n", &word))
        if (span_ieq(word, span_cstr(name)))
            return true;
    return false;
}

static void load_values(struct route *r)
{
    const struct conf *conf = r->conf;
    const struct {
        struct span *value;
        const char *name;
    } strings[] = {
        {&r->myhostname, "myhostname"},
        {&r->mydomain, "mydomain"},
        {&r->myorigin, "myorigin"},
        {&r->remote_domain, "remote_header_rewrite_domain"},
        {&r->recipient_delimiter, "recipient_delimiter"},
        {&r->empty_recipient, "empty_address_recipient"},
        {&r->double_bounce_sender, "double_bounce_sender"},
        {&r->local_transport, "local_transport"},
        {&r->virtual_transport, "virtual_transport"},
        {&r->relay_transport, "relay_transport"},
        {&r->default_transport, "default_transport"},
        {&r->relayhost, "relayhost"},
    };
    const struct {
        bool *value;
        const char *name;
    } switches[] = {
        {&r->append_at_myorigin, "append_at_myorigin"},
        {&r->append_dot_mydomain, "append_dot_mydomain"},
        {&r->swap_bangpath, "swap_bangpath"},
        {&r->percent_hack, "allow_percent_hack"},
        {&r->resolve_dequoted, "resolve_dequoted_address"},
        {&r->resolve_null_domain, "resolve_null_domain"},
        {&r->owner_request_special, "owner_request_special"},
        {&r->show_unknown_table, "show_user_unknown_table_name"},
    };

    for (size_t i = 0; i < COUNT_OF(strings); i++)
        *strings[i].value = span_cstr(conf_string(conf, strings[i].name));
    for (size_t i = 0; i < COUNT_OF(switches); i++)
        *switches[i].value = conf_bool(conf, switches[i].name);
    r->expansion_limit = conf_int(conf, "virtual_alias_expansion_limit");
    r->recursion_limit = conf_int(conf, "virtual_alias_recursion_limit");
    r->alias_length_limit = conf_int(conf, "virtual_alias_address_length_limit");
    r->transport_parent_matches =
        map_match_domain_flags(conf, "transport_maps") == MAP_MATCH_PARENT;
    r->propagate_virtual = list_has(conf, "propagate_unmatched_extensions", "virtual");
}

static int load_tables(struct route *r, struct str *why)
{
    const struct {
        struct map_list **maps;
        const char *name;
    } maps[] = {
        {&r->virtual_alias_maps, "virtual_alias_maps"},
        {&r->virtual_mailbox_maps, "virtual_mailbox_maps"},
        {&r->local_recipient_maps, "local_recipient_maps"},
        {&r->relay_recipient_maps, "relay_recipient_maps"},
        {&r->transport_maps, "transport_maps"},
        {&r->relocated_maps, "relocated_maps"},
    };
    const struct {
        struct map_match **match;
        const char *name;
        unsigned flags;
    } matches[] = {
        {&r->mydestination, "mydestination", 0},
        {&r->virtual_alias_domains, "virtual_alias_domains", 0},
        {&r->virtual_mailbox_domains, "virtual_mailbox_domains", 0},
        {&r->relay_domains, "relay_domains", map_match_domain_flags(r->conf, "relay_domains")},
    };
    int rc = 0;

    for (size_t i = 0; i < COUNT_OF(maps) && rc == 0; i++)
        if (conf_string(r->conf, maps[i].name)[0] != '\0')
            rc = map_list_open(maps[i].maps, r->conf, maps[i].name, why);
    for (size_t i = 0; i < COUNT_OF(matches) && rc == 0; i++)
        if (conf_string(r->conf, matches[i].name)[0] != '\0')
            rc = map_match_open(matches[i].match, r->conf, matches[i].name, matches[i].flags, why);
    return rc;
}

int route_load(struct route **out, const struct conf *conf, struct str *why)
{
    struct route *r = NEW(struct route);
    int rc;

    *out = NULL;
    if (r == NULL)
        return -ENOMEM;
    r->conf = conf;
    load_values(r);
    rc = route_load_interfaces(r, why);
    if (rc == 0)
        rc = load_tables(r, why);
    if (rc < 0) {
        route_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void route_free(struct route *r)
{
    if (r == NULL)
        return;
    struct map_list *maps[] = {r->virtual_alias_maps,   r->virtual_mailbox_maps,
                               r->local_recipient_maps, r->relay_recipient_maps,
                               r->transport_maps,       r->relocated_maps};
    struct map_match *matches[] = {r->mydestination, r->virtual_alias_domains,
                                   r->virtual_mailbox_domains, r->relay_domains};

    for (size_t i = 0; i < COUNT_OF(maps); i++)
        map_list_free(maps[i]);
    for (size_t i = 0; i < COUNT_OF(matches); i++)
        map_match_free(matches[i]);
    array_free(&r->own);
    free(r);
}
