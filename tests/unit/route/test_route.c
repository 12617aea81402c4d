/* Rewriting, resolving, aliases, existence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "route/route.h"

static const char basic[] = "myhostname = mx.example.test\nmydomain = example.test\n"
                            "myorigin = example.test\ncompatibility_level = 3.6\n"
                            "mydestination = example.test, mx.example.test, localhost\n"
                            "inet_interfaces = 127.0.0.1\nproxy_interfaces = 192.0.2.9\n"
                            "alias_maps =\nlocal_recipient_maps = inline:{u1=x}\n";

struct fixture {
    struct conf *conf;
    struct route *route;
    struct arena arena;
};

static void open_route(struct fixture *f, const char *main_cf)
{
    struct str text = {0}, why = {0};

    memset(f, 0, sizeof(*f));
    str_append_cstr(&text, basic);
    str_append_cstr(&text, main_cf != NULL ? main_cf : "");
    if (conf_load_text(&f->conf, "/nonexistent", "main.cf", str_span(&text), &why) < 0 ||
        route_load(&f->route, f->conf, &why) < 0)
        fail_msg("%s", str_cstr(&why));
    str_fini(&text);
    str_fini(&why);
}

static void close_route(struct fixture *f)
{
    arena_reset(&f->arena);
    route_free(f->route);
    conf_free(f->conf);
}

static const struct {
    const char *main_cf;
    enum route_context context;
    const char *in, *out;
} rewrites[] = {
    {NULL, ROUTE_CONTEXT_LOCAL, "", ""},
    {NULL, ROUTE_CONTEXT_LOCAL, "a@b.test", "a@b.test"},
    {NULL, ROUTE_CONTEXT_LOCAL, "a", "a@example.test"},
    {NULL, ROUTE_CONTEXT_LOCAL, "a@b.test.", "a@b.test"},
    {NULL, ROUTE_CONTEXT_LOCAL, "a@b.test..", "a@b.test.."},
    {NULL, ROUTE_CONTEXT_LOCAL, "a@.", "a@."},
    {NULL, ROUTE_CONTEXT_LOCAL, "b.test!a", "a@b.test"},
    {NULL, ROUTE_CONTEXT_LOCAL, "c!b!a", "b!a@c"},
    {NULL, ROUTE_CONTEXT_LOCAL, "a%b.test", "a@b.test"},
    {NULL, ROUTE_CONTEXT_LOCAL, "a%b%c", "a%b@c"},
    {NULL, ROUTE_CONTEXT_LOCAL, "@x.test,@y.test:a@b.test", "a@b.test"},
    {NULL, ROUTE_CONTEXT_LOCAL, "a@host", "a@host"},
    {"append_dot_mydomain = yes\n", ROUTE_CONTEXT_LOCAL, "a@host", "a@host.example.test"},
    {"append_dot_mydomain = yes\n", ROUTE_CONTEXT_LOCAL, "a@[1.2.3.4]", "a@[1.2.3.4]"},
    {"append_dot_mydomain = yes\n", ROUTE_CONTEXT_LOCAL, "a@", "a@"},
    {"append_at_myorigin = no\n", ROUTE_CONTEXT_LOCAL, "a", "a"},
    {"swap_bangpath = no\n", ROUTE_CONTEXT_LOCAL, "b!a", "b!a@example.test"},
    {"allow_percent_hack = no\n", ROUTE_CONTEXT_LOCAL, "a%b", "a%b@example.test"},
    {NULL, ROUTE_CONTEXT_REMOTE, "a", "a"},
    {"remote_header_rewrite_domain = domain.invalid\n", ROUTE_CONTEXT_REMOTE, "a",
     "a@domain.invalid"},
};

static void rewrites_addresses(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rewrites); i++) {
        struct fixture f;
        struct str out = {0};

        open_route(&f, rewrites[i].main_cf);
        assert_int_equal(
            route_rewrite(f.route, rewrites[i].context, span_cstr(rewrites[i].in), &out), 0);
        assert_string_equal(str_cstr(&out), rewrites[i].out);
        str_fini(&out);
        close_route(&f);
    }
}

#define VIRTUAL "virtual_mailbox_domains = m.test\nvirtual_transport = store\n"
#define ALIASES \
    "virtual_alias_domains = v.test\nvirtual_alias_maps = inline:{ {a@v.test = x@y.test} }\n"

static const struct {
    const char *main_cf, *address;
    const char *result; /* "class transport next-hop recipient" */
} resolutions[] = {
    {NULL, "u1@example.test", "local local mx.example.test u1@example.test"},
    {NULL, "u1@EXAMPLE.test.", "local local mx.example.test u1@EXAMPLE.test"},
    {NULL, "u1", "local local mx.example.test u1@mx.example.test"},
    {NULL, "", "local local mx.example.test MAILER-DAEMON@mx.example.test"},
    {NULL, "@example.test", "local local mx.example.test MAILER-DAEMON@example.test"},
    {NULL, "u1@[127.0.0.1]", "local local mx.example.test u1@[127.0.0.1]"},
    {NULL, "u1@[192.0.2.9]", "local local mx.example.test u1@[192.0.2.9]"},
    {NULL, "u1@[192.0.2.10]", "default smtp [192.0.2.10] u1@[192.0.2.10]"},
    {NULL, "u1@other.test", "default smtp other.test u1@other.test"},
    {NULL, "u1%other.test@example.test", "default smtp other.test u1@other.test"},
    {NULL, "u1@other.test@example.test", "default smtp other.test u1@other.test"},
    {NULL, "u1@example.test@example.test", "local local mx.example.test u1@example.test"},
    {NULL, "u1%x@other.test", "default smtp other.test u1%x@other.test routed"},
    {NULL, "u1@a..b", "default smtp a..b u1@a..b malformed"},
    {"relayhost = [out.test]:587\n", "u1@other.test", "default smtp [out.test]:587 u1@other.test"},
    {"relay_domains = r.test\n", "u1@sub.r.test", "relay relay sub.r.test u1@sub.r.test"},
    {"relay_domains = r.test\nrelayhost = h.test\n", "u1@r.test", "relay relay h.test u1@r.test"},
    {"relay_domains = r.test\nrelayhost = h.test\nrelay_transport = lmtp:unix:x\n", "u1@r.test",
     "relay lmtp unix:x u1@r.test"},
    {VIRTUAL, "a@m.test", "virtual mailbox store m.test a@m.test"},
    {ALIASES, "no@v.test",
     "virtual alias error 5.1.1 User unknown in virtual alias table no@v.test"},
    {ALIASES "transport_maps = inline:{ {* = smtp:x.test} }\n", "no@v.test",
     "virtual alias error 5.1.1 User unknown in virtual alias table no@v.test"},
    /* transport(5) */
    {"transport_maps = inline:{ {u@o.test = slow:hop.test} }\nrecipient_delimiter = +\n",
     "u+x@o.test", "default slow hop.test u+x@o.test"},
    {"transport_maps = inline:{ {o.test = slow:} }\nrelayhost = r.test\n", "u@o.test",
     "default slow o.test u@o.test"},
    {"transport_maps = inline:{ {o.test = :hop.test} }\n", "u@o.test",
     "default smtp hop.test u@o.test"},
    {"transport_maps = inline:{ {o.test = :} }\nrelayhost = r.test\n", "u@o.test",
     "default smtp r.test u@o.test"},
    {"transport_maps = inline:{ {o.test = slow:} }\n", "u@sub.o.test",
     "default smtp sub.o.test u@sub.o.test"},
    {"transport_maps = inline:{ {.o.test = slow:} }\n", "u@a.sub.o.test",
     "default slow a.sub.o.test u@a.sub.o.test"},
    {"transport_maps = inline:{ {.o.test = slow:} }\n", "u@o.test", "default smtp o.test u@o.test"},
    {"parent_domain_matches_subdomains = transport_maps\n"
     "transport_maps = inline:{ {o.test = slow:} }\n",
     "u@sub.o.test", "default slow sub.o.test u@sub.o.test"},
    {"transport_maps = inline:{ {* = slow:} }\n", "u@o.test", "default slow o.test u@o.test"},
    {"transport_maps = inline:{ {example.test = lmtp:unix:x} }\n", "u1@example.test",
     "local lmtp unix:x u1@example.test"},
    {"transport_maps = inline:{ {o.test = error:mail to here is closed} }\n", "u@o.test",
     "default error mail to here is closed u@o.test"},
    {"relocated_maps = inline:{ {u1@example.test = u1@new.test} }\n", "u1@example.test",
     "local error 5.1.6 User has moved to u1@new.test u1@example.test"},
};

