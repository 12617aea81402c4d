#include "tests/unit/mail/support_mail.h"

#include <arpa/inet.h>

#include "base/error.h"
#include "mail/address.h"

enum {
    S = ADDRESS_STRICT,
    N = ADDRESS_ALLOW_NULL,
    U = ADDRESS_ALLOW_UTF8,
    D = ADDRESS_NEED_DOMAIN
};

static void test_path(void **state)
{
    static const struct {
        const char *input;
        unsigned flags;
        int result;
        const char *internal, *printed, *rest;
        unsigned out;
    } rows[] = {
        {"<a@b.example>", S, 0, "a@b.example", "a@b.example", "", 0},
        {" <a@b.example> SIZE=1", S, 0, "a@b.example", "a@b.example", " SIZE=1", 0},
        {"<>", S | N, 0, "", "", "", ADDRESS_NULL},
        {"<>", S, ERR_SYNTAX, "", "", "", 0},
        {"<@one,@two.x:a@b>", S, 0, "a@b", "a@b", "", ADDRESS_ROUTED},
        {"<@one a@b>", S, ERR_SYNTAX, "", "", "", 0},
        {"<\"a b\"@c>", S, 0, "a b@c", "\"a b\"@c", "", ADDRESS_QUOTED},
        {"<\"a>b\"@c>", S, 0, "a>b@c", "\"a>b\"@c", "", ADDRESS_QUOTED},
        {"<\"a\\\"b\"@c>", S, 0, "a\"b@c", "\"a\\\"b\"@c", "", ADDRESS_QUOTED},
        {"<\"ab\"@c>", S, 0, "ab@c", "ab@c", "", ADDRESS_QUOTED},
        {"<\"a@b\"@c>", S, 0, "a@b@c", "\"a@b\"@c", "", ADDRESS_QUOTED},
        {"<\"ab\"x@c>", S, ERR_SYNTAX, "", "", "", 0},
        {"<\"ab@c>", S, ERR_SYNTAX, "", "", "", 0},
        {"<\"\"@c>", S, 0, "@c", "\"\"@c", "", ADDRESS_QUOTED},
        {"<a.b@c>", S, 0, "a.b@c", "a.b@c", "", 0},
        {"<a..b@c>", S, ERR_SYNTAX, "", "", "", 0},
        {"<a..b@c>", 0, 0, "a..b@c", "\"a..b\"@c", "", 0},
        {"<a.@c>", 0, 0, "a.@c", "\"a.\"@c", "", 0},
        {"<.a@c>", S, ERR_SYNTAX, "", "", "", 0},
        {"<a@[192.0.2.1]>", S, 0, "a@[192.0.2.1]", "a@[192.0.2.1]", "", ADDRESS_LITERAL},
        {"<a@[IPv6:2001:db8::1]>", S, 0, "a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]", "",
         ADDRESS_LITERAL},
        {"<a@[2001:db8::1]>", S, ERR_SYNTAX, "", "", "", 0},
        {"<a@[2001:db8::1]>", 0, 0, "a@[2001:db8::1]", "a@[2001:db8::1]", "", ADDRESS_LITERAL},
        {"<a@[192.0.2.300]>", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a@b.>", 0, 0, "a@b", "a@b", "", 0},
        {"<a@-b>", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a@b..c>", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a@192.0.2.1>", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a@1-2>", S, 0, "a@1-2", "a@1-2", "", 0},
        {"<a@b_c>", S, ERR_SYNTAX, "", "", "", 0},
        {"<a@b_c>", 0, 0, "a@b_c", "a@b_c", "", 0},
        {"<Postmaster>", S, 0, "Postmaster", "Postmaster", "", 0},
        {"<root>", S, ERR_SYNTAX, "", "", "", 0},
        {"<root>", 0, 0, "root", "root", "", 0},
        {"<root>", D, ERR_SYNTAX, "", "", "", 0},
        {"a@b BODY=8BITMIME", 0, 0, "a@b", "a@b", " BODY=8BITMIME", 0},
        {"a@b", S, ERR_SYNTAX, "", "", "", 0},
        {"Joe <a@b> X=1", 0, 0, "a@b", "a@b", " X=1", 0},
        {"Joe <a@b>", S, ERR_SYNTAX, "", "", "", 0},
        {"< a@b >", 0, 0, "a@b", "a@b", "", 0},
        {"< a@b >", S, ERR_SYNTAX, "", "", "", 0},
        {"<a@b", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a@b>x", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a@>", 0, ERR_SYNTAX, "", "", "", 0},
        {"<@b>", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a\tb@c>", 0, ERR_SYNTAX, "", "", "", 0},
        {"<a\rb@c>", 0, ERR_SYNTAX, "", "", "", 0},
        {"", 0, ERR_SYNTAX, "", "", "", 0},
        {"<j\xc3\xbcrgen@b>", S, ERR_SYNTAX, "", "", "", 0},
        {"<j\xfcrgen@b>", S | U, ERR_SYNTAX, "", "", "", 0},
        {"<j\xc3\xbcrgen@b>", S | U, 0, "j\xc3\xbcrgen@b", "j\xc3\xbcrgen@b", "", ADDRESS_UTF8},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena = {0};
        struct span rest = span_cstr(rows[i].input);
        struct address a;
        struct str out = {0};
        int result = address_parse_path(&arena, &rest, rows[i].flags, &a);

        if (result != rows[i].result)
            fail_msg("%s: result %d", rows[i].input, result);
        if (result == 0) {
            address_print_internal(&out, &a);
            check_text(&out, rows[i].internal, rows[i].input);
            address_print(&out, &a);
            check_text(&out, rows[i].printed, rows[i].input);
            assert_int_equal(a.flags, rows[i].out);
            assert_true(span_eq(rest, span_cstr(rows[i].rest)));
        }
        str_fini(&out);
        arena_reset(&arena);
    }
}

static void test_long_local_part_is_strict_only(void **state)
{
    struct arena arena = {0};
    struct str text = {0};
    struct address a;

    str_append_fill(&text, 'a', ADDRESS_LOCAL_MAX + 1);
    str_append_cstr(&text, "@b");
    assert_int_equal(address_parse(&arena, str_span(&text), S, &a), ERR_TOO_LONG);
    assert_int_equal(address_parse(&arena, str_span(&text), 0, &a), 0);
    str_fini(&text);
    arena_reset(&arena);
}

static void test_split_extension(void **state)
{
    static const struct {
        const char *local, *delimiters;
        bool owner_request;
        const char *user, *extension;
    } rows[] = {
        {"joe+list", "+", false, "joe", "list"},
        {"joe+a+b", "+", false, "joe", "a+b"},
        {"joe-a+b", "+-", false, "joe", "a+b"},
        {"+joe", "+", false, "+joe", NULL},
        {"joe", "+", false, "joe", NULL},
        {"joe+", "+", false, "joe", ""},
        {"joe+x", "", false, "joe+x", NULL},
        {"mailer-daemon", "-", false, "mailer-daemon", NULL},
        {"Double-Bounce", "-", false, "Double-Bounce", NULL},
        {"owner-list", "-", true, "owner-list", NULL},
        {"owner-list", "-", false, "owner", "list"},
        {"list-request", "-", true, "list-request", NULL},
        {"owner-list+x", "+-", true, "owner-list", "x"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span user, extension;
        bool has = address_split_extension(span_cstr(rows[i].local), span_cstr(rows[i].delimiters),
                                           rows[i].owner_request, &user, &extension);

        assert_int_equal(has, rows[i].extension != NULL);
        assert_true(span_eq(user, span_cstr(rows[i].user)));
        assert_true(span_eq(extension, span_cstr(rows[i].extension)));
    }
}

static void test_equality(void **state)
{
    struct address a, b;

    address_from_internal(SPAN_LIT("a b@EXAMPLE.com"), &a);
    address_from_internal(SPAN_LIT("a b@example.COM"), &b);
    assert_true(address_eq(&a, &b));
    address_from_internal(SPAN_LIT("A B@example.COM"), &b);
    assert_false(address_eq(&a, &b));
}

static void test_idn(void **state)
{
    static const struct {
        const char *unicode, *ascii;
    } rows[] = {
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"example.com", "example.com"},
        {"\xe4\xbe\x8b.jp", "xn--fsq.jp"},
    };
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(address_domain_to_ascii(&out, span_cstr(rows[i].unicode)), 0);
        check_text(&out, rows[i].ascii, rows[i].ascii);
        assert_int_equal(address_domain_to_unicode(&out, span_cstr(rows[i].ascii)), 0);
        check_text(&out, rows[i].unicode, rows[i].ascii);
    }
    assert_int_equal(address_domain_to_ascii(&out, SPAN_LIT("EXAMPLE.Com")), 0);
    check_text(&out, "example.com", "lower case");
    assert_int_equal(address_domain_to_ascii(&out, SPAN_LIT("a\xff.com")), ERR_SYNTAX);
    str_fini(&out);
}

static void test_literal_ip(void **state)
{
    uint8_t ip[16];
    int family;

    assert_int_equal(address_literal_ip(SPAN_LIT("[192.0.2.1]"), false, &family, ip), 0);
    assert_int_equal(family, AF_INET);
    assert_memory_equal(ip, "\xc0\x00\x02\x01", 4);
    assert_int_equal(address_literal_ip(SPAN_LIT("[ipv6:::1]"), false, &family, ip), 0);
    assert_int_equal(family, AF_INET6);
    assert_int_equal(ip[15], 1);
    assert_int_equal(address_literal_ip(SPAN_LIT("[]"), true, &family, ip), ERR_SYNTAX);
    assert_int_equal(address_literal_ip(SPAN_LIT("192.0.2.1"), true, &family, ip), ERR_SYNTAX);
}

static void test_params(void **state)
{
    struct span rest = SPAN_LIT(" SIZE=100 SMTPUTF8  BODY=8BITMIME "), keyword, value;

    assert_true(esmtp_param_next(&rest, &keyword, &value));
    assert_true(span_eq(keyword, SPAN_LIT("SIZE")) && span_eq(value, SPAN_LIT("100")));
    assert_true(esmtp_param_next(&rest, &keyword, &value));
    assert_true(span_eq(keyword, SPAN_LIT("SMTPUTF8")) && value.p == NULL);
    assert_true(esmtp_param_next(&rest, &keyword, &value));
    assert_true(span_eq(value, SPAN_LIT("8BITMIME")));
    assert_false(esmtp_param_next(&rest, &keyword, &value));
    assert_int_equal(rest.n, 0);
    for (const char *const *bad =
             (const char *const[]){"=x", "A=", "A=b=c", "A B\x01", "-A=1", NULL};
         *bad != NULL; bad++) {
        rest = span_cstr(*bad);
        while (esmtp_param_next(&rest, &keyword, &value))
            continue;
        assert_int_not_equal(rest.n, 0);
    }
}

static void test_xtext(void **state)
{
    struct str out = {0};

    xtext_encode(&out, SPAN_LIT("a+b=c d\xfc"));
    check_text(&out, "a+2Bb+3Dc+20d+FC", "encode");
    assert_int_equal(xtext_decode(&out, SPAN_LIT("a+2Bb+3Dc")), 0);
    check_text(&out, "a+b=c", "decode");
    for (const char *const *bad = (const char *const[]){"+", "+2", "+2G", "a b", "a=b", NULL};
         *bad != NULL; bad++) {
        assert_int_equal(xtext_decode(&out, span_cstr(*bad)), ERR_SYNTAX);
        str_clear(&out);
    }
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_long_local_part_is_strict_only),
        cmocka_unit_test(test_split_extension),
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_idn),
        cmocka_unit_test(test_literal_ip),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_xtext),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
