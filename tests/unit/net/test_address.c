/* Addresses, networks, endpoints, listeners. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/net/support_run.h"

#include "base/fd.h"
#include "net/listen.h"

static void parse_and_print(void **state)
{
    static const struct {
        const char *text, *printed; /* NULL: not an address */
    } rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"[192.0.2.1]", "192.0.2.1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"[::1]", "::1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"", NULL},
        {"192.0.2", NULL},
        {"192.0.2.256", NULL},
        {"192.0.2.1 ", NULL},
        {"[::1", NULL},
        {"::1%lo", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct net_address a;
        struct str out = {0};
        int rc = net_address_parse(span_cstr(rows[i].text), &a);

        assert_int_equal(rc, rows[i].printed == NULL ? ERR_SYNTAX : 0);
        net_address_print(&out, &a);
        assert_string_equal(str_cstr(&out), rows[i].printed == NULL ? "unknown" : rows[i].printed);
        str_fini(&out);
    }
}

static void networks(void **state)
{
    static const struct {
        const char *prefix, *address;
        int verdict; /* 1 inside, 0 outside, -1 the prefix is wrong */
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", 1},
        {"10.0.0.0/8", "11.0.0.1", 0},
        {"192.0.2.128/25", "192.0.2.127", 0},
        {"192.0.2.128/25", "192.0.2.129", 1},
        {"192.0.2.1", "192.0.2.1", 1},
        {"0.0.0.0/0", "198.51.100.1", 1},
        {"0.0.0.0/0", "::1", 0},
        {"[2001:db8::]/32", "2001:db8:ffff::1", 1},
        {"2001:db8::/33", "2001:db8:ffff::1", 0},
        {"[::ffff:10.0.0.0]/104", "10.1.2.3", 1},
        {"10.0.0.1/8", "10.0.0.1", -1},
        {"10.0.0.0/33", "10.0.0.1", -1},
        {"10.0.0.0/", "10.0.0.1", -1},
        {"nonsense/8", "10.0.0.1", -1},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct net_prefix p;
        struct net_address a;
        int rc = net_prefix_parse(span_cstr(rows[i].prefix), &p);

        assert_int_equal(rc < 0, rows[i].verdict < 0);
        assert_int_equal(net_address_parse(span_cstr(rows[i].address), &a), 0);
        if (rc == 0 && net_prefix_match(&p, &a) != rows[i].verdict)
            fail_msg("%s in %s", rows[i].address, rows[i].prefix);
    }
}

static void endpoints(void **state)
{
    static const struct {
        const char *text;
        bool is_listener;
        int rc;
        const char *host, *service;
        bool is_literal, is_unix;
    } rows[] = {
        {"mx.example", false, 0, "mx.example", "", false, false},
        {"mx.example:587", false, 0, "mx.example", "587", false, false},
        {"[mx.example]", false, 0, "mx.example", "", true, false},
        {"[mx.example]:smtps", false, 0, "mx.example", "smtps", true, false},
        {"[2001:db8::1]:25", false, 0, "2001:db8::1", "25", true, false},
        {"inet:127.0.0.1:8891", false, 0, "127.0.0.1", "8891", false, false},
        {"unix:private/auth", false, 0, "private/auth", "", false, true},
        {"smtp", true, 0, "", "smtp", false, false},
        {":25", true, 0, "", "25", false, false},
        {"::1:25", false, ERR_SYNTAX, "", "", false, false},
        {"[mx", false, ERR_SYNTAX, "", "", false, false},
        {"[]", false, ERR_SYNTAX, "", "", false, false},
        {"mx:", false, ERR_SYNTAX, "", "", false, false},
        {"two words", false, ERR_SYNTAX, "", "", false, false},
        {"", false, ERR_SYNTAX, "", "", false, false},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct net_endpoint e;

        if (net_endpoint_parse(span_cstr(rows[i].text), rows[i].is_listener, &e) != rows[i].rc)
            fail_msg("\"%s\"", rows[i].text);
        if (rows[i].rc < 0)
            continue;
        assert_true(span_eq(e.host, span_cstr(rows[i].host)));
        assert_true(span_eq(e.service, span_cstr(rows[i].service)));
        assert_int_equal(e.is_literal, rows[i].is_literal);
        assert_int_equal(e.is_unix, rows[i].is_unix);
    }
}

static void reverse_names(void **state)
{
    struct net_address a;
    struct str out = {0};

    net_address_parse(SPAN_LIT("192.0.2.1"), &a);
    net_address_print_reverse(&out, &a);
    assert_string_equal(str_cstr(&out), "1.2.0.192.in-addr.arpa");
    str_clear(&out);
    net_address_parse(SPAN_LIT("2001:db8::567:89ab"), &a);
    net_address_print_reverse(&out, &a);
    assert_string_equal(str_cstr(&out),
                        "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    str_fini(&out);
}

TASK_TEST(listen_connect_accept)
{
    struct net_address at, peer, local;
    struct sockaddr_storage bound;
    socklen_t n = sizeof(bound);
    int listener, client, fd;

    net_address_parse(SPAN_LIT("127.0.0.1"), &at);
    assert_int_equal(net_listen_tcp(&at, &listener), 0);
    getsockname(listener, (struct sockaddr *)&bound, &n);
    net_address_from_sockaddr((struct sockaddr *)&bound, &at);
    assert_int_equal(net_accept(listener, &fd, &peer, &local), -EAGAIN);
    assert_int_equal(net_connect(&client, &at, NULL, deadline_in(1000)), 0);
    assert_int_equal(net_accept(listener, &fd, &peer, &local), 0);
    assert_int_equal(net_address_cmp(&local, &at), 0);
    close(fd);
    close(client);
    close(listener);
    assert_int_equal(net_connect(&client, &at, NULL, deadline_in(1000)), -ECONNREFUSED);
    assert_int_equal(client, -1);
}

static int connect_unix(const char *path, int type)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    int rc;

    strcpy(to.sun_path, path);
    rc = connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

TASK_TEST(unix_listeners)
{
    char path[] = "/tmp/test-listen-XXXXXX";
    struct stat st;
    int again, listener;

    close(mkstemp(path)); /* a stale file is replaced */
    assert_int_equal(net_listen_unix(path, SOCK_SEQPACKET, 0600, (uid_t)-1, (gid_t)-1, &listener),
                     0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(connect_unix(path, SOCK_SEQPACKET), 0);
    assert_int_equal(net_listen_unix(path, SOCK_STREAM, 0666, (uid_t)-1, (gid_t)-1, &again), 0);
    assert_int_equal(connect_unix(path, SOCK_STREAM), 0);
    close(listener);
    close(again);
    unlink(path);
    assert_int_equal(connect_unix(path, SOCK_STREAM), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_and_print),
        cmocka_unit_test(networks),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(reverse_names),
        cmocka_unit_test(listen_connect_accept),
        cmocka_unit_test(unix_listeners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
