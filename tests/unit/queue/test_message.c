#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "queue/attr.h"
#include "queue/message.h"

#define assert_span(actual, text)                                    \
    do {                                                             \
        struct span actual_ = (actual), expected_ = span_cstr(text); \
        assert_int_equal(actual_.n, expected_.n);                    \
        if (actual_.n > 0)                                           \
            assert_memory_equal(actual_.p, expected_.p, actual_.n);  \
    } while (0)

static void fill(struct queue_message *m)
{
    queue_message_init(m, NULL);
    m->id = (struct queue_id){4711, 1795255644000001};
    m->arrival_us = 1795255644000002;
    m->sender = SPAN_LIT("a b@example.org");
    m->ret = QUEUE_RETURN_HEADERS;
    m->envid = SPAN_LIT("QQ314159");
    m->body = QUEUE_BODY_8BITMIME;
    m->flags = QUEUE_MESSAGE_SMTPUTF8 | QUEUE_MESSAGE_REQUIRETLS | QUEUE_MESSAGE_HOLD;
    m->by_seconds = -120;
    m->by_mode = 'N';
    m->by_trace = true;
    m->hold_until_s = 1795299999;
    m->priority = -6;
    m->login = SPAN_LIT("u1");
    m->client_name = SPAN_LIT("client.test");
    m->client_address = SPAN_LIT("192.0.2.1");
    m->client_tls = SPAN_LIT("TLSv1.3");
    m->listener = SPAN_LIT("submission");
    m->transport = SPAN_LIT("smtp");
    m->next_hop = SPAN_LIT("[filter]:10025");
    m->trace_id = SPAN_LIT("t");
    m->tenant = SPAN_LIT("tenant");
    m->message_id = SPAN_LIT("x@y");
    m->commit = SPAN_LIT("0123456789abcdef");
    m->file = 99;
    m->size = 70000;
    *array_push(&m->extents) = (struct queue_extent){10, 60000, QUEUE_EXTENT_HEADER};
    *array_push(&m->extents) = (struct queue_extent){0, 10000, QUEUE_EXTENT_DOT | 1 << 20};
    struct queue_recipient *r = queue_message_add(m, SPAN_LIT("x@example.net"));
    r->original = SPAN_LIT("alias@example.org");
    r->orcpt = SPAN_LIT("rfc822;X@example.net");
    r->notify = QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY;
    r->transport = SPAN_LIT("lmtp");
    r->next_hop = SPAN_LIT("unix:/x");
    queue_message_add(m, SPAN_LIT(""));
}

static void test_round_trip(void **state)
{
    struct queue_message a, b;
    struct str one = {0}, two = {0};

    fill(&a);
    assert_int_equal(queue_message_encode(&a, &one), 0);
    queue_message_init(&b, NULL);
    assert_int_equal(queue_message_decode(&b, str_span(&one)), 0);
    assert_int_equal(queue_message_encode(&b, &two), 0);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
    assert_int_equal(b.id.number, 4711);
    assert_int_equal(b.flags, a.flags);
    assert_int_equal(b.by_seconds, -120);
    assert_int_equal(b.by_mode, 'N');
    assert_true(b.by_trace);
    assert_int_equal(b.priority, -6);
    assert_span(b.sender, "a b@example.org");
    assert_span(b.next_hop, "[filter]:10025");
    assert_int_equal(b.extents.len, 2);
    assert_int_equal(b.extents.items[1].flags, QUEUE_EXTENT_DOT | 1 << 20);
    assert_int_equal(b.recipients.len, 2);
    assert_span(b.recipients.items[0].original, "alias@example.org");
    assert_int_equal(b.recipients.items[0].notify, QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY);
    assert_int_equal(b.recipients.items[1].index, 1);
    queue_message_fini(&a);
    queue_message_fini(&b);
    str_fini(&one);
    str_fini(&two);
}

/* What a newer program wrote is kept, in its place. */
static void test_unknown_is_kept(void **state)
{
    struct queue_message m;
    struct str in = {0}, out = {0};
    struct span value;

    queue_message_init(&m, NULL);
    queue_attr_put_u64(&in, "format", 1);
    queue_attr_put(&in, "colour", SPAN_LIT("blue"));
    queue_attr_put(&in, "recipient", SPAN_LIT("a@b"));
    queue_attr_put(&in, "r.shape", SPAN_LIT("round"));
    queue_attr_put(&in, "recipient", SPAN_LIT("c@d"));
    assert_int_equal(queue_message_decode(&m, str_span(&in)), 0);
    assert_int_equal(queue_message_encode(&m, &out), 0);
    assert_int_equal(queue_attr_get(str_span(&out), "colour", &value), 0);
    assert_span(value, "blue");
    assert_int_equal(queue_attr_get(m.recipients.items[0].unknown, "r.shape", &value), 0);
    assert_span(value, "round");
    assert_int_equal(m.recipients.items[1].unknown.n, 0);
    queue_message_fini(&m);
    str_fini(&in);
    str_fini(&out);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name, *value;
        int error;
    } cases[] = {
        {"format", "2", ERR_VERSION},   {"!secret", "1", ERR_VERSION},
        {"id", "x", ERR_SYNTAX},        {"ret", "NONE", ERR_SYNTAX},
        {"body", "9", ERR_SYNTAX},      {"by-mode", "X", ERR_SYNTAX},
        {"extent", "1 2", ERR_SYNTAX},  {"extent", "9223372036854775807 2 0", ERR_SYNTAX},
        {"priority", "10", ERR_SYNTAX}, {"r.notify", "1", ERR_SYNTAX},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct queue_message m;
        struct str in = {0};

        queue_message_init(&m, NULL);
        queue_attr_put(&in, cases[i].name, span_cstr(cases[i].value));
        assert_int_equal(queue_message_decode(&m, str_span(&in)), cases[i].error);
        queue_message_fini(&m);
        str_fini(&in);
    }
}

