/* restrict_load.c: reading smtpd_*_restrictions. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "smtpd/restrict_internal.h"

static const char *const parameters[RESTRICT_STAGES] = {
    [RESTRICT_CLIENT] = "smtpd_client_restrictions",
    [RESTRICT_HELO] = "smtpd_helo_restrictions",
    [RESTRICT_SENDER] = "smtpd_sender_restrictions",
    [RESTRICT_RELAY] = "smtpd_relay_restrictions",
    [RESTRICT_RECIPIENT] = "smtpd_recipient_restrictions",
    [RESTRICT_DATA] = "smtpd_data_restrictions",
    [RESTRICT_END_OF_DATA] = "smtpd_end_of_data_restrictions",
};

/* --- compiling --- */

static int compile_list(struct restrictions *r, struct span text, struct restriction_list *list,
                        struct str *why);

static int compile_class(struct restrictions *r, struct span name, struct restriction *item,
                         struct str *why)
{
    struct restriction_class *added, **slot;

    for (size_t i = 0; i < r->classes.len; i++)
        if (span_eq(r->classes.items[i]->name, name)) {
            item->class = &r->classes.items[i]->list;
            return 0;
        }
    added = NEW(struct restriction_class);
    if (added == NULL)
        return -ENOMEM;
    slot = array_push(&r->classes);
    if (slot == NULL) {
        free(added);
        return -ENOMEM;
    }
    *slot = added;
    added->name = name;
    item->class = &added->list;
    return compile_list(r, span_cstr(conf_lookup(r->conf, name)), &added->list, why);
}

static int compile_list(struct restrictions *r, struct span text, struct restriction_list *list,
                        struct str *why)
{
    struct span word, argument;
    int rc = 0;

    while (rc == 0 && restriction_next_word(&text, &word)) {
        struct restriction *item = array_push(&list->items);
        uint64_t number = 0;

        if (item == NULL)
            return -ENOMEM;
        item->kind = restrict_kind_find(word);
        if (item->kind == NULL) {
            struct restriction nested = {0};

            /* The array may move while the class is compiled. */
            rc = compile_class(r, word, &nested, why);
            *array_last(&list->items) = nested;
            continue;
        }
        if (item->kind->argument == RESTRICT_TABLE) {
            restriction_next_word(&text, &argument);
            rc = map_open(&item->table, r->conf, argument, why);
        } else if (item->kind->argument == RESTRICT_NUMBER) {
            restriction_next_word(&text, &argument);
            (void)span_to_u64(argument, &number);
            item->number = (int64_t)(number < 86400 ? number : 86400);
        }
    }
    return rc;
}

static int compile_classes(struct restrictions *r, struct str *why)
{
    struct span rest = span_cstr(conf_string(r->conf, "smtpd_restriction_classes")), name;
    int rc = 0;

    while (rc == 0 && span_token(&rest, ", \t\r\n", &name)) {
        struct restriction unused = {0};

        rc = compile_class(r, name, &unused, why);
    }
    return rc;
}

static void load_values(struct restrictions *r)
{
    const struct conf *conf = r->conf;
    const struct {
        int *value;
        const char *name;
    } codes[] = {
        {&r->access_reject_code, "access_map_reject_code"},
        {&r->access_defer_code, "access_map_defer_code"},
        {&r->reject_code, "reject_code"},
        {&r->defer_code, "defer_code"},
        {&r->relay_code, "relay_domains_reject_code"},
        {&r->unknown_local_code, "unknown_local_recipient_reject_code"},
        {&r->unknown_alias_code, "unknown_virtual_alias_reject_code"},
        {&r->unknown_mailbox_code, "unknown_virtual_mailbox_reject_code"},
        {&r->unknown_relay_code, "unknown_relay_recipient_reject_code"},
        {&r->multi_recipient_bounce_code, "multi_recipient_bounce_reject_code"},
        {&r->non_fqdn_code, "non_fqdn_reject_code"},
        {&r->invalid_helo_code, "invalid_hostname_reject_code"},
        {&r->unknown_address_code, "unknown_address_reject_code"},
        {&r->unknown_client_code, "unknown_client_reject_code"},
        {&r->plaintext_code, "plaintext_reject_code"},
    };

    for (size_t i = 0; i < COUNT_OF(codes); i++)
        *codes[i].value = (int)conf_int(conf, codes[i].name);
    r->null_key = span_cstr(conf_string(conf, "smtpd_null_access_lookup_key"));
    r->delimiters = conf_string(conf, "recipient_delimiter");
    r->access_domain_flags = map_match_domain_flags(conf, "smtpd_access_maps");
    r->allow_untrusted_routing = conf_bool(conf, "allow_untrusted_routing");
    r->reject_unlisted_recipient = conf_bool(conf, "smtpd_reject_unlisted_recipient");
    r->reject_unlisted_sender = conf_bool(conf, "smtpd_reject_unlisted_sender");
    r->relay_before_recipient = conf_bool(conf, "smtpd_relay_before_recipient_restrictions");
}

int restrictions_load(struct restrictions **out, const struct conf *conf, struct str *why)
{
    struct restrictions *r;
    int rc = restrictions_check_all(conf, why);

    *out = NULL;
    if (rc != 0)
        return rc;
    r = NEW(struct restrictions);
    if (r == NULL)
        return -ENOMEM;
    r->conf = conf;
    load_values(r);
    rc = compile_classes(r, why);
    for (size_t i = 0; i < RESTRICT_STAGES && rc == 0; i++) {
        rc = compile_list(r, span_cstr(conf_string(conf, parameters[i])), &r->stages[i], why);
        if (rc != 0) {
            struct str reason = {0};

            str_append(&reason, str_span(why));
            str_clear(why);
            str_printf(why, "%s: %s", parameters[i], str_cstr(&reason));
            str_fini(&reason);
        }
    }
    if (rc != 0) {
        restrictions_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

static void free_list(struct restriction_list *list)
{
    for (size_t i = 0; i < list->items.len; i++)
        map_free(list->items.items[i].table);
    array_free(&list->items);
}

void restrictions_free(struct restrictions *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < RESTRICT_STAGES; i++)
        free_list(&r->stages[i]);
    for (size_t i = 0; i < r->classes.len; i++) {
        free_list(&r->classes.items[i]->list);
        free(r->classes.items[i]);
    }
    array_free(&r->classes);
    free(r);
}

bool restrict_is_set(const struct restrictions *r, enum restrict_stage stage)
{
    return r->stages[stage].items.len > 0;
}