static void resolves(void **state)
{
    for (size_t i = 0; i < COUNT_OF(resolutions); i++) {
        struct fixture f;
        struct route_result result;
        char text[512];

        open_route(&f, resolutions[i].main_cf);
        assert_int_equal(
            route_resolve(f.route, span_cstr(resolutions[i].address), &f.arena, &result), 0);
        snprintf(text, sizeof(text), "%s %.*s %.*s %.*s%s%s", route_class_name(result.class),
                 SPAN_ARG(result.transport), SPAN_ARG(result.next_hop), SPAN_ARG(result.recipient),
                 result.is_routed ? " routed" : "", result.is_malformed ? " malformed" : "");
        assert_string_equal(text, resolutions[i].result);
        close_route(&f);
    }
}

static void defers_when_a_table_fails(void **state)
{
    static const char *const broken[] = {
        "transport_maps = fail:x\n", "relocated_maps = fail:x\n",        "relay_domains = fail:x\n",
        "mydestination = fail:x\n",  "virtual_alias_domains = fail:x\n",
    };

    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        struct fixture f;
        struct route_result result;

        open_route(&f, broken[i]);
        assert_int_equal(route_resolve(f.route, SPAN_LIT("a@o.test"), &f.arena, &result),
                         ERR_TEMPORARY);
        close_route(&f);
    }
}

