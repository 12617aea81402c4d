/* The DNS parser, the table resolver, and c-ares against a small server. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net/support_run.h"

#include "net/dns.h"

static const deadline_t never = DEADLINE_NONE;

static const char table[] = "example.test MX 20 mx2.example.test\n"
                            "example.test MX 10 mx1.example.test\n"
                            "mx1.example.test A 192.0.2.1\n"
                            "mx1.example.test A 192.0.2.2\n"
                            "mx1.example.test AAAA 2001:db8::1\n"
                            "null.test MX 0 .\n"
                            "alias.test CNAME middle.test\n"
                            "middle.test CNAME mx1.example.test\n"
                            "loop.test CNAME loop.test\n"
                            "t.test TXT v=spf1 -all\n"
                            "1.2.0.192.in-addr.arpa PTR mx1.example.test\n"
                            "_25._tcp.mx1.example.test TLSA 3 1 1 00ff10\n"
                            "_25._tcp.mx1.example.test * AD\n"
                            "bad.test * SERVFAIL\n"
                            "slow.test * TIMEOUT\n";

static struct resolver *fake(void)
{
    struct resolver *r;

    assert_int_equal(resolver_new_fake(&r, table), 0);
    return r;
}

static void statuses(void **state)
{
    static const struct {
        const char *name;
        enum dns_type type;
        int rc;
        enum dns_status status;
        size_t count;
    } rows[] = {
        {"example.test", DNS_MX, 0, DNS_FOUND, 2},
        {"EXAMPLE.test.", DNS_MX, 0, DNS_FOUND, 2},
        {"mx1.example.test", DNS_A, 0, DNS_FOUND, 2},
        {"alias.test", DNS_A, 0, DNS_FOUND, 2},
        {"alias.test", DNS_CNAME, 0, DNS_FOUND, 1},
        {"example.test", DNS_A, ERR_NOT_FOUND, DNS_NODATA, 0},
        {"nowhere.test", DNS_A, ERR_NOT_FOUND, DNS_NXDOMAIN, 0},
        {"bad.test", DNS_A, ERR_TEMPORARY, DNS_TEMPORARY, 0},
        {"slow.test", DNS_A, ERR_TEMPORARY, DNS_TEMPORARY, 0},
        {"a..b", DNS_A, ERR_SYNTAX, DNS_BAD_NAME, 0},
        {".", DNS_A, ERR_NOT_FOUND, DNS_NXDOMAIN, 0},
    };
    struct resolver *r = fake();

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dns_answer a;

        if (dns_query(r, rows[i].name, rows[i].type, 0, &a, never) != rows[i].rc ||
            a.status != rows[i].status || a.count != rows[i].count)
            fail_msg("%s: status %d, %zu records", rows[i].name, a.status, a.count);
        dns_answer_fini(&a);
    }
    resolver_free(r);
}

static void record_types(void **state)
{
    struct resolver *r = fake();
    struct dns_answer a;
    struct str text = {0};

    assert_int_equal(dns_query(r, "example.test", DNS_MX, 0, &a, never), 0);
    assert_int_equal(a.records[1].mx.preference, 10);
    assert_string_equal(a.records[1].mx.host, "mx1.example.test");
    assert_int_equal(a.ttl, 300);
    dns_answer_fini(&a);
    assert_int_equal(dns_query(r, "null.test", DNS_MX, 0, &a, never), 0);
    assert_string_equal(a.records[0].mx.host, "");
    dns_answer_fini(&a);
    assert_int_equal(dns_query(r, "alias.test", DNS_AAAA, 0, &a, never), 0);
    assert_string_equal(a.canonical, "mx1.example.test");
    net_address_print(&text, &a.records[0].address);
    assert_string_equal(str_cstr(&text), "2001:db8::1");
    dns_answer_fini(&a);
    assert_int_equal(dns_query(r, "t.test", DNS_TXT, 0, &a, never), 0);
    assert_true(span_eq(a.records[0].text, SPAN_LIT("v=spf1 -all")));
    dns_answer_fini(&a);
    assert_int_equal(dns_query(r, "1.2.0.192.in-addr.arpa", DNS_PTR, 0, &a, never), 0);
    assert_string_equal(a.records[0].host, "mx1.example.test");
    assert_false(a.is_secure);
    dns_answer_fini(&a);
    assert_int_equal(dns_query(r, "_25._tcp.mx1.example.test", DNS_TLSA, 0, &a, never), 0);
    assert_true(a.is_secure);
    assert_int_equal(a.records[0].tlsa.usage, 3);
    assert_true(span_eq(a.records[0].tlsa.data, SPAN_LIT("\x00\xff\x10")));
    dns_answer_fini(&a);
    str_fini(&text);
    resolver_free(r);
}

/* Answers to "a.b" A; the question is 21 octets from the start of the header. */
#define QUESTION \
    "\x01"       \
    "a\x01"      \
    "b\x00\x00\x01\x00\x01"

