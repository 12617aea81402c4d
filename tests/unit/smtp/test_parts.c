/* The pure parts: content, replies, EHLO, commands, next hops, orders of addresses. */
#include "tests/unit/smtp/support_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "smtp/ehlo.h"
#include "smtp/envelope.h"
#include "smtp/exchanger.h"
#include "smtp/nexthop.h"
#include "smtp/trouble.h"
#include "smtp/wire.h"

/* --- content --- */

static void test_wire(void **state)
{
    static const struct {
        struct span in;
        size_t limit;
        struct span out;
    } rows[] = {
        {SPAN_LIT(""), 998, SPAN_LIT(".\r\n")},
        {SPAN_LIT("a\r\nb\r\n"), 998, SPAN_LIT("a\r\nb\r\n.\r\n")},
        {SPAN_LIT("a"), 998, SPAN_LIT("a\r\n.\r\n")},
        {SPAN_LIT("\r\n\r\n"), 998, SPAN_LIT("\r\n\r\n.\r\n")},
        {SPAN_LIT(".\r\n..\r\n.x\r\nx.\r\n"), 998, SPAN_LIT("..\r\n...\r\n..x\r\nx.\r\n.\r\n")},
        /* What another server could take for the end of the data. */
        {SPAN_LIT("a\n.\nb\r\n"), 998, SPAN_LIT("a . b\r\n.\r\n")},
        {SPAN_LIT("a\r\n.\n"), 998, SPAN_LIT("a\r\n.. \r\n.\r\n")},
        {SPAN_LIT("a\r.\rb\r\n"), 998, SPAN_LIT("a . b\r\n.\r\n")},
        {SPAN_LIT("a\r\n.\r"), 998, SPAN_LIT("a\r\n.. \r\n.\r\n")},
        {SPAN_LIT("a\n.\r\nMAIL\r\n"), 998, SPAN_LIT("a .\r\nMAIL\r\n.\r\n")},
        {SPAN_LIT("a\r\r\n.\r\r\n"), 998, SPAN_LIT("a \r\n.. \r\n.\r\n")},
        {SPAN_LIT("\0.\r\n\0\0.\r\nx\0.\r\n"), 998, SPAN_LIT(" .\r\n \0.\r\nx\0.\r\n.\r\n")},
        {SPAN_LIT("\r\0\n.\r\n"), 998, SPAN_LIT(" \0 .\r\n.\r\n")},
        /* Long lines. */
        {SPAN_LIT("abcd\r\n"), 4, SPAN_LIT("abcd\r\n.\r\n")},
        {SPAN_LIT("abcde\r\n"), 4, SPAN_LIT("abcd\r\n e\r\n.\r\n")},
        {SPAN_LIT("abcdefgh\r\n.\r\n"), 4, SPAN_LIT("abcd\r\n efg\r\n h\r\n..\r\n.\r\n")},
        {SPAN_LIT("abcd.\r\n"), 4, SPAN_LIT("abcd\r\n .\r\n.\r\n")},
        {SPAN_LIT(".abc.\r\n"), 4, SPAN_LIT("..abc\r\n .\r\n.\r\n")},
        {SPAN_LIT("abcdefgh\r\n"), 0, SPAN_LIT("abcdefgh\r\n.\r\n")},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        /* In one piece, and in pieces of every size. */
        for (size_t piece = 1; piece <= rows[i].in.n + 1; piece++) {
            struct wire w = {.line_limit = rows[i].limit};
            struct str out = {0};

            for (size_t at = 0; at < rows[i].in.n; at += piece)
                wire_encode(&w, span_take(span_drop(rows[i].in, at), piece), &out);
            assert_int_equal(wire_end(&w, &out), 0);
            if (!span_eq(str_span(&out), rows[i].out))
                fail_msg("row %zu in pieces of %zu: %.*s", i, piece, SPAN_ARG(str_span(&out)));
            str_fini(&out);
        }
}

/* Whatever goes in: only CRLF ends lines, and only the last one is a lone dot. */
static void test_wire_of_anything(void **state)
{
    static const char alphabet[] = {'\r', '\n', '.', '\0', 'x'};

    for (unsigned seed = 0; seed < 20000; seed++) {
        unsigned random = seed;
        char in[12];
        struct wire w = {.line_limit = seed % 3 ? 5 : 0};
        struct str out = {0};
        struct span rest, line;

        for (size_t i = 0; i < sizeof(in); i++)
            in[i] = alphabet[rand_r(&random) % sizeof(alphabet)];
        size_t cut = seed % sizeof(in);
        wire_encode(&w, span_make(in, cut), &out);
        wire_encode(&w, span_make(in + cut, sizeof(in) - cut), &out);
        wire_end(&w, &out);
        rest = str_span(&out);
        while (rest.n > 0) {
            ptrdiff_t lf = span_find(rest, '\n');

            assert_true(lf > 0 && rest.p[lf - 1] == '\r');
            line = span_take(rest, (size_t)lf - 1);
            assert_true(span_find(line, '\r') < 0);
            assert_true(line.n == 0 || line.p[0] != '\0');
            rest = span_drop(rest, (size_t)lf + 1);
            assert_true(span_eq(line, SPAN_LIT(".")) == (rest.n == 0));
            assert_true(w.line_limit == 0 || line.n <= w.line_limit + 1);
        }
        str_fini(&out);
    }
}

/* --- replies and EHLO --- */

static void test_reply_lines(void **state)
{
    static const struct {
        const char *line;
        int rc;
        unsigned code;
        bool more;
        const char *text;
    } rows[] = {
        {"250 ok", 0, 250, false, "ok"},
        {"250-ok", 0, 250, true, "ok"},
        {"250", 0, 250, false, ""},
        {"250 ", 0, 250, false, ""},
        {"354 go", 0, 354, false, "go"},
        {"", ERR_PROTOCOL, 0, false, ""},
        {"25", ERR_PROTOCOL, 0, false, ""},
        {"2500 x", ERR_PROTOCOL, 0, false, ""},
        {"150 x", ERR_PROTOCOL, 0, false, ""},
        {"650 x", ERR_PROTOCOL, 0, false, ""},
        {" 250 x", ERR_PROTOCOL, 0, false, ""},
        {"2x0 x", ERR_PROTOCOL, 0, false, ""},
        {"250x", ERR_PROTOCOL, 0, false, ""},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        unsigned code = 0;
        bool more = false;
        struct span text = SPAN_NONE;

        assert_int_equal(reply_parse_line(span_cstr(rows[i].line), &code, &more, &text),
                         rows[i].rc);
        if (rows[i].rc == 0) {
            assert_int_equal(code, rows[i].code);
            assert_true(more == rows[i].more);
            assert_true(span_eq(text, span_cstr(rows[i].text)));
        }
    }
}

static void test_ehlo(void **state)
{
    static const struct {
        const char *text;
        unsigned discarded, features;
        uint64_t size;
        const char *name;
    } rows[] = {
        {"250 mx", 0, SMTP_ESMTP, 0, "mx"},
        {"250-mx says hello\n250-PIPELINING\n250-SIZE 52428800\n250-8bitmime\n250-STARTTLS\n"
         "250-DSN\n250-SMTPUTF8\n250-AUTH PLAIN\n250 ENHANCEDSTATUSCODES",
         0,
         SMTP_ESMTP | SMTP_PIPELINING | SMTP_SIZE | SMTP_8BITMIME | SMTP_STARTTLS | SMTP_DSN |
             SMTP_SMTPUTF8 | SMTP_ENHANCEDSTATUSCODES,
         52428800, "mx"},
        {"250-mx\n250-PIPELINING\n250 SIZE", SMTP_PIPELINING, SMTP_ESMTP | SMTP_SIZE, 0, "mx"},
        {"250-mx\n250 SIZE=17", 0, SMTP_ESMTP, 0, "mx"},
        {"250-\n250-\n250 XSIZE 1", 0, SMTP_ESMTP, 0, ""},
        {"250-mx\n250 SIZE -1", 0, SMTP_ESMTP | SMTP_SIZE, 0, "mx"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ehlo e;

        ehlo_parse(span_cstr(rows[i].text), rows[i].discarded, &e);
        assert_int_equal(e.features, rows[i].features);
        assert_int_equal(e.size_limit, rows[i].size);
        assert_true(span_eq(e.name, span_cstr(rows[i].name)));
    }
}

/* --- commands --- */

static void test_commands(void **state)
{
    static const struct {
        struct queue_message m;
        unsigned features;
        uint32_t content;
        const char *line;
    } mails[] = {
        {{.sender = SPAN_LIT("a@b.test")}, 0, 0, "MAIL FROM:<a@b.test>\r\n"},
        {{.sender = SPAN_LIT("")}, SMTP_SIZE, 0, "MAIL FROM:<> SIZE=7\r\n"},
        {{.sender = SPAN_LIT("a b@c.test")}, 0, 0, "MAIL FROM:<\"a b\"@c.test>\r\n"},
        {{.sender = SPAN_LIT("\"a b\"@c.test")}, 0, 0, "MAIL FROM:<\"a b\"@c.test>\r\n"},
        {{.sender = SPAN_LIT("a..b@c.test")}, 0, 0, "MAIL FROM:<\"a..b\"@c.test>\r\n"},
        {{.sender = SPAN_LIT("a@b@c.test")}, 0, 0, "MAIL FROM:<\"a@b\"@c.test>\r\n"},
        {{.sender = SPAN_LIT("a>b@c.test")}, 0, 0, "MAIL FROM:<\"a>b\"@c.test>\r\n"},
        {{.sender = SPAN_LIT("a@b.test"), .ret = QUEUE_RETURN_HEADERS, .envid = SPAN_LIT("x+y")},
         SMTP_DSN,
         0,
         "MAIL FROM:<a@b.test> RET=HDRS ENVID=x+2By\r\n"},
        {{.sender = SPAN_LIT("a@b.test"), .ret = QUEUE_RETURN_FULL},
         0,
         QUEUE_EXTENT_8BIT,
         "MAIL FROM:<a@b.test>\r\n"},
        {{.sender = SPAN_LIT("a@b.test"), .body = QUEUE_BODY_8BITMIME},
         SMTP_8BITMIME,
         QUEUE_EXTENT_8BIT,
         "MAIL FROM:<a@b.test> BODY=8BITMIME\r\n"},
        {{.sender = SPAN_LIT("a@b.test"), .body = QUEUE_BODY_7BIT},
         SMTP_8BITMIME,
         0,
         "MAIL FROM:<a@b.test> BODY=7BIT\r\n"},
        {{.sender = SPAN_LIT("\xc3\xa4@b.test"), .flags = QUEUE_MESSAGE_SMTPUTF8},
         SMTP_SMTPUTF8,
         0,
         "MAIL FROM:<\xc3\xa4@b.test> SMTPUTF8\r\n"},
    };
    static const struct {
        struct queue_recipient r;
        unsigned features;
        const char *line;
    } rcpts[] = {
        {{.address = SPAN_LIT("a@b.test")}, SMTP_DSN, "RCPT TO:<a@b.test>\r\n"},
        {{.address = SPAN_LIT("postmaster")}, 0, "RCPT TO:<postmaster>\r\n"},
        {{.address = SPAN_LIT("u@[192.0.2.1]")}, 0, "RCPT TO:<u@[192.0.2.1]>\r\n"},
        {{.address = SPAN_LIT("a@b.test"),
          .notify = QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE,
          .orcpt = SPAN_LIT("rfc822;a+b@c.test")},
         SMTP_DSN,
         "RCPT TO:<a@b.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@c.test\r\n"},
        {{.address = SPAN_LIT("a@b.test"), .notify = QUEUE_NOTIFY_NEVER},
         0,
         "RCPT TO:<a@b.test>\r\n"},
    };

    for (size_t i = 0; i < COUNT_OF(mails); i++) {
        struct str out = {0};

        assert_int_equal(envelope_mail(&out, &mails[i].m, mails[i].features, 7, mails[i].content),
                         0);
        assert_string_equal(str_cstr(&out), mails[i].line);
        str_fini(&out);
    }
    for (size_t i = 0; i < COUNT_OF(rcpts); i++) {
        struct str out = {0};

        assert_int_equal(envelope_rcpt(&out, &rcpts[i].r, rcpts[i].features), 0);
        assert_string_equal(str_cstr(&out), rcpts[i].line);
        str_fini(&out);
    }
    assert_false(envelope_is_writable(SPAN_LIT("a@b.test>\r\nDATA")));
    assert_false(envelope_is_writable(SPAN_LIT("a\0@b.test")));
    assert_false(envelope_is_writable(SPAN_LIT("")));
    assert_false(envelope_is_writable(SPAN_LIT("a@b.test> NOTIFY=NEVER")));
    assert_false(envelope_is_writable(SPAN_LIT("\"a@b.test>")));
    assert_true(envelope_is_writable(SPAN_LIT("postmaster")));
    assert_true(envelope_is_writable(SPAN_LIT("a b>@b.test")));
}

/* --- next hops and addresses --- */

static void test_next_hops(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *name;
        bool is_host;
        uint16_t port;
    } rows[] = {
        {"example.test", 0, "example.test", false, 0},
        {"example.test:2525", 0, "example.test", false, 2525},
        {"example.test:submission", 0, "example.test", false, 587},
        {"[mx.example.test]", 0, "mx.example.test", true, 0},
        {"[mx.example.test]:587", 0, "mx.example.test", true, 587},
        {"[192.0.2.1]", 0, "192.0.2.1", true, 0},
        {"[2001:db8::1]:25", 0, "2001:db8::1", true, 25},
        {"[IPv6:2001:db8::1]", 0, "2001:db8::1", true, 0},
        {"", ERR_SYNTAX, "", false, 0},
        {"[]", ERR_SYNTAX, "", false, 0},
        {"[mx", ERR_SYNTAX, "", false, 0},
        {"[mx]x", ERR_SYNTAX, "", false, 0},
        {"mx:0", ERR_SYNTAX, "", false, 0},
        {":25", ERR_SYNTAX, "", false, 0},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct nexthop hop;

        assert_int_equal(nexthop_parse(span_cstr(rows[i].text), &hop), rows[i].rc);
        if (rows[i].rc == 0) {
            assert_true(span_eq(hop.name, span_cstr(rows[i].name)));
            assert_true(hop.is_host == rows[i].is_host);
            assert_int_equal(hop.port, rows[i].port);
        }
    }
}

/* "a4" and "b6": host a with an IPv4, b with an IPv6 address; the digit before is the
 * preference: "1a4 2b6". */
static void make_list(struct exchangers *x, const char *text)
{
    struct span rest = span_cstr(text), word;

    while (span_token(&rest, " ", &word)) {
        struct net_address address = {.family = word.p[2] == '6' ? AF_INET6 : AF_INET};
        char host[2] = {word.p[1], '\0'};

        address.octets[3] = (uint8_t)host[0];
        assert_int_equal(exchangers_add(x, host, (unsigned)(word.p[0] - '0'), &address), 0);
    }
}

static void check_list(const struct exchangers *x, const char *expected)
{
    struct str text = {0};

    for (size_t i = 0; i < x->list.len; i++)
        str_append_cstr(&text, x->list.items[i].host);
    assert_string_equal(str_cstr(&text), expected);
    str_fini(&text);
}

static void test_orders(void **state)
{
    static const struct {
        const char *in;
        enum smtp_preference preference;
        size_t limit;
        const char *arranged, *balanced;
    } rows[] = {
        {"", SMTP_PREFER_ANY, 5, "", ""},
        {"2a4 1b4 2c4 1d4", SMTP_PREFER_ANY, 5, "bdac", "bdac"},
        {"1a4 1b6 1c4 1d6", SMTP_PREFER_IPV6, 5, "bdac", "bdac"},
        {"1a6 1b4 2c6 2d4", SMTP_PREFER_IPV4, 5, "badc", "badc"},
        {"1a4 1b4 1c4 1d4 1e6 1f6", SMTP_PREFER_IPV4, 4, "abcdef", "abef"},
        {"1a4 1b4 1c4 1d4 1e4 1f6", SMTP_PREFER_IPV4, 4, "abcdef", "abcf"},
        {"1a6 1b6 1c6 1d6 1e6 2f4", SMTP_PREFER_ANY, 4, "abcdef", "abcf"},
        {"1a4 1b4 1c4", SMTP_PREFER_ANY, 2, "abc", "ab"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct exchangers x = {0};

        make_list(&x, rows[i].in);
        exchangers_arrange(&x, rows[i].preference, false);
        check_list(&x, rows[i].arranged);
        exchangers_balance(&x, rows[i].limit);
        check_list(&x, rows[i].balanced);
        exchangers_fini(&x);
    }
}

/* Equal ones in every order, and never a worse one before a better one. */
static void test_shuffle(void **state)
{
    unsigned first[3] = {0};

    for (int i = 0; i < 300; i++) {
        struct exchangers x = {0};

        make_list(&x, "2z4 1a4 1b4 1c4");
        exchangers_arrange(&x, SMTP_PREFER_ANY, true);
        assert_string_equal(x.list.items[3].host, "z");
        first[x.list.items[0].host[0] - 'a']++;
        exchangers_fini(&x);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(first[i], 50, 150);
}

static void test_own(void **state)
{
    static const struct {
        const char *in;
        bool found;
        const char *left;
    } rows[] = {
        {"1a4 2b4", false, "ab"},
        {"1a4 2m4 2c4 3d4", true, "a"},
        {"1m4 1a4", true, ""},
        {"1a4 1b4 2m4", true, "ab"},
    };
    struct net_address *own;
    struct settings s = {.myhostname = "me.example.test"};

    own = array_push(&s.own);
    own->family = AF_INET;
    own->octets[3] = 'm';
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct exchangers x = {0};

        make_list(&x, rows[i].in);
        assert_true(exchangers_drop_own(&x, &s) == rows[i].found);
        check_list(&x, rows[i].left);
        exchangers_fini(&x);
    }
    array_free(&s.own);
}

/* A NUL does not end what was said. */
static void test_trouble_words(void **state)
{
    struct arena arena = {0};
    struct reply reply;
    struct trouble t;

    reply_init(&reply, NULL);
    reply.code = 550;
    reply.dsn = (struct dsn_status){5, 1, 1};
    assert_int_equal(str_set(&reply.text, SPAN_LIT("550-a\0b\n550 c\033d\177")), 0);
    trouble_reply(&t, &arena, &reply, "mx", "said: ", " (really)");
    assert_string_equal(arena_strdup(&arena, t.reason), "said: 550-a?b 550 c?d? (really)");
    assert_string_equal(arena_strdup(&arena, t.remote_reply), "550-a?b 550 c?d?");
    reply_fini(&reply);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire),        cmocka_unit_test(test_wire_of_anything),
        cmocka_unit_test(test_reply_lines), cmocka_unit_test(test_ehlo),
        cmocka_unit_test(test_commands),    cmocka_unit_test(test_next_hops),
        cmocka_unit_test(test_orders),      cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_own),         cmocka_unit_test(test_trouble_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
