/* The header pass, in every fragmentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "intake/intake.h"

static const struct {
    const char *in, *out; /* out NULL: as in */
    const char *message_id;
    bool is_local;
} cases[] = {
    {"A: b\r\n\r\nx\r\n", NULL, "", false},
    {"", "", "", false},
    {"\r\n", NULL, "", false},
    {"\r\nx\r\n", NULL, "", false},
    {"A: b\r\n", NULL, "", false},
    {"x\r\n", "\r\nx\r\n", "", false},
    {"A: b\r\nno header\r\nx\r\n", "A: b\r\n\r\nno header\r\nx\r\n", "", false},
    {" folded first\r\nx\r\n", "\r\n folded first\r\nx\r\n", "", false},
    {"From a@b Thu\r\nA: b\r\n\r\n", "X-Mailbox-Line: From a@b Thu\r\nA: b\r\n\r\n", "", false},
    {">From a@b\r\n\r\n", "X-Mailbox-Line: >From a@b\r\n\r\n", "", false},
    {"Message-ID: <a@b>\r\n\r\n", NULL, "<a@b>", false},
    {"Message-ID:\r\n <a@b>\r\n\r\n", NULL, "<a@b>", false},
    {"Message-Id : <a@b>  \r\nX: y\r\n\r\n", NULL, "<a@b>", false},
    {"Message-Id: <1>\r\nMessage-Id: <2>\r\n\r\n", NULL, "<1>", false},
    {"Bcc: x\r\n y\r\nA: b\r\nReturn-Path: <z>\r\nContent-Length: 7\r\nResent-Bcc: q\r\n\r\nBcc: "
     "x\r\n",
     "A: b\r\n\r\nBcc: x\r\n", "", false},
    {"Bccx: a\r\n\r\n", NULL, "", false},
    /* completed: a fixed time and id */
    {"Subject: x\r\n\r\nbody\r\n",
     "Message-Id: <20200913122640.ID@mx.test>\r\n"
     "Date: Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\nFrom: s@b.test\r\n"
     "Subject: x\r\n\r\nbody\r\n",
     "<20200913122640.ID@mx.test>", true},
    {"Date: x\r\nFROM: y\r\nmessage-id: <a@b>\r\n\r\n", NULL, "<a@b>", true},
    {"Resent-To: z\r\nDate: x\r\nFrom: y\r\nMessage-Id: <a@b>\r\n\r\n",
     "Resent-Message-Id: <20200913122640.ID@mx.test>\r\n"
     "Resent-Date: Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\nResent-From: s@b.test\r\n"
     "Resent-To: z\r\nDate: x\r\nFrom: y\r\nMessage-Id: <a@b>\r\n\r\n",
     "<a@b>", true},
    {"body only\r\n",
     "Message-Id: <20200913122640.ID@mx.test>\r\n"
     "Date: Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\nFrom: s@b.test\r\n\r\nbody only\r\n",
     "<20200913122640.ID@mx.test>", true},
};

static char last_log[512];

static void keep_log(void *arg, enum log_level level, struct span text)
{
    snprintf(last_log, sizeof(last_log), "%s: %.*s", log_tag(), SPAN_ARG(text));
}

static int keep(void *arg, struct span octets)
{
    return str_append(arg, octets);
}

static int insert(void *arg, uint64_t at, struct span octets)
{
    struct str *s = arg, whole = {0};

    str_append(&whole, span_take(str_span(s), at));
    str_append(&whole, octets);
    str_append(&whole, span_drop(str_span(s), at));
    str_set(s, str_span(&whole));
    str_fini(&whole);
    return str_error(s);
}

static const struct intake_options options = {
    .myhostname = {"mx.test", 7},
    .mail_name = {"Postfix", 7},
    .drop_headers = {"bcc, content-length, resent-bcc, return-path", 44},
    .header_size_limit = 102400,
    .hopcount_limit = 50,
    .log_tag = "postfix/cleanup",
};

/* Feed text in pieces of at most piece octets; 0: random ones. */
static void pass(struct intake *in, const struct intake_options *o, struct span text, bool is_local,
                 size_t piece, struct str *out)
{
    const struct intake_facts facts = {.queue_id = SPAN_LIT("ID"),
                                       .sender = SPAN_LIT("s@b.test"),
                                       .arrival_s = 1600000000,
                                       .is_local = is_local};

    str_clear(out);
    intake_begin(in, o, &facts, keep, insert, out, NULL);
    while (text.n > 0) {
        size_t n = piece != 0 ? piece : 1 + (size_t)rand() % 5;

        assert_int_equal(intake_feed(in, span_take(text, n)), 0);
        text = span_drop(text, n);
    }
    assert_int_equal(intake_finish(in), 0);
}

