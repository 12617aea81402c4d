/* Results, their log line, listings, dropped files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "queue/admin.h"
#include "queue/attr.h"
#include "queue/deliver.h"
#include "queue/drop.h"

static char line[1000];

static void keep_line(void *arg, enum log_level level, struct span text)
{
    size_t n = text.n < sizeof(line) - 1 ? text.n : sizeof(line) - 1;

    memcpy(line, text.p, n);
    line[n] = '\0';
}

static void test_delay_form(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "0"},         {4999, "0"},          {5000, "0.01"}, {54000, "0.05"},  {100000, "0.1"},
        {123000, "0.12"}, {999999, "1"},        {1049999, "1"}, {1250000, "1.3"}, {9960000, "10"},
        {12345678, "12"}, {3599600000, "3600"}, {-5, "0"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str out = {0};

        deliver_format_delay(&out, cases[i].us);
        assert_string_equal(str_cstr(&out), cases[i].text);
        str_fini(&out);
    }
}

static void test_log_line(void **state)
{
    struct queue_recipient r = {.address = SPAN_LIT("a@b"), .original = SPAN_LIT("c@d")};
    struct deliver_result result = {.status = DELIVER_SENT,
                                    .dsn = "2.0.0",
                                    .reason = SPAN_LIT("250 Ok: queued as X"),
                                    .relay = SPAN_LIT("mx[192.0.2.1]:25")};
    struct deliver_times t = {1000000, 1020000, 1030000, 1130000, 1450000};

    log_set_sink(keep_line, NULL);
    deliver_log("ID", &r, &result, &t, 2);
    assert_string_equal(line, "ID: to=<a@b>, orig_to=<c@d>, relay=mx[192.0.2.1]:25, conn_use=2, "
                              "delay=0.45, delays=0.02/0.01/0.1/0.32, dsn=2.0.0, status=sent "
                              "(250 Ok: queued as X)");
    result.relay = SPAN_NONE;
    result.status = DELIVER_DEFERRED;
    r.original = SPAN_LIT("A@B");
    t.handed = t.connected = 0;
    deliver_log("ID", &r, &result, &t, 1);
    assert_string_equal(line, "ID: to=<a@b>, relay=none, delay=0.45, delays=0.02/0.43/0/0, "
                              "dsn=2.0.0, status=deferred (250 Ok: queued as X)");
    log_set_sink(NULL, NULL);
}

static void test_result_round_trip(void **state)
{
    struct queue_recipient more[2] = {{.address = SPAN_LIT("x@y"), .notify = 2},
                                      {.address = SPAN_LIT("z@y"), .original = SPAN_LIT("l@y")}};
    struct deliver_result in = {.status = DELIVER_EXPANDED,
                                .dsn = "2.1.5",
                                .reason = SPAN_LIT("expanded"),
                                .relay = SPAN_LIT("local"),
                                .remote_host = SPAN_LIT("h"),
                                .remote_reply = SPAN_LIT("250 ok"),
                                .site = true,
                                .relayed_without_dsn = true,
                                .expansion = more,
                                .expansion_count = 2};
    struct deliver_result out;
    struct arena arena = {0};
    struct str text = {0};
    uint32_t index;

    deliver_result_encode(&in, 7, &text);
    assert_int_equal(deliver_result_decode(&out, &index, &arena, str_span(&text)), 0);
    assert_int_equal(index, 7);
    assert_int_equal(out.status, DELIVER_EXPANDED);
    assert_string_equal(out.dsn, "2.1.5");
    assert_true(out.site && out.relayed_without_dsn);
    assert_true(span_eq(out.remote_reply, in.remote_reply));
    assert_int_equal(out.expansion_count, 2);
    assert_true(span_eq(out.expansion[1].original, SPAN_LIT("l@y")));
    assert_int_equal(out.expansion[0].notify, 2);
    arena_reset(&arena);
    str_fini(&text);
}

static void test_result_refused(void **state)
{
    static const char *const bad_dsns[] = {"",         "2.0",   "2.0.0.0", "3.0.0",
                                           "2.1234.1", "a.b.c", "2..0"};
    struct deliver_result out;
    struct arena arena = {0};
    uint32_t index;

    for (size_t i = 0; i < COUNT_OF(bad_dsns); i++) {
        struct deliver_result in = {.status = DELIVER_SENT, .dsn = bad_dsns[i]};
        struct str text = {0};

        deliver_result_encode(&in, 0, &text);
        assert_int_equal(deliver_result_decode(&out, &index, &arena, str_span(&text)), ERR_SYNTAX);
        str_fini(&text);
    }
    assert_int_equal(deliver_result_decode(&out, &index, &arena, SPAN_LIT("")), ERR_SYNTAX);
    arena_reset(&arena);
}

static void test_listing(void **state)
{
    struct queue_listing in = {.queue = QUEUE_HOLD,
                               .id = {1, 1000000},
                               .arrival_s = 0,
                               .size = 1234,
                               .sender = SPAN_LIT("s@x"),
                               .is_forced_to_expire = true};
    struct queue_listing out;
    struct arena arena = {0};
    struct str text = {0}, printed = {0};

    setenv("TZ", "UTC", 1);
    *array_push(&in.recipients) =
        (struct queue_listed_recipient){SPAN_LIT("a\"\xc3\xa4\xff\x01"), SPAN_LIT("why\n")};
    *array_push(&in.recipients) = (struct queue_listed_recipient){SPAN_LIT("b"), SPAN_LIT("why\n")};
    *array_push(&in.recipients) = (struct queue_listed_recipient){SPAN_LIT("c"), SPAN_NONE};
    queue_listing_encode(&in, &text);
    assert_int_equal(queue_listing_decode(&out, &arena, str_span(&text)), 0);
    queue_listing_print_json(&out, &printed);
    assert_string_equal(
        str_cstr(&printed),
        "{\"queue_name\": \"hold\", \"queue_id\": \"0000010000z1\", \"arrival_time\": 0, "
        "\"message_size\": 1234, \"forced_expire\": true, \"sender\": \"s@x\", \"recipients\": "
        "[{\"address\": \"a\\\"\xc3\xa4?\\u0001\", \"delay_reason\": \"why\\n\"}, {\"address\": "
        "\"b\", "
        "\"delay_reason\": \"why\\n\"}, {\"address\": \"c\"}]}\n");
    str_clear(&printed);
    queue_listing_print(&out, &printed);
    assert_non_null(strstr(printed.data, "0000010000z1!#        1234 Thu Jan  1 00:00:00 s@x\n"));
    assert_non_null(strstr(printed.data, "(why?)\n"));
    assert_non_null(strstr(printed.data, "(reason unavailable)\n"));
    queue_listing_fini(&in);
    queue_listing_fini(&out);
    arena_reset(&arena);
    str_fini(&text);
    str_fini(&printed);
}

static void test_drop(void **state)
{
    struct drop in = {.is_sender_set = true, .ret = SPAN_LIT("hdrs"), .notify = 3}, out;
    struct str text = {0};
    size_t used;

    *array_push(&in.recipients) = SPAN_LIT("a@b");
    drop_encode(&in, &text);
    size_t head = text.len;
    str_append_cstr(&text, "Subject: x\n\n");
    for (size_t n = 0; n < head; n++) {
        assert_int_equal(drop_decode(&out, span_make(text.data, n), &used), ERR_TRUNCATED);
        drop_fini(&out);
    }
    assert_int_equal(drop_decode(&out, str_span(&text), &used), 0);
    assert_int_equal(used, head);
    assert_true(out.is_sender_set);
    assert_int_equal(out.notify, 3);
    assert_int_equal(out.recipients.len, 1);
    drop_fini(&in);
    drop_fini(&out);
    str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay_form),        cmocka_unit_test(test_log_line),
        cmocka_unit_test(test_result_round_trip), cmocka_unit_test(test_result_refused),
        cmocka_unit_test(test_listing),           cmocka_unit_test(test_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