static const struct {
    const char *main_cf, *address, *result; /* NULL: ERR_LIMIT */
} expansions[] = {
    {NULL, "a@b.test", "a@b.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = c@d.test} }\n", "A@b.test", "c@d.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = c, d@e.test} }\n", "a@b.test",
     "c@example.test d@e.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = b@b.test} {b@b.test = c@b.test a@b.test} }\n",
     "b@b.test", NULL},
    {"virtual_alias_maps = inline:{ {a@b.test = a@b.test, c@d.test} }\n", "a@b.test",
     "a@b.test c@d.test"},
    {"virtual_alias_maps = inline:{ {@b.test = @d.test} }\n", "x+y@b.test", "x+y@d.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = c@d.test} }\nrecipient_delimiter = +\n",
     "a+x@b.test", "c+x@d.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = c@d.test} }\nrecipient_delimiter = +\n"
     "propagate_unmatched_extensions =\n",
     "a+x@b.test", "c@d.test"},
    {"virtual_alias_maps = inline:{ {u1 = c@d.test} }\n", "u1@example.test", "c@d.test"},
    {"virtual_alias_maps = inline:{ {u1 = c@d.test} }\n", "u1@b.test", "u1@b.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = c@d.test, C@d.test} }\n", "a@b.test", "c@d.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = \"x y\"@d.test} }\n", "a@b.test", "x y@d.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = b@b.test} {b@b.test = a@b.test} }\n", "a@b.test",
     NULL},
    {"virtual_alias_maps = inline:{ {a@b.test = 1,2,3,4} }\nvirtual_alias_expansion_limit = 3\n",
     "a@b.test", NULL},
    {"virtual_alias_maps = inline:{ {a@b.test = c123456789@d.test} }\n"
     "virtual_alias_address_length_limit = 10\n",
     "a@b.test", NULL},
};

