/* Notifications as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "qmgr/report.h"

static struct bounce_request request;
static struct deliver_result results[1];
static int64_t attempts[1] = {1000};
static const struct report_options usual = {.myhostname = "mx.example.test",
                                            .mail_name = "Postfix",
                                            .size_limit = 50000,
                                            .now_s = 1795255644,
                                            .delay_warning_s = 4 * 3600,
                                            .queue_lifetime_s = 5 * 86400,
                                            .queue_id = "NEW",
                                            .original_id = "OLD",
                                            .recipient = {"s@x", 3}};

static int set_up(void **state)
{
    struct queue_recipient *r;

    setenv("TZ", "UTC", 1);
    queue_message_init(&request.message, NULL);
    queue_content_init(&request.content);
    request.kind = BOUNCE_FAILURE;
    request.results = results;
    request.last_attempt_s = attempts;
    request.message.sender = SPAN_LIT("s@x");
    request.message.arrival_us = 1795255600000000;
    request.message.ret = QUEUE_RETURN_UNSET;
    r = queue_message_add(&request.message, SPAN_LIT("to@there"));
    r->original = SPAN_LIT("alias@here");
    results[0] = (struct deliver_result){
        .status = DELIVER_BOUNCED,
        .dsn = "5.1.1",
        .reason = SPAN_LIT("host mx[192.0.2.1] said: 550 5.1.1 no\r\nsuch user in this table of "
                           "users (in reply to RCPT TO command)"),
        .remote_host = SPAN_LIT("mx"),
        .remote_reply = SPAN_LIT("550 5.1.1 no such user")};
    request.content.inline_octets = SPAN_LIT("A: b\r\n\r\nbody\r\n");
    *array_push(&request.content.extents) = (struct queue_extent){0, 6, QUEUE_EXTENT_HEADER};
    *array_push(&request.content.extents) = (struct queue_extent){6, 8, 0};
    return 0;
}

static int tear_down(void **state)
{
    queue_content_fini(&request.content);
    queue_message_fini(&request.message);
    return 0;
}

static char *print(const struct report_options *o)
{
    struct str out = {0};

    assert_int_equal(report_print(&request, o, &out), 0);
    /* Every line ends with CRLF, and is short enough to travel. */
    for (size_t i = 0, start = 0; i < out.len; i++) {
        if (out.data[i] != '\n')
            continue;
        assert_true(i > 0 && out.data[i - 1] == '\r');
        assert_true(i - start < 998);
        start = i + 1;
    }
    return str_steal(&out);
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", part, text);
}

static void test_failure(void **state)
{
    char *text = print(&usual);

    has(text, "Received: by mx.example.test (Postfix)\r\n\tid NEW; ");
    has(text, "From: Mail Delivery System <MAILER-DAEMON@mx.example.test>\r\n"
              "Subject: Undelivered Mail Returned to Sender\r\nTo: s@x\r\n"
              "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
              "Content-Type: multipart/report; report-type=delivery-status;\r\n"
              "\tboundary=\"OLD.1795255644/mx.example.test\"\r\n");
    has(text, "<to@there> (expanded from <alias@here>): host");
    has(text, "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.test\r\n"
              "X-Postfix-Queue-ID: OLD\r\nX-Postfix-Sender: rfc822; s@x\r\nArrival-Date: ");
    has(text, "\r\nFinal-Recipient: rfc822; to@there\r\nOriginal-Recipient: rfc822;alias@here\r\n"
              "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx\r\n"
              "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n");
    has(text, "Content-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\n\r\n"
              "Return-Path: <s@x>\r\n");
    assert_int_equal(report_returned_size(&request, &usual), 14);
    free(text);
}

static void test_postmaster(void **state)
{
    struct report_options copy = usual;

    copy.audience = REPORT_TO_POSTMASTER;
    request.message.sender = SPAN_NONE;
    char *text = print(&copy);
    has(text, "Subject: Postmaster Copy: Undelivered Mail\r\n");
    has(text, "Auto-Submitted: auto-generated\r\n");
    has(text, "X-Postfix-Sender: rfc822; MAILER-DAEMON@mx.example.test\r\n");
    has(text, "Return-Path: <MAILER-DAEMON@mx.example.test>\r\n");
    assert_null(strstr(text, "Your message"));
    free(text);
}

static void test_long_words(void **state)
{
    static char words[2000];

    memset(words, 'w', sizeof(words));
    results[0].remote_reply = results[0].reason = span_make(words, sizeof(words));
    free(print(&usual));
}

/* Foreign text cannot begin a line of its own. */
static void test_no_injection(void **state)
{
    results[0].remote_reply = SPAN_LIT("550 a\r\nAction: delivered\nX\x01");
    char *text = print(&usual);

    has(text, "Diagnostic-Code: smtp; 550 a??Action: delivered?X?\r\n");
    free(text);
}

static void test_headers_only(void **state)
{
    struct report_options small = usual;

    request.message.ret = QUEUE_RETURN_HEADERS;
    char *text = print(&usual);
    has(text, "Content-Description: Undelivered Message Headers\r\n"
              "Content-Type: text/rfc822-headers\r\n");
    assert_int_equal(report_returned_size(&request, &usual), 6);
    free(text);
    request.message.ret = QUEUE_RETURN_FULL;
    small.size_limit = 13;
    assert_int_equal(report_returned_size(&request, &small), 6);
}

static void test_delay(void **state)
{
    request.kind = BOUNCE_DELAY;
    request.retry_until_s = 1795687600;
    results[0].status = DELIVER_DEFERRED;
    results[0].dsn = "4.1.1";
    results[0].remote_reply = SPAN_NONE;
    char *text = print(&usual);

    has(text, "Subject: Delayed Mail (still being retried)\r\n");
    has(text, "more than 4 hour(s)");
    has(text, "until it is 5 day(s) old");
    has(text, "Action: delayed\r\nStatus: 4.1.1\r\n");
    has(text, "Diagnostic-Code: X-Postfix; host mx[192.0.2.1] said:");
    has(text, "Will-Retry-Until: ");
    assert_int_equal(report_returned_size(&request, &usual), 6);
    free(text);
}

static void test_success(void **state)
{
    request.kind = BOUNCE_SUCCESS;
    request.message.envid = SPAN_LIT("envid");
    results[0].status = DELIVER_SENT;
    results[0].relayed_without_dsn = true;
    results[0].dsn = "2.0.0";
    char *text = print(&usual);

    has(text, "Subject: Successful Mail Delivery Report\r\n");
    has(text, "Original-Envelope-Id: envid\r\n");
    has(text, "Action: relayed\r\n");
    has(text, "Content-Description: Message Headers\r\n");
    free(text);
}

static void test_eight_bit_and_utf8(void **state)
{
    request.content.extents.items[1].flags = QUEUE_EXTENT_8BIT;
    char *text = print(&usual);
    has(text, "Content-Transfer-Encoding: 8bit\r\nMessage-Id: <");
    free(text);
    request.message.flags = QUEUE_MESSAGE_SMTPUTF8;
    text = print(&usual);
    has(text, "Content-Type: message/global-delivery-status\r\n");
    has(text, "Final-Recipient: utf-8; to@there\r\n");
    has(text, "Content-Type: message/global\r\n");
    free(text);
    request.message.flags = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_postmaster, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_injection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_headers_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_delay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_success, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_eight_bit_and_utf8, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
