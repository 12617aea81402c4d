/* Which hosts are tried, in which order, and what is said when there is none. */
#include "tests/unit/smtp/support_world.h"

#include <stdio.h>

#include "smtp/resolve.h"

static const char names[] = "one.test MX 10 a.test\n"
                            "two.test MX 20 b.test\ntwo.test MX 10 a.test\n"
                            "same.test MX 10 a.test\nsame.test MX 10 b.test\n"
                            "plain.test A 192.0.2.9\n"
                            "dual.test A 192.0.2.8\ndual.test AAAA 2001:db8::8\n"
                            "null.test MX 0 .\n"
                            "alias.test CNAME two.test\n"
                            "nohost.test MX 10 nowhere.test\n"
                            "halfhost.test MX 10 nowhere.test\nhalfhost.test MX 20 a.test\n"
                            "slowhost.test MX 10 slow.test\n"
                            "slow.test * SERVFAIL\n"
                            "text.test TXT hello\n"
                            "mine.test MX 10 me.test\nmine.test MX 20 a.test\n"
                            "backup.test MX 10 a.test\nbackup.test MX 20 me.test\n"
                            "backup.test MX 30 b.test\n"
                            "lost.test MX 10 nowhere.test\nlost.test MX 20 me.test\n"
                            "named.test MX 10 me.example.test\n"
                            "many.test MX 1 a.test\nmany.test MX 2 b.test\nmany.test MX 3 c.test\n"
                            "a.test A 192.0.2.1\nb.test A 192.0.2.2\nc.test A 192.0.2.3\n"
                            "me.test A 127.0.0.1\nme.example.test A 192.0.2.77\n";

static const struct {
    const char *main_cf, *next_hop;
    const char *result; /* "host[address]:port ..." or "DSN reason" */
} rows[] = {
    {NULL, "one.test", "a.test[192.0.2.1]:25"},
    {NULL, "ONE.test:2525", "a.test[192.0.2.1]:2525"},
    {NULL, "two.test", "a.test[192.0.2.1]:25 b.test[192.0.2.2]:25"},
    {NULL, "same.test", "a.test[192.0.2.1]:25 b.test[192.0.2.2]:25"},
    {NULL, "alias.test", "a.test[192.0.2.1]:25 b.test[192.0.2.2]:25"},
    {NULL, "plain.test", "plain.test[192.0.2.9]:25"},
    {NULL, "dual.test", "dual.test[192.0.2.8]:25 dual.test[2001:db8::8]:25"},
    {"smtp_address_preference = ipv6\n", "dual.test",
     "dual.test[2001:db8::8]:25 dual.test[192.0.2.8]:25"},
    {"inet_protocols = ipv6\n", "dual.test", "dual.test[2001:db8::8]:25"},
    {"inet_protocols = ipv4\n", "dual.test", "dual.test[192.0.2.8]:25"},
    {"smtp_tcp_port = 2525\n", "one.test", "a.test[192.0.2.1]:2525"},
    {"smtp_mx_address_limit = 2\n", "many.test", "a.test[192.0.2.1]:25 b.test[192.0.2.2]:25"},
    {NULL, "[a.test]", "a.test[192.0.2.1]:25"},
    {NULL, "[a.test]:587", "a.test[192.0.2.1]:587"},
    {NULL, "[192.0.2.5]", "192.0.2.5[192.0.2.5]:25"},
    {NULL, "[one.test]",
     "5.4.4 Host or domain name not found. Name service error for name=one.test type=AAAA: Host "
     "found "
     "but no data record of requested type"},
    {"disable_dns_lookups = yes\n", "a.test", "a.test[192.0.2.1]:25"},
    {"smtp_host_lookup = native\n", "localhost:2525", "localhost[127.0.0.1]:2525"},
    /* None. */
    {NULL, "null.test", "5.1.10 Domain null.test does not accept mail (nullMX)"},
    {NULL, "absent.test",
     "5.4.4 Host or domain name not found. Name service error for name=absent.test type=MX: Host "
     "not found"},
    {NULL, "text.test",
     "5.4.4 Host or domain name not found. Name service error for name=text.test type=AAAA: Host "
     "found "
     "but no data record of requested type"},
    {NULL, "slow.test",
     "4.4.3 Host or domain name not found. Name service error for name=slow.test type=MX: Host not "
     "found, try again"},
    {NULL, "nohost.test",
     "5.4.4 Host or domain name not found. Name service error for name=nowhere.test type=AAAA: "
     "Host "
     "not found"},
    {"smtp_defer_if_no_mx_address_found = yes\n", "nohost.test",
     "4.4.4 Host or domain name not found. Name service error for name=nowhere.test type=AAAA: "
     "Host "
     "not found"},
    {NULL, "slowhost.test",
     "4.4.3 Host or domain name not found. Name service error for name=slow.test type=A: Host "
     "not "
     "found, try again"},
    {NULL, "halfhost.test", "a.test[192.0.2.1]:25"},
    /* This host is an exchanger itself. */
    {NULL, "mine.test", "5.4.6 mail for mine.test loops back to myself"},
    {NULL, "mine.test:2525", "me.test[127.0.0.1]:2525 a.test[192.0.2.1]:2525"},
    {NULL, "backup.test", "a.test[192.0.2.1]:25"},
    {NULL, "lost.test", "4.4.4 unable to find primary relay for lost.test"},
    {NULL, "[me.test]", "5.4.6 mail for me.test loops back to myself"},
    {NULL, "named.test", "5.4.6 mail for named.test loops back to myself"},
    {"proxy_interfaces = 192.0.2.1\n", "one.test", "5.4.6 mail for one.test loops back to myself"},
};

static void print(struct str *out, const struct exchangers *x, const struct trouble *why)
{
    for (size_t i = 0; i < x->list.len; i++) {
        const struct exchanger *e = &x->list.items[i];

        str_printf(out, "%s%s[", i > 0 ? " " : "", e->host);
        net_address_print(out, &e->address);
        str_printf(out, "]:%u", e->address.port);
    }
    if (x->list.len == 0)
        str_printf(out, "%s %.*s", why->dsn, SPAN_ARG(why->reason));
}

TASK_TEST(test_resolve)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct settings s;
        struct conf *conf = NULL;
        struct str why_not = {0}, text = {0};
        struct exchangers x = {0};
        struct arena arena = {0};
        struct trouble why;
        struct nexthop hop;

        if (!world_load(&s, &conf, rows[i].main_cf, names, &why_not))
            fail_msg("%s", str_cstr(&why_not));
        assert_int_equal(nexthop_parse(span_cstr(rows[i].next_hop), &hop), 0);
        int rc = resolve_nexthop(&s, &hop, &x, &arena, &why, NULL);
        print(&text, &x, &why);
        if (strcmp(str_cstr(&text), rows[i].result) != 0)
            fail_msg("%s: %s\nnot %s", rows[i].next_hop, str_cstr(&text), rows[i].result);
        assert_true((rc == 0) == (x.list.len > 0));
        exchangers_fini(&x);
        arena_reset(&arena);
        str_fini(&text);
        str_fini(&why_not);
        world_unload(&s, conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