static void test_cut_short(void **state)
{
    struct queue_message a;
    struct str one = {0};

    fill(&a);
    queue_message_encode(&a, &one);
    for (size_t n = 0; n < one.len; n++) {
        struct queue_message b;

        queue_message_init(&b, NULL);
        int rc = queue_message_decode(&b, span_make(one.data, n));
        assert_true(rc == 0 || rc == ERR_SYNTAX);
        queue_message_fini(&b);
    }
    queue_message_fini(&a);
    str_fini(&one);
}

static void test_notify(void **state)
{
    char text[40];

    assert_int_equal(queue_notify_parse(SPAN_LIT("NEVER")), QUEUE_NOTIFY_NEVER);
    assert_int_equal(queue_notify_parse(SPAN_LIT("success,Delay")),
                     QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY);
    assert_int_equal(queue_notify_parse(SPAN_LIT("NEVER,DELAY")), 0);
    assert_int_equal(queue_notify_parse(SPAN_LIT("DELAY,")), 0);
    assert_int_equal(queue_notify_parse(SPAN_LIT("")), 0);
    assert_string_equal(queue_notify_text(QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE, text),
                        "SUCCESS,FAILURE");
}

/* --- content --- */

static void test_scan(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        uint32_t flags;
    } cases[] = {
        {"a\r\nb\r\n", 6, 0},
        {".a\r\n", 4, QUEUE_EXTENT_DOT},
        {"a.\r\n.\r\n", 7, QUEUE_EXTENT_DOT},
        {"a\nb\r\n", 5, QUEUE_EXTENT_BARE},
        {"a\rb\r\n", 5, QUEUE_EXTENT_BARE},
        {"\xc3\xa4\r\n", 4, QUEUE_EXTENT_8BIT},
        {"a\0b\r\n", 5, QUEUE_EXTENT_NUL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        /* Any cut gives the same answer. */
        for (size_t cut = 0; cut <= cases[i].n; cut++) {
            struct queue_scan s = {0};
            uint32_t flags = queue_scan(&s, span_make(cases[i].text, cut));

            flags |= queue_scan(&s, span_make(cases[i].text + cut, cases[i].n - cut));
            assert_int_equal(flags, cases[i].flags);
        }
    }
}

/* The same, octet by octet. */
static uint32_t scan_slowly(const char *p, size_t n)
{
    uint32_t flags = 0;
    size_t column = 0;

    for (size_t i = 0; i < n; i++) {
        bool after_cr = column > 0 && p[i - 1] == '\r';

        flags |= (unsigned char)p[i] >= 128 ? QUEUE_EXTENT_8BIT : 0;
        flags |= p[i] == '\0' ? QUEUE_EXTENT_NUL : 0;
        flags |= (p[i] == '\n') != after_cr ? QUEUE_EXTENT_BARE : 0;
        flags |= p[i] == '.' && column == 0 ? QUEUE_EXTENT_DOT : 0;
        column = p[i] == '\n' ? 0 : column + 1;
    }
    return flags;
}

static void test_scan_anything(void **state)
{
    static const char alphabet[] = "aaaaaaaaaaaaaaaaaaaaaaa\r\r\n\n..\xe9";
    char text[64];

    srand(1);
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = 1 + (size_t)rand() % sizeof(text), cut = (size_t)rand() % n;
        struct queue_scan s = {0};
        uint32_t flags;

        for (size_t i = 0; i < n; i++)
            text[i] = rand() % 40 == 0 ? '\0' : alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
        flags = queue_scan(&s, span_make(text, cut));
        flags |= queue_scan(&s, span_make(text + cut, n - cut));
        assert_int_equal(flags, scan_slowly(text, n));
    }
}

static void test_scan_long_lines(void **state)
{
    char line[1100];

    memset(line, 'x', sizeof(line));
    for (size_t n = 996; n < 1003; n++) {
        struct queue_scan s = {0};

        line[n] = '\r';
        line[n + 1] = '\n';
        assert_int_equal(queue_scan(&s, span_make(line, n + 2)), n > 998 ? QUEUE_EXTENT_LONG : 0);
        line[n] = line[n + 1] = 'x';
    }
}

static void test_read_over_extents(void **state)
{
    struct queue_content c;
    struct str out = {0};
    char buf[4];

    queue_content_init(&c);
    c.inline_octets = SPAN_LIT("worldHello, !");
    *array_push(&c.extents) = (struct queue_extent){5, 7, QUEUE_EXTENT_HEADER};
    *array_push(&c.extents) = (struct queue_extent){0, 5, QUEUE_EXTENT_8BIT};
    *array_push(&c.extents) = (struct queue_extent){12, 1, 0};
    assert_int_equal(queue_content_size(&c), 13);
    assert_int_equal(queue_content_header_size(&c), 7);
    assert_int_equal(queue_content_flags(&c), QUEUE_EXTENT_HEADER | QUEUE_EXTENT_8BIT);
    for (uint64_t at = 0; at < 13; at += 4) {
        ssize_t n = queue_content_read(&c, at, buf, sizeof(buf));
        str_append(&out, span_make(buf, (size_t)n));
    }
    assert_string_equal(str_cstr(&out), "Hello, world!");
    assert_int_equal(queue_content_read(&c, 13, buf, 4), 0);
    c.extents.items[2].length = 2;
    assert_int_equal(queue_content_read(&c, 12, buf, 4), ERR_CORRUPT);
    str_fini(&out);
    queue_content_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_unknown_is_kept),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_anything),
        cmocka_unit_test(test_scan_long_lines),
        cmocka_unit_test(test_read_over_extents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