static void malformed_answers(void **state)
{
    static const struct {
        struct span packet;
        int rc;
    } rows[] = {
        {SPAN_LIT("\0\0\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"),
         0},
        /* wrong length of an address */
        {SPAN_LIT("\0\0\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0c\0\1\0\1\0\0\0\1\0\3\1\2\3"),
         ERR_PROTOCOL},
        /* data behind the packet's end */
        {SPAN_LIT("\0\0\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0c\0\1\0\1\0\0\0\1\0\5\1\2\3\4"),
         ERR_PROTOCOL},
        /* a pointer to itself, and one forwards */
        {SPAN_LIT("\0\0\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x15\0\1\0\1\0\0\0\1\0\4\1\2\3\4"),
         ERR_PROTOCOL},
        {SPAN_LIT("\0\0\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x20\0\1\0\1\0\0\0\1\0\4\1\2\3\4"),
         ERR_PROTOCOL},
        /* more answers announced than there can be */
        {SPAN_LIT("\0\0\x81\x80\0\1\xff\xff\0\0\0\0" QUESTION), ERR_PROTOCOL},
        /* a query, another question, two questions, a header alone, nothing */
        {SPAN_LIT("\0\0\x01\x80\0\1\0\0\0\0\0\0" QUESTION), ERR_PROTOCOL},
        {SPAN_LIT("\0\0\x81\x80\0\1\0\0\0\0\0\0\1a\1c\0\0\1\0\1"), ERR_PROTOCOL},
        {SPAN_LIT("\0\0\x81\x80\0\2\0\0\0\0\0\0" QUESTION), ERR_PROTOCOL},
        {SPAN_LIT("\0\0\x81\x80\0\1\0\0\0\0\0\0"), ERR_PROTOCOL},
        {SPAN_LIT(""), ERR_PROTOCOL},
        /* the owner is somebody else: ignored */
        {SPAN_LIT("\0\0\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\1c\0\0\1\0\1\0\0\0\1\0\4\1\2\3\4"), 0},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dns_answer a;
        int rc = dns_parse(rows[i].packet, "a.b", DNS_A, &a);

        if (rc != rows[i].rc)
            fail_msg("row %zu: %d", i, rc);
        if (rc == 0)
            assert_int_equal(a.count, i == 0 ? 1 : 0);
        dns_answer_fini(&a);
    }
}

static void names_are_escaped(void **state)
{
    static const struct span packet = SPAN_LIT("\0\0\x81\x80\0\1\0\1\0\0\0\0"
                                               "\1a\1b\0\0\x0c\0\1"
                                               "\xc0\x0c\0\x0c\0\1\0\0\0\1\0\7\3x\n.\1y\0");
    struct dns_answer a;
    struct str wire = {0};

    assert_int_equal(dns_parse(packet, "a.b", DNS_PTR, &a), 0);
    assert_string_equal(a.records[0].host, "x\\010\\046.y");
    assert_false(dns_is_hostname(span_cstr(a.records[0].host)));
    /* And can be asked for again. */
    assert_int_equal(dns_build_query(&wire, 1, a.records[0].host, DNS_A, 0, 0), 0);
    assert_memory_equal(wire.data + 12, "\3x\n.\1y\0", 7);
    dns_answer_fini(&a);
    str_fini(&wire);
}

/* --- c-ares against one UDP answer --- */