static void passes_headers(void **state)
{
    struct str out = {0};

    setenv("TZ", "UTC", 1);
    tzset();
    log_set_sink(keep_log, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t piece = 0; piece < 40; piece++) {
            const char *want = cases[i].out != NULL ? cases[i].out : cases[i].in;
            char line[600];
            struct intake in;

            pass(&in, &options, span_cstr(cases[i].in), cases[i].is_local, piece, &out);
            assert_string_equal(str_cstr(&out), want);
            assert_string_equal(str_cstr(&in.message_id), cases[i].message_id);
            snprintf(line, sizeof(line), "postfix/cleanup: ID: message-id=%s", cases[i].message_id);
            assert_string_equal(last_log, line);
            assert_int_equal(in.verdict, INTAKE_ACCEPT);
            intake_fini(&in);
        }
    log_set_sink(NULL, NULL);
    str_fini(&out);
}

static void limits(void **state)
{
    struct intake_options o = options;
    struct str text = {0}, out = {0};
    struct intake in;

    log_set_sink(keep_log, NULL);
    /* Long lines pass, also when they are longer than what is collected. */
    str_append_cstr(&text, "A: ");
    str_append_fill(&text, 'x', 3 * INTAKE_LINE_MAX);
    str_append_cstr(&text, "\r\nB: c\r\n\r\nend\r\n");
    pass(&in, &o, str_span(&text), false, 1000, &out);
    assert_true(span_eq(str_span(&out), str_span(&text)));
    intake_fini(&in);
    /* header_size_limit: the rest of the field goes, the next one stays. */
    o.header_size_limit = 100;
    pass(&in, &o, str_span(&text), false, 1000, &out);
    assert_int_equal(out.len, 100 + 2 + strlen("B: c\r\n\r\nend\r\n"));
    intake_fini(&in);
    o.message_size_limit = 1000;
    pass(&in, &o, str_span(&text), false, 1000, &out);
    assert_int_equal(in.verdict, INTAKE_TOO_BIG);
    intake_fini(&in);
    o.message_size_limit = 0;
    o.hopcount_limit = 2;
    pass(&in, &o, SPAN_LIT("Received: a\r\nReceived: b\r\n\r\n"), false, 7, &out);
    assert_int_equal(in.verdict, INTAKE_TOO_MANY_HOPS);
    assert_string_equal(intake_verdict_reply(in.verdict), "554 5.4.0 Error: too many hops");
    intake_fini(&in);
    str_fini(&text);
    str_fini(&out);
    log_set_sink(NULL, NULL);
}

static void prints_received_as_postfix_does(void **state)
{
    const struct intake_facts facts = {.queue_id = SPAN_LIT("ID"), .arrival_s = 1600000000};
    struct intake_trace trace = {
        .helo = SPAN_LIT("h.test"),
        .client_name = SPAN_LIT("c.test"),
        .client_address = SPAN_LIT("192.0.2.1"),
        .tls = SPAN_LIT("TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange "
                        "X25519 server-signature ECDSA (P-256) server-digest SHA256"),
        .tls_client = SPAN_LIT("(No client certificate requested)"),
        .login = SPAN_LIT("u1"),
        .protocol = SPAN_LIT("ESMTPSA"),
        .recipient = SPAN_LIT("u2@b.test"),
    };
    struct str out = {0};

    assert_int_equal(intake_print_received(&out, &options, &facts, &trace), 0);
    assert_string_equal(str_cstr(&out),
                        "Received: from h.test (c.test [192.0.2.1])\r\n"
                        "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n"
                        "\t key-exchange X25519 server-signature ECDSA (P-256) server-digest "
                        "SHA256)\r\n"
                        "\t(No client certificate requested)\r\n"
                        "\t(Authenticated sender: u1)\r\n"
                        "\tby mx.test (Postfix) with ESMTPSA id ID\r\n"
                        "\tfor <u2@b.test>; Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\n");
    trace = (struct intake_trace){.client_name = SPAN_LIT("unknown"),
                                  .client_address = SPAN_LIT("192.0.2.1"),
                                  .protocol = SPAN_LIT("SMTP")};
    str_clear(&out);
    assert_int_equal(intake_print_received(&out, &options, &facts, &trace), 0);
    assert_string_equal(str_cstr(&out), "Received: from unknown (unknown [192.0.2.1])\r\n"
                                        "\tby mx.test (Postfix) with SMTP id ID;\r\n"
                                        "\tSun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\n");
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_headers),
        cmocka_unit_test(limits),
        cmocka_unit_test(prints_received_as_postfix_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