static void expands(void **state)
{
    for (size_t i = 0; i < COUNT_OF(expansions); i++) {
        struct fixture f;
        struct route_expansion e = {0};
        struct str text = {0}, why = {0};
        int rc;

        open_route(&f, expansions[i].main_cf);
        rc = route_expand(f.route, span_cstr(expansions[i].address), &f.arena, &e, &why);
        if (expansions[i].result == NULL) {
            assert_int_equal(rc, ERR_LIMIT);
            assert_true(why.len > 0);
        } else {
            assert_int_equal(rc, 0);
            for (size_t j = 0; j < e.recipients.len; j++)
                str_printf(&text, "%s%.*s", j > 0 ? " " : "", SPAN_ARG(e.recipients.items[j]));
            assert_string_equal(str_cstr(&text), expansions[i].result);
        }
        route_expansion_free(&e);
        str_fini(&text);
        str_fini(&why);
        close_route(&f);
    }
}

static const struct {
    const char *main_cf, *address;
    enum route_existence existence;
} existences[] = {
    {NULL, "u1@example.test", ROUTE_EXISTS},
    {NULL, "u2@example.test", ROUTE_UNKNOWN_LOCAL},
    {NULL, "postmaster@example.test", ROUTE_EXISTS},
    {NULL, "MAILER-DAEMON@example.test", ROUTE_EXISTS},
    {NULL, "double-bounce@example.test", ROUTE_EXISTS},
    {"local_recipient_maps =\n", "u2@example.test", ROUTE_EXISTS},
    {"recipient_delimiter = +\n", "u1+x@example.test", ROUTE_EXISTS},
    {"virtual_alias_maps = inline:{ {u2@example.test = x@y.test} }\n", "u2@example.test",
     ROUTE_EXISTS},
    {ALIASES, "a@v.test", ROUTE_EXISTS},
    {ALIASES, "b@v.test", ROUTE_UNKNOWN_VIRTUAL_ALIAS},
    {VIRTUAL "virtual_mailbox_maps = inline:{a@m.test=x}\n", "a@m.test", ROUTE_EXISTS},
    {VIRTUAL "virtual_mailbox_maps = inline:{a@m.test=x}\n", "b@m.test",
     ROUTE_UNKNOWN_VIRTUAL_MAILBOX},
    {VIRTUAL "virtual_mailbox_maps = inline:{@m.test=x}\n", "b@m.test", ROUTE_EXISTS},
    {"relay_domains = r.test\n", "b@r.test", ROUTE_EXISTS},
    {"relay_domains = r.test\nrelay_recipient_maps = inline:{a@r.test=x}\n", "b@r.test",
     ROUTE_UNKNOWN_RELAY},
    {"transport_maps = inline:{ {o.test = error:no} }\n", "b@o.test", ROUTE_REFUSED},
    {"transport_maps = inline:{ {o.test = retry:no} }\n", "b@o.test", ROUTE_DEFERRED},
    {NULL, "b@o.test", ROUTE_EXISTS},
};

static void knows_who_exists(void **state)
{
    for (size_t i = 0; i < COUNT_OF(existences); i++) {
        struct fixture f;
        struct route_result result;
        enum route_existence existence;

        open_route(&f, existences[i].main_cf);
        assert_int_equal(
            route_resolve(f.route, span_cstr(existences[i].address), &f.arena, &result), 0);
        assert_int_equal(route_check_recipient(f.route, &result, &existence), 0);
        if (existence != existences[i].existence)
            fail_msg("%s: %d", existences[i].address, existence);
        close_route(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewrites_addresses),        cmocka_unit_test(resolves),
        cmocka_unit_test(defers_when_a_table_fails), cmocka_unit_test(expands),
        cmocka_unit_test(knows_who_exists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