struct server {
    int fd;
    unsigned queries;
    bool is_dropping;  /* the first query */
    unsigned char opt; /* whether the last query had an OPT record */
    struct task_group group;
};

static void serve(void *arg)
{
    static const char answer[] = "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\7";
    struct server *t = arg;
    struct task_fd poll;

    task_fd_init(&poll, t->fd);
    while (task_fd_wait(&poll, TASK_READABLE, never) >= 0) {
        struct sockaddr_in from;
        socklen_t n = sizeof(from);
        char packet[512 + sizeof(answer)];
        ssize_t got = recvfrom(t->fd, packet, 512, MSG_DONTWAIT, (struct sockaddr *)&from, &n);

        if (got < 12 || (++t->queries == 1 && t->is_dropping))
            continue;
        t->opt = (unsigned char)packet[11];
        got -= t->opt ? 11 : 0;
        packet[2] |= (char)0x80;
        packet[3] = 0x20;
        packet[7] = 1;
        packet[11] = 0;
        memcpy(packet + got, answer, sizeof(answer) - 1);
        sendto(t->fd, packet, (size_t)got + sizeof(answer) - 1, 0, (struct sockaddr *)&from, n);
    }
    task_fd_fini(&poll);
}

static struct resolver *start(struct server *t)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    struct resolver_options options = {.timeout_ms = 100, .tries = 2};
    struct resolver *r;
    struct str why = {0};
    char servers[64];

    t->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(t->fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(getsockname(t->fd, (struct sockaddr *)&at, &n), 0);
    snprintf(servers, sizeof(servers), "127.0.0.1:%d", ntohs(at.sin_port));
    options.servers = servers;
    assert_int_equal(resolver_new(&r, &options, &why), 0);
    task_group_init(&t->group);
    task_group_spawn(&t->group, "server", serve, t);
    return r;
}

static void stop(struct server *t, struct resolver *r)
{
    resolver_free(r);
    task_group_cancel(&t->group);
    task_group_wait(&t->group, never);
    close(t->fd);
}

static void ask_once(void *arg)
{
    struct dns_answer a;

    assert_int_equal(dns_query(arg, "host.test", DNS_A, DNS_SECURE, &a, never), 0);
    assert_int_equal(a.count, 1);
    assert_true(a.is_secure);
    assert_int_equal(a.ttl, 60);
    dns_answer_fini(&a);
}

TASK_TEST(ares_answers_many)
{
    struct server t = {.is_dropping = true};
    struct resolver *r = start(&t);
    struct task_group group;

    task_group_init(&group);
    for (int i = 0; i < 50; i++)
        task_group_spawn(&group, "ask", ask_once, r);
    assert_int_equal(task_group_wait(&group, never), 0);
    assert_true(t.queries >= 51); /* the dropped one came again */
    assert_int_equal(t.opt, 1);
    stop(&t, r);
}

TASK_TEST(ares_timeouts)
{
    struct server t = {0};
    struct resolver *r = start(&t);
    struct dns_answer a;

    task_group_cancel(&t.group);
    task_group_wait(&t.group, never);
    assert_int_equal(dns_query(r, "host.test", DNS_A, 0, &a, deadline_in(30)), -ETIMEDOUT);
    assert_int_equal(a.status, DNS_TEMPORARY);
    dns_answer_fini(&a);
    assert_int_equal(dns_query(r, "host.test", DNS_A, 0, &a, never), ERR_TEMPORARY);
    assert_int_equal(a.status, DNS_TEMPORARY);
    dns_answer_fini(&a);
    stop(&t, r);
}

TASK_TEST(ares_bad_servers)
{
    struct resolver_options options = {.servers = "127.0.0.1, nonsense"};
    struct resolver *r;
    struct str why = {0};

    assert_int_equal(resolver_new(&r, &options, &why), ERR_SYNTAX);
    assert_non_null(strstr(str_cstr(&why), "nonsense"));
    str_fini(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),          cmocka_unit_test(record_types),
        cmocka_unit_test(malformed_answers), cmocka_unit_test(names_are_escaped),
        cmocka_unit_test(ares_answers_many), cmocka_unit_test(ares_timeouts),
        cmocka_unit_test(ares_bad_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
